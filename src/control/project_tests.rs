//! Projects from creation to deletion.

use crate::{
    base::Id,
    store::{AuditFilter, Lifecycle, Order, OrganizationRole, PageRequest, ProjectFilter, ProjectRole, VersionState},
};

use super::{
    ControlError, Intent, NewProject, ProjectPatch,
    tests::{GOOD, Rig, actor, kind, member, organization_row, page},
};

fn named(name: &str) -> NewProject {
    NewProject { name: name.to_owned(), ..NewProject::default() }
}

fn slugged(name: &str, slug: &str) -> NewProject {
    NewProject { slug: Some(slug.to_owned()), ..named(name) }
}

#[tokio::test]
async fn s1_09_s1_10_new_project_has_an_empty_draft_and_status_dev() {
    let rig = Rig::new().await;
    let state = rig.project("Production API").await;
    assert_eq!(state.project.slug, "production-api", "S2-14");
    assert_eq!((state.config_state, state.project.served_version), (VersionState::Draft, None), "S1-28");
    assert_eq!((state.project.open_version, state.project.generation), (Some(1), 0));
    let first = rig.control.version(&rig.owner, &state.project.id, 1).await.unwrap();
    assert_eq!((first.text.as_slice(), first.version.state), (&b""[..], VersionState::Draft), "S1-02");
    assert_eq!(state.mode.from.as_str(), "project", "S2-15");
    assert_eq!(state.caching_enabled.from.as_str(), "configuration", "S2-16");
}

#[tokio::test]
async fn names_and_slugs_are_unique_in_their_organization() {
    let rig = Rig::new().await;
    let create = |new: NewProject| rig.control.create_project(&rig.owner, &rig.organization, new);
    assert_eq!(create(named("Chat")).await.unwrap().project.slug, "chat");
    for (name, new, want) in [
        ("same name in another case", named("CHAT"), "name_taken"),
        ("slug of another", slugged("Other", "chat"), "slug_taken"),
        ("reserved slug", slugged("Other", "openai"), "invalid"),
        ("slug with a slash", slugged("Other", "a/b"), "invalid"),
        ("name of 256 characters", named(&"x".repeat(256)), "invalid"),
        ("name with a line feed", named("a\nb"), "invalid"),
    ] {
        assert_eq!(kind(&create(new).await), want, "{name}");
    }
    assert_eq!(create(named("chat!")).await.unwrap().project.slug, "chat-2");
    assert_eq!(create(named("Chat?")).await.unwrap().project.slug, "chat-3");
    assert_eq!(create(named("admin")).await.unwrap().project.slug, "admin-2", "reserved");
    let html = create(named("<script>'; DROP TABLE projects;--")).await.unwrap().project;
    assert_eq!(
        (html.name.as_str(), html.slug.as_str()),
        ("<script>'; DROP TABLE projects;--", "script-drop-table-projects")
    );
}

#[tokio::test]
async fn s2_07_s2_08_eleventh_project_is_refused_until_the_limit_is_raised() {
    let rig = Rig::new().await;
    for at in 0..10 {
        rig.project(&format!("p{at}")).await;
    }
    let refused = rig.control.create_project(&rig.owner, &rig.organization, named("p10")).await;
    let Err(ControlError::LimitReached(said)) = refused else { panic!("{refused:?}") };
    assert_eq!(said, "10 of 10 projects; archive or delete one, or ask an instance administrator to raise the limit");
    let organization = rig.organization.clone();
    let raise = move |tx: &mut dyn crate::store::Tx| {
        let row = tx.organization(&organization)?.ok_or(ControlError::NotFound)?;
        Ok::<_, ControlError>(tx.update_organization(&crate::store::Organization { project_limit: 11, ..row })?)
    };
    rig.control.store().write(raise).await.unwrap();
    rig.project("p10").await;
    // An archived project does not count, and cannot come back when its place is taken.
    let first = rig.control.projects(&rig.owner, &rig.organization, ProjectFilter::default(), page(1)).await.unwrap();
    let id = first.rows[0].project.id.clone();
    rig.control.archive_project(&rig.owner, &id, String::new()).await.unwrap();
    rig.project("p11").await;
    assert_eq!(kind(&rig.control.restore_project(&rig.owner, &id, String::new()).await), "limit_reached");
}

#[tokio::test]
async fn s2_48_s2_49_settings_change_at_once_and_are_audited() {
    let rig = Rig::new().await;
    let before = rig.project("chat").await.project;
    let patch = ProjectPatch {
        name: Some("Mobile App".to_owned()),
        slug: Some("mobile".to_owned()),
        environment: Some("staging".to_owned()),
        caching_enabled: Some(Some(true)),
        cache_duration_seconds: Some(300),
        tags: Some(vec![("team".to_owned(), "a".to_owned())]),
        ..ProjectPatch::default()
    };
    let changed = rig.control.change_project(&rig.owner, &before.id, before.revision, patch.clone()).await.unwrap();
    assert_eq!((changed.project.name.as_str(), changed.project.slug.as_str()), ("Mobile App", "mobile"));
    assert_eq!((changed.caching_enabled.value, changed.caching_enabled.from.as_str()), (Some(true), "project"));
    assert!(changed.project.revision > before.revision);
    let stale = rig.control.change_project(&rig.owner, &before.id, before.revision, patch).await;
    assert!(matches!(stale, Err(ControlError::Stale { current }) if current == changed.project.revision), "{stale:?}");
    // An empty patch changes nothing, the revision included.
    let same = rig.control.change_project(&rig.owner, &before.id, changed.project.revision, ProjectPatch::default());
    assert_eq!(same.await.unwrap().project, changed.project);
    let events = audit(&rig, &before.id).await;
    assert_eq!(events.iter().map(|event| event.0.as_str()).collect::<Vec<_>>(), ["project.create", "project.change"]);
    assert!(events[1].1.contains("\"chat\"") && events[1].2.contains("\"Mobile App\""), "{events:?}");
}

/// Action, before and after of the events of a project.
async fn audit(rig: &Rig, id: &Id) -> Vec<(String, String, String)> {
    let filter = AuditFilter { project: Some(id.clone()), ..AuditFilter::default() };
    let page = PageRequest { limit: 100, after: None, order: Order::Ascending };
    let found = rig.control.store().read(move |tx| Ok::<_, ControlError>(tx.audit(&filter, &page)?)).await.unwrap();
    found.rows.into_iter().map(|entry| (entry.event.action, entry.event.before, entry.event.after)).collect()
}

#[tokio::test]
async fn slug_is_locked_by_the_first_serve() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    rig.serve(&id, GOOD).await;
    rig.control.unserve(&rig.owner, &id, Intent::default()).await.unwrap();
    let revision = rig.state(&id).await.project.revision;
    let rename = |slug: &str| ProjectPatch { slug: Some(slug.to_owned()), ..ProjectPatch::default() };
    assert_eq!(kind(&rig.control.change_project(&rig.owner, &id, revision, rename("talk")).await), "slug_locked");
    assert_eq!(kind(&rig.control.change_project(&rig.owner, &id, revision, rename("chat")).await), "ok");
}

#[tokio::test]
async fn archived_project_refuses_everything_and_one_roll_back_brings_it_back() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let number = rig.serve(&id, GOOD).await;
    let archived = rig.control.archive_project(&rig.owner, &id, "done".to_owned()).await.unwrap();
    assert_eq!((archived.project.lifecycle, archived.project.served_version), (Lifecycle::Archived, None));
    assert_eq!(archived.project.generation, 2, "what was live ended, so a generation began");
    assert!(rig.served().project(id.as_str()).unwrap().is_archived());
    let control = &rig.control;
    let revision = archived.project.revision;
    let outcomes = [
        kind(&control.archive_project(&rig.owner, &id, String::new()).await),
        kind(&rig.save_as(&rig.owner, &id, GOOD).await),
        kind(&control.approve(&rig.owner, &id, 1, String::new()).await),
        kind(&control.withdraw(&rig.owner, &id, 1, String::new()).await),
        kind(&control.serve(&rig.owner, &id, number, Intent::default()).await),
        kind(&control.unserve(&rig.owner, &id, Intent::default()).await),
        kind(&control.roll_back(&rig.owner, &id, None, Intent::default()).await),
        kind(&control.discard_draft(&rig.owner, &id, 0).await),
        kind(&control.change_project(&rig.owner, &id, revision, ProjectPatch::default()).await),
    ];
    assert_eq!(outcomes[0], "illegal_transition");
    assert_eq!(outcomes[1..], ["project_archived"; 8]);
    let restored = control.restore_project(&rig.owner, &id, String::new()).await.unwrap();
    assert_eq!((restored.project.lifecycle, restored.project.served_version), (Lifecycle::Active, None), "S1-28");
    assert!(rig.live(&id).is_empty() && rig.served().project(id.as_str()).is_none());
    assert_eq!(kind(&control.restore_project(&rig.owner, &id, String::new()).await), "illegal_transition");
    let back = control.roll_back(&rig.owner, &id, None, Intent::default()).await.unwrap();
    assert_eq!((back.version, back.generation), (Some(number), 3));
    assert_eq!(rig.live(&id), [("chat/chat".to_owned(), Some(u64::from(number)))]);
}

#[tokio::test]
async fn s2_50_s2_51_deletion_needs_the_owner_and_the_slug() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let other = rig.project_id("other").await;
    rig.serve(&id, GOOD).await;
    rig.serve(&other, GOOD).await;
    let revision = rig.state(&id).await.project.revision;
    let admin = actor(&rig.organization, OrganizationRole::Admin, Vec::new());
    let stranger = actor(&Id::stored("org_other"), OrganizationRole::Owner, Vec::new());
    let delete = |who, revision, confirm: &str| rig.control.delete_project(who, &id, revision, confirm.to_owned());
    assert_eq!(kind(&delete(&admin, revision, "chat").await), "not_permitted");
    assert_eq!(kind(&delete(&stranger, revision, "chat").await), "not_found");
    assert_eq!(kind(&delete(&rig.owner, revision, "Chat").await), "invalid");
    assert_eq!(kind(&delete(&rig.owner, revision - 1, "chat").await), "stale");
    assert_eq!(rig.live(&id).len(), 1, "nothing happened so far");
    let registries = rig.control.registries();
    for project in [&id, &other] {
        drop(registries.credits.of_project((rig.organization.as_str(), project.as_str()), &registries.meters));
    }
    delete(&rig.owner, revision, "chat").await.unwrap();
    assert!(rig.live(&id).is_empty());
    assert_eq!(registries.credits.projects_of(rig.organization.as_str()), Some(1), "its share of the credits is gone");
    assert_eq!(rig.live(&other).len(), 1, "S1-07");
    assert_eq!(kind(&rig.control.project(&rig.owner, &id).await), "not_found");
    assert_eq!(kind(&delete(&rig.owner, revision, "chat").await), "not_found");
    assert_eq!(audit(&rig, &id).await.last().unwrap().0, "project.delete", "events stay");
    // Name and slug are free again.
    assert_eq!(rig.project("chat").await.project.slug, "chat");
}

#[tokio::test]
async fn s1_45_members_see_and_touch_what_they_were_granted() {
    let rig = Rig::new().await;
    let [own, foreign] = [rig.project_id("own").await, rig.project_id("foreign").await];
    let number = rig.save(&own, GOOD).await;
    let as_role = |role| member(&rig.organization, &own, role);
    let viewer = as_role(ProjectRole::Viewer);
    let listed = rig.control.projects(&viewer, &rig.organization, ProjectFilter::default(), page(10)).await.unwrap();
    assert_eq!(listed.rows.iter().map(|row| row.project.slug.as_str()).collect::<Vec<_>>(), ["own"]);
    assert_eq!(kind(&rig.control.project(&viewer, &foreign).await), "not_found");
    for (role, save, approve, serve) in [
        (ProjectRole::Viewer, "not_permitted", "not_permitted", "not_permitted"),
        (ProjectRole::Developer, "not_permitted", "not_permitted", "not_permitted"),
        (ProjectRole::Editor, "ok", "illegal_transition", "not_permitted"),
        (ProjectRole::ProjectAdmin, "ok", "illegal_transition", "illegal_transition"),
    ] {
        let actor = as_role(role);
        let got = [
            kind(&rig.save_as(&actor, &own, GOOD).await),
            kind(&rig.control.approve(&actor, &own, number, String::new()).await),
            kind(&rig.control.serve(&actor, &own, number, Intent::default()).await),
        ];
        assert_eq!(got, [save, approve, serve], "{role:?}");
        assert_eq!(kind(&rig.save_as(&actor, &foreign, GOOD).await), "not_found", "{role:?}");
    }
}

#[tokio::test]
async fn exported_project_is_made_again_elsewhere_as_a_draft() {
    let rig = Rig::new().await;
    let id = rig.project_id("Chat").await;
    let number = rig.serve(&id, GOOD).await;
    rig.save(&id, "# a later draft\n").await;
    let document = rig.control.export_project(&rig.owner, &id).await.unwrap();
    assert_eq!(document.config, GOOD, "the served text");
    let import = |document| rig.control.import_project(&rig.owner, &rig.organization, document);
    assert_eq!(kind(&import(document.clone()).await), "slug_taken");
    let other = super::ProjectDocument { form: "other/1".to_owned(), ..document.clone() };
    assert_eq!(kind(&import(other).await), "invalid");
    let revision = rig.state(&id).await.project.revision;
    rig.control.delete_project(&rig.owner, &id, revision, "chat".to_owned()).await.unwrap();
    let made = import(document.clone()).await.unwrap();
    assert_eq!(
        (made.project.name.as_str(), made.project.slug.as_str(), made.project.served_version),
        ("Chat", "chat", None)
    );
    assert_eq!(rig.control.export_project(&rig.owner, &made.project.id).await.unwrap(), document);
    rig.approve(&made.project.id, 1).await;
    assert!(number > 1);
    let bad = super::ProjectDocument {
        name: "Bad".to_owned(),
        slug: "bad".to_owned(),
        config: "a: [".to_owned(),
        ..document
    };
    let bad = import(bad).await.unwrap().project.id;
    let draft = rig.control.version(&rig.owner, &bad, 1).await.unwrap().version;
    assert!(draft.problems.contains("yaml_syntax"), "{}", draft.problems);
}

#[tokio::test]
async fn suspended_organization_is_changed_by_nobody_of_it() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let row = crate::store::Organization {
        status: crate::store::OrganizationStatus::Suspended,
        ..organization_row(&rig.organization, "default")
    };
    rig.control.store().write(move |tx| Ok::<_, ControlError>(tx.update_organization(&row)?)).await.unwrap();
    assert_eq!(kind(&rig.save_as(&rig.owner, &id, GOOD).await), "not_permitted");
    let created = rig.control.create_project(&rig.owner, &rig.organization, named("other")).await;
    assert_eq!(kind(&created), "not_permitted");
}

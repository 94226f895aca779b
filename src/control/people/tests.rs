//! Organizations, members, invitations and audit on a store.

use super::super::{
    Actor, AuditScope, Authenticate, ControlError, DraftText, Expected, Presented, Proof,
    tests::{GOOD, Rig, kind, page, person},
    version_revision,
};
use super::{MemberPatch, NewInvitation, OrganizationPatch};
use crate::{
    base::{Id, IdKind, Secret, UnixTime, unix_time},
    limit::LimitSet,
    store::{
        ApiKey, AuditFilter, Chain, InvitationStatus, KeyStatus, OrganizationRole, OrganizationStatus, ProjectGrant,
        ProjectRole,
    },
};

const PASSWORD: &str = "correct horse battery";

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn invitation(email: &str, role: OrganizationRole) -> NewInvitation {
    NewInvitation { email: email.to_owned(), role, grants: Vec::new() }
}

/// Stores an API key and shows it to the data plane.
async fn key(rig: &Rig, project: &Id, by: &Actor, text: &str) {
    let row = ApiKey {
        id: Id::random(IdKind::Key).unwrap(),
        project: project.clone(),
        public_id: text.to_owned(),
        last4: "last".to_owned(),
        digest: rig.control.pepper().digest(text),
        old_digest: None,
        old_expires_at: None,
        description: "test".to_owned(),
        status: KeyStatus::Active,
        expires_at: None,
        group: None,
        created_by: by.author.clone(),
        created_at: unix_time(),
        last_used_at: None,
        revision: 1,
    };
    let stored = row.clone();
    rig.control.store().write(move |tx| tx.insert_key(&stored)).await.unwrap();
    let publisher = rig.control.publication().await;
    let generation = publisher.change(|edit| {
        let grants = crate::control::grants_of(&row, OrganizationStatus::Active, &LimitSet::default());
        grants.into_iter().for_each(|(digest, grant)| edit.put_grant(digest, grant));
    });
    rig.control.wait_until_live(&publisher, generation).await.unwrap();
}

/// Whether workers let a key in.
fn works(rig: &Rig, text: &str) -> bool {
    rig.served().grant(text.as_bytes()).is_some()
}

async fn revision(rig: &Rig, user: &Id) -> u64 {
    let found = rig.control.member(&rig.owner, rig.organization.clone(), user.clone()).await;
    found.unwrap().revision
}

/// Actions of the audit log, oldest first.
async fn actions(rig: &Rig) -> Vec<String> {
    let admin = Actor { instance_admin: true, ..rig.owner.clone() };
    let found = rig.control.audit(&admin, AuditScope::Instance, AuditFilter::default(), page(100)).await.unwrap();
    found.rows.into_iter().map(|row| row.event.action).collect()
}

#[tokio::test]
async fn invited_person_joins_once_with_the_role_of_the_invitation() {
    let rig = Rig::new().await;
    let (id, organization) = (rig.project_id("chat").await, rig.organization.clone());
    let grants = vec![ProjectGrant { project: id.clone(), role: ProjectRole::Developer }];
    let new = NewInvitation { grants: grants.clone(), ..invitation(" Bob@Example.com", OrganizationRole::Member) };
    let (row, token) = rig.control.invite(&rig.owner, organization.clone(), new).await.unwrap();
    assert_eq!((row.email.as_str(), row.status), ("bob@example.com", InvitationStatus::Pending));
    let accept = async |token: &Secret, password: &str| {
        rig.control.accept_invitation(token, secret(password), None, "10.0.0.1").await
    };
    assert_eq!(kind(&accept(&token, "short").await), "invalid", "the password is too short");
    assert!(matches!(accept(&secret("mr_invite_x"), PASSWORD).await, Err(ControlError::NotAuthenticated)));
    let joined = accept(&token, PASSWORD).await.unwrap();
    let presented = Presented { address: "10.0.0.1", request_id: "r" };
    let actor = rig.control.authenticate(Proof::Session(joined.login.secret.reveal()), presented).await.unwrap();
    let membership = actor.membership(&organization).unwrap();
    assert_eq!((membership.role, &membership.grants), (OrganizationRole::Member, &grants));
    assert!(!actor.instance_admin);
    assert!(matches!(accept(&token, PASSWORD).await, Err(ControlError::NotAuthenticated)), "used");
    let again =
        rig.control.invite(&rig.owner, organization, invitation("bob@example.com", OrganizationRole::Admin)).await;
    assert_eq!(kind(&again), "name_taken", "a member already");
}

#[tokio::test]
async fn invitation_that_was_taken_back_or_is_old_is_refused() {
    let rig = Rig::new().await;
    let organization = rig.organization.clone();
    let accept = async |token: &Secret| rig.control.accept_invitation(token, secret(PASSWORD), None, "10.0.0.1").await;
    let invite = async |email: &str| {
        rig.control.invite(&rig.owner, organization.clone(), invitation(email, OrganizationRole::Admin)).await.unwrap()
    };
    let (row, token) = invite("bob@example.com").await;
    let revoke = |revision| rig.control.revoke_invitation(&rig.owner, (organization.clone(), row.id.clone()), revision);
    assert_eq!(kind(&revoke(9).await), "stale");
    revoke(1).await.unwrap();
    assert_eq!(kind(&revoke(2).await), "illegal_transition");
    assert!(matches!(accept(&token).await, Err(ControlError::NotAuthenticated)));
    let (row, token) = invite("eve@example.com").await;
    let insert = rig.control.store().write(move |tx| {
        tx.update_invitation(&crate::store::Invitation { expires_at: UnixTime(unix_time().0), ..row })
    });
    insert.await.unwrap();
    assert!(matches!(accept(&token).await, Err(ControlError::NotAuthenticated)), "expired");
}

#[tokio::test]
async fn nobody_takes_more_than_they_hold_and_an_owner_stays() {
    let rig = Rig::new().await;
    let organization = rig.organization.clone();
    let owner = person(&rig, OrganizationRole::Owner, Vec::new()).await;
    let admin = person(&rig, OrganizationRole::Admin, Vec::new()).await;
    let other = person(&rig, OrganizationRole::Admin, Vec::new()).await;
    let change = async |by: &Actor, user: &Actor, role| {
        let expected = revision(&rig, &user.id).await;
        let patch = MemberPatch { role: Some(role), ..MemberPatch::default() };
        kind(&rig.control.change_member(by, (organization.clone(), user.id.clone()), expected, patch).await)
    };
    let remove = async |by: &Actor, user: &Actor| {
        let expected = revision(&rig, &user.id).await;
        rig.control.remove_member(by, (organization.clone(), user.id.clone()), expected).await
    };
    use OrganizationRole::{Admin, Auditor, Member, Owner};
    for (name, by, user, role, want) in [
        ("own role", &admin, &admin, Auditor, "not_permitted"),
        ("an admin makes an owner", &admin, &other, Owner, "not_permitted"),
        ("an admin demotes an owner", &admin, &owner, Member, "not_permitted"),
        ("an admin demotes an admin", &admin, &other, Member, "ok"),
        ("the owner's own role", &owner, &owner, Admin, "not_permitted"),
        ("an owner makes an owner", &owner, &other, Owner, "ok"),
        ("an owner demotes an owner", &owner, &other, Auditor, "ok"),
        ("an auditor", &other, &admin, Member, "not_permitted"),
    ] {
        let by = Actor { memberships: memberships(&rig, by).await, ..by.clone() };
        assert_eq!(change(&by, user, role).await, want, "{name}");
    }
    assert_eq!(kind(&remove(&admin, &owner).await), "not_permitted");
    assert!(matches!(remove(&owner, &owner).await, Err(ControlError::LastOwner)), "the last owner cannot leave");
    assert!(matches!(remove(&rig.owner, &owner).await, Err(ControlError::LastOwner)), "nor be removed");
    remove(&other, &other).await.unwrap();
    let invite = rig.control.invite(&admin, organization, invitation("x@example.com", Owner)).await;
    assert_eq!(kind(&invite), "not_permitted", "an admin invites no owner");
}

/// What the store says that a person may do.
async fn memberships(rig: &Rig, actor: &Actor) -> Vec<super::super::Membership> {
    let id = actor.id.clone();
    let rows = rig.control.store().read(move |tx| tx.memberships(&id)).await.unwrap();
    let membership = |row: crate::store::Member| super::super::Membership {
        organization: row.organization,
        role: row.role,
        grants: row.grants,
    };
    rows.into_iter().map(membership).collect()
}

#[tokio::test]
async fn keys_of_a_removed_member_are_refused_when_the_call_returns() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (bob, eve) = (
        person(&rig, OrganizationRole::Admin, Vec::new()).await,
        person(&rig, OrganizationRole::Admin, Vec::new()).await,
    );
    key(&rig, &project, &bob, "key of bob").await;
    key(&rig, &project, &eve, "key of eve").await;
    assert!(works(&rig, "key of bob") && works(&rig, "key of eve"));
    let expected = revision(&rig, &bob.id).await;
    rig.control.remove_member(&rig.owner, (rig.organization.clone(), bob.id.clone()), expected).await.unwrap();
    assert!(!works(&rig, "key of bob") && works(&rig, "key of eve"));
    let rig = rig.restarted().await;
    assert!(!works(&rig, "key of bob") && works(&rig, "key of eve"), "after a restart too");
}

#[tokio::test]
async fn keys_of_a_suspended_organization_are_refused_until_it_is_active() {
    let rig = Rig::new().await;
    let (project, organization) = (rig.project_id("chat").await, rig.organization.clone());
    key(&rig, &project, &rig.owner, "a key").await;
    let admin = Actor { instance_admin: true, memberships: Vec::new(), ..rig.owner.clone() };
    let set = async |by: &Actor, status| {
        let revision = rig.control.organization(&admin, organization.clone()).await.unwrap().revision;
        let patch = OrganizationPatch { status: Some(status), ..OrganizationPatch::default() };
        rig.control.change_organization(by, organization.clone(), revision, patch).await
    };
    assert_eq!(kind(&set(&rig.owner, OrganizationStatus::Suspended).await), "not_permitted", "an owner");
    set(&admin, OrganizationStatus::Suspended).await.unwrap();
    assert!(!works(&rig, "a key"));
    let invited =
        rig.control.invite(&rig.owner, organization.clone(), invitation("x@y", OrganizationRole::Admin)).await;
    assert_eq!(kind(&invited), "not_permitted", "nothing of it can be changed");
    assert_eq!(kind(&rig.save_as(&rig.owner, &project, GOOD).await), "not_permitted");
    set(&admin, OrganizationStatus::Active).await.unwrap();
    assert!(works(&rig, "a key"));
}

#[tokio::test]
async fn deleted_organization_takes_its_keys_and_projects_along() {
    let rig = Rig::new().await;
    let operator = person(&rig, OrganizationRole::Owner, Vec::new()).await;
    let operator = Actor { instance_admin: true, ..operator };
    let made = rig.control.create_organization(&operator, "Acme").await.unwrap();
    let owner = Actor { memberships: memberships(&rig, &operator).await, ..operator };
    let new = super::super::NewProject { name: "chat".to_owned(), ..super::super::NewProject::default() };
    let project = rig.control.create_project(&owner, &made.id, new).await.unwrap().project.id;
    let open = rig.control.open_version(&owner, &project).await.unwrap().version;
    let draft = DraftText { text: GOOD.as_bytes().to_vec(), comment: String::new() };
    let saved = rig.control.save_draft(&owner, &project, Expected::Open(version_revision(&open)), draft).await;
    let number = saved.unwrap().version.number;
    rig.control.approve(&owner, &project, number, String::new()).await.unwrap();
    rig.control.serve(&owner, &project, number, Default::default()).await.unwrap();
    key(&rig, &project, &owner, "a key").await;
    let delete = |confirm: &str, expected| {
        rig.control.delete_organization(&owner, made.id.clone(), expected, confirm.to_owned())
    };
    assert_eq!(kind(&delete("acme", 1).await), "invalid", "the name is not confirmed");
    assert_eq!(kind(&delete("Acme", 2).await), "stale");
    assert!(matches!(delete("Acme", 1).await, Err(ControlError::InUse(_))), "a project is served");
    rig.control.archive_project(&owner, &project, String::new()).await.unwrap();
    let registries = rig.control.registries();
    drop(registries.credits.of(made.id.as_str(), &registries.meters));
    delete("Acme", 1).await.unwrap();
    assert_eq!(registries.credits.projects_of(made.id.as_str()), None, "its credits are gone");
    assert!(!works(&rig, "a key"));
    assert!(rig.served().project(project.as_str()).is_none());
    assert_eq!(kind(&rig.control.organization(&owner, made.id.clone()).await), "not_found");
    let found = rig.control.organization(&rig.owner, rig.organization.clone()).await.unwrap();
    super::super::prepare_first_start(rig.control.store(), None).await.unwrap();
    let first = rig.control.delete_organization(&rig.owner, found.id, found.revision, found.name).await;
    assert!(matches!(first, Err(ControlError::InUse(_))), "the first organization stays");
}

// I-23.
#[tokio::test]
async fn each_change_has_one_event_and_the_chain_is_whole() {
    let rig = Rig::new().await;
    let organization = rig.organization.clone();
    let admin = Actor { instance_admin: true, ..rig.owner.clone() };
    let before = actions(&rig).await.len();
    let owner = person(&rig, OrganizationRole::Owner, Vec::new()).await;
    let (_, token) = rig
        .control
        .invite(&owner, organization.clone(), invitation("bob@example.com", OrganizationRole::Admin))
        .await
        .unwrap();
    let bob = rig.control.accept_invitation(&token, secret(PASSWORD), None, "10.0.0.1").await.unwrap().login.user.id;
    let patch = MemberPatch { active_key_limit: Some(Some(3)), ..MemberPatch::default() };
    let member = (organization.clone(), bob.clone());
    let changed = rig.control.change_member(&owner, member.clone(), 1, patch.clone()).await.unwrap();
    rig.control.change_member(&owner, member.clone(), changed.revision, patch).await.unwrap();
    assert_eq!(kind(&rig.control.change_member(&owner, member.clone(), 1, MemberPatch::default()).await), "stale");
    rig.control.remove_member(&owner, member, changed.revision).await.unwrap();
    let patch = OrganizationPatch { name: Some("Acme".to_owned()), ..OrganizationPatch::default() };
    rig.control.change_organization(&owner, organization.clone(), 1, patch).await.unwrap();
    let made = rig.control.create_organization(&admin, "Other").await.unwrap();
    assert_eq!(
        actions(&rig).await[before..],
        [
            "invitation.create",
            "invitation.accept",
            "session.begin",
            "member.update",
            "member.remove",
            "organization.update",
            "organization.create"
        ],
        "what changes nothing or is refused has none"
    );
    let chain = rig.control.verify_audit(&rig.owner).await.unwrap();
    assert!(matches!(chain, Chain::Whole { entries, .. } if usize::try_from(entries) == Ok(before + 7)), "{chain:?}");
    let own = rig.control.audit(&rig.owner, AuditScope::Organization(organization), AuditFilter::default(), page(100));
    assert!(own.await.unwrap().rows.iter().all(|row| row.event.organization.as_ref() != Some(&made.id)));
    let foreign = rig.control.audit(&owner, AuditScope::Organization(made.id), AuditFilter::default(), page(100)).await;
    assert_eq!(kind(&foreign), "not_found");
}

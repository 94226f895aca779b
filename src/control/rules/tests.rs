//! Rules on a store: permissions, lifetimes, workers.

use serde_json::{Value, json};

use super::super::{
    ControlError, Intent, NewKey, PolicySite,
    keys_tests::audit_text,
    tests::{World, actor, kind, make_key, person},
};
use super::{NewRule, Question, RulePatch};
use crate::{
    base::{Id, IdKind, Secret},
    iam::{RuleType, Scope},
    store::{OrganizationRole, ProjectGrant, ProjectRole, RuleStatus},
    wire::Endpoint,
};

const OTHER: &str = "chat_models: [{model_id: m, model: mock/n}]\nroutes: {chat: {chat_models: [m]}}\n";

fn new(kind: RuleType, value: Value) -> NewRule {
    NewRule { kind, value, status: RuleStatus::Active }
}

fn deny(model: &str) -> NewRule {
    new(RuleType::DenyModels, json!({ "models": [model] }))
}

const SCOPES: [Scope; 4] = [Scope::Organization, Scope::Project, Scope::Member, Scope::Key];

impl World {
    /// Whether workers let the key use the route, or where the rules stand that do not.
    fn allowed(&self, text: &Secret) -> Result<(), Scope> {
        let snapshot = self.rig.served();
        let grant = snapshot.grant(text.reveal().as_bytes()).unwrap();
        let found = snapshot.route(grant, "chat").unwrap();
        found.allowed(grant, Endpoint::Chat, None).map(drop).map_err(|denial| denial.scope)
    }
}

#[tokio::test]
async fn rule_holds_from_its_call_to_its_end_at_each_place() {
    let world = World::new().await;
    let control = &world.rig.control;
    for (scope, site) in SCOPES.into_iter().zip(world.sites()) {
        let made = control.create_rule(&world.maker, site.clone(), deny("m")).await.unwrap();
        assert_eq!(world.allowed(&world.text), Err(scope));
        let off = RulePatch { status: Some(RuleStatus::Inactive), ..RulePatch::default() };
        let at = || (site.clone(), made.id.clone());
        let changed = control.change_rule(&world.maker, at(), 1, off).await.unwrap();
        assert_eq!((world.allowed(&world.text), changed.revision), (Ok(()), 2), "{scope:?}");
        let on = RulePatch { value: Some(json!({"models": ["mock/*"]})), status: Some(RuleStatus::Active) };
        assert_eq!(kind(&control.change_rule(&world.maker, at(), 1, on.clone()).await), "stale");
        control.change_rule(&world.maker, at(), 2, on).await.unwrap();
        assert_eq!(world.allowed(&world.text), Err(scope));
        assert_eq!(kind(&control.delete_rule(&world.maker, at(), 2).await), "stale");
        control.delete_rule(&world.maker, at(), 3).await.unwrap();
        assert_eq!(world.allowed(&world.text), Ok(()), "{scope:?}");
        assert_eq!(kind(&control.rule(&world.maker, site.clone(), made.id.clone()).await), "not_found");
        assert!(control.rules(&world.maker, site).await.unwrap().is_empty());
    }
    let audit = audit_text(&world.rig).await;
    for action in ["rule.create", "rule.update", "rule.delete"] {
        assert!(audit.matches(action).count() >= 4, "{action}");
    }
}

#[tokio::test]
async fn rules_hold_after_a_serve_a_roll_and_a_restart() {
    let world = World::new().await;
    let control = &world.rig.control;
    let made = control.create_rule(&world.maker, world.at_key(), deny("m")).await.unwrap();
    world.rig.serve(&world.project, OTHER).await;
    assert_eq!(world.allowed(&world.text), Ok(()), "the model is another");
    control.roll_back(&world.maker, &world.project, None, Intent::default()).await.unwrap();
    assert_eq!(world.allowed(&world.text), Err(Scope::Key));

    let overlap = std::time::Duration::from_secs(60);
    let (_, rolled) = control.roll_key(&world.maker, (&world.project, &world.key.id), overlap).await.unwrap();
    assert_eq!((world.allowed(&world.text), world.allowed(&rolled)), (Err(Scope::Key), Err(Scope::Key)));

    let World { rig, project, maker, key, text } = world;
    let world = World { rig: rig.restarted().await, project, maker, key, text };
    assert_eq!((world.allowed(&world.text), world.allowed(&rolled)), (Err(Scope::Key), Err(Scope::Key)));
    world.rig.control.delete_rule(&world.maker, (world.at_key(), made.id), 1).await.unwrap();
    assert_eq!((world.allowed(&world.text), world.allowed(&rolled)), (Ok(()), Ok(())));
}

/// GHSA-pjj8-5gpw-f42r: rules were found by their id alone.
#[tokio::test]
async fn rule_is_found_by_its_place_and_its_id() {
    let world = World::new().await;
    let control = &world.rig.control;
    let sites: Vec<_> = SCOPES.into_iter().zip(world.sites()).collect();
    let (foreign, _) = make_key(&world.rig, &world.maker, &world.project).await;
    let beside = PolicySite::Key { project: world.project.clone(), key: foreign.id };
    for (scope, site) in &sites {
        let made = control.create_rule(&world.maker, site.clone(), deny("x")).await.unwrap();
        for other in sites.iter().map(|(_, other)| other).chain([&beside]).filter(|other| *other != site) {
            let at = (other.clone(), made.id.clone());
            let patch = RulePatch { status: Some(RuleStatus::Inactive), ..RulePatch::default() };
            assert_eq!(kind(&control.rule(&world.maker, at.0.clone(), at.1.clone()).await), "not_found", "{scope:?}");
            assert_eq!(kind(&control.change_rule(&world.maker, at.clone(), 1, patch).await), "not_found", "{scope:?}");
            assert_eq!(kind(&control.delete_rule(&world.maker, at, 1).await), "not_found", "{scope:?}");
        }
    }
    let project = world.rig.project_id("other").await;
    let stolen = PolicySite::Key { project, key: world.key.id.clone() };
    assert_eq!(kind(&control.rules(&world.maker, stolen).await), "not_found");
}

#[tokio::test]
async fn only_administrators_write_rules_and_nobody_on_the_own_keys() {
    let world = World::new().await;
    let rig = &world.rig;
    let in_project = |role| vec![ProjectGrant { project: world.project.clone(), role }];
    let developer = person(rig, OrganizationRole::Member, in_project(ProjectRole::Developer)).await;
    let (own, _) = make_key(rig, &developer, &world.project).await;
    let admin = person(rig, OrganizationRole::Member, in_project(ProjectRole::ProjectAdmin)).await;
    let editor = person(rig, OrganizationRole::Member, in_project(ProjectRole::Editor)).await;
    let auditor = person(rig, OrganizationRole::Auditor, Vec::new()).await;
    let stranger = actor(&Id::random(IdKind::Organization).unwrap(), OrganizationRole::Owner, Vec::new());
    let own_key = PolicySite::Key { project: world.project.clone(), key: own.id };
    let [organization, project, member, _] = world.sites();
    for (name, actor, site, read, write) in [
        ("developer, own key", &developer, &own_key, "not_permitted", "not_permitted"),
        ("developer, project", &developer, &project, "not_permitted", "not_permitted"),
        ("developer, organization", &developer, &organization, "not_permitted", "not_permitted"),
        ("editor", &editor, &own_key, "not_permitted", "not_permitted"),
        ("project_admin, key", &admin, &own_key, "ok", "ok"),
        ("project_admin, project", &admin, &project, "ok", "ok"),
        ("project_admin, member", &admin, &member, "not_permitted", "not_permitted"),
        ("project_admin, organization", &admin, &organization, "not_permitted", "not_permitted"),
        ("auditor, key", &auditor, &own_key, "ok", "not_permitted"),
        ("auditor, member", &auditor, &member, "ok", "not_permitted"),
        ("stranger, key", &stranger, &own_key, "not_found", "not_found"),
        ("stranger, organization", &stranger, &organization, "not_found", "not_found"),
        ("owner, member", &world.maker, &member, "ok", "ok"),
    ] {
        assert_eq!(kind(&rig.control.rules(actor, site.clone()).await), read, "{name}");
        assert_eq!(kind(&rig.control.create_rule(actor, site.clone(), deny("x")).await), write, "{name}");
    }
    let with_rules = || NewKey { description: "test".to_owned(), rules: vec![deny("m")], ..NewKey::default() };
    assert_eq!(kind(&rig.control.create_key(&developer, &world.project, with_rules()).await), "not_permitted");
    let (_, text) = rig.control.create_key(&admin, &world.project, with_rules()).await.unwrap();
    assert_eq!(world.allowed(&text), Err(Scope::Key), "a key is bound from its first moment on");
}

#[tokio::test]
async fn value_without_its_field_is_refused_with_its_path() {
    let world = World::new().await;
    let control = &world.rig.control;
    for (new, path) in [
        (new(RuleType::AllowModels, json!({"models": []})), "value.models"),
        (new(RuleType::AllowIpCidrs, json!({})), "value.cidrs"),
        (new(RuleType::DenyProviders, json!({"providers": ["a"], "models": ["b"]})), "value.models"),
        (new(RuleType::AllowPricing, json!({})), "value"),
    ] {
        for prefix in ["", "rules.0."] {
            let refused = if prefix.is_empty() {
                control.create_rule(&world.maker, world.at_key(), new.clone()).await.map(drop)
            } else {
                let key = NewKey { description: "x".to_owned(), rules: vec![new.clone()], ..NewKey::default() };
                control.create_key(&world.maker, &world.project, key).await.map(drop)
            };
            let Err(ControlError::Invalid(problems)) = refused else { panic!("{path}: {refused:?}") };
            assert_eq!(problems[0].path, format!("{prefix}{path}"));
        }
    }
    assert_eq!(world.allowed(&world.text), Ok(()));
    for _ in 0..100 {
        control.create_rule(&world.maker, world.at_key(), deny("x")).await.unwrap();
    }
    assert_eq!(kind(&control.create_rule(&world.maker, world.at_key(), deny("x")).await), "limit_reached");
}

#[tokio::test]
async fn rules_of_what_is_gone_are_gone() {
    let world = World::new().await;
    let control = &world.rig.control;
    let member = person(&world.rig, OrganizationRole::Admin, Vec::new()).await;
    let (key, text) = make_key(&world.rig, &member, &world.project).await;
    let organization = world.rig.organization.clone();
    let at_member = PolicySite::Member { organization: organization.clone(), user: member.author.clone() };
    control.create_rule(&world.maker, at_member, deny("m")).await.unwrap();
    assert_eq!(world.allowed(&text), Err(Scope::Member));
    assert_eq!(world.allowed(&world.text), Ok(()), "another member's key");
    control.remove_member(&world.maker, (organization, member.author.clone()), 1).await.unwrap();
    assert!(world.rig.served().grant(text.reveal().as_bytes()).is_none());
    control.delete_key(&world.maker, (&world.project, &key.id), 2).await.unwrap();

    control.create_rule(&world.maker, world.at_key(), deny("m")).await.unwrap();
    control.create_rule(&world.maker, PolicySite::Project(world.project.clone()), deny("m")).await.unwrap();
    control.delete_key(&world.maker, (&world.project, &world.key.id), 1).await.unwrap();
    assert_eq!(kind(&control.rules(&world.maker, world.at_key()).await), "not_found");
    let state = world.rig.state(&world.project).await.project;
    control.unserve(&world.maker, &world.project, Intent::default()).await.unwrap();
    let revision = world.rig.state(&world.project).await.project.revision;
    control.delete_project(&world.maker, &world.project, revision, state.slug).await.unwrap();
    assert!(world.rig.served().project(world.project.as_str()).is_none());
}

#[tokio::test]
async fn explanation_names_what_decides_and_agrees_with_workers() {
    let world = World::new().await;
    let control = &world.rig.control;
    let ask = |route: &'static str, address: Option<&str>| Question {
        route: route.to_owned(),
        endpoint: Endpoint::Chat,
        address: address.map(|text| text.parse().unwrap()),
    };
    let at = (&world.project, &world.key.id);
    let said = control.explain(&world.maker, at, ask("chat", None)).await.unwrap();
    assert!(said.allowed && said.steps.is_empty() && said.targets.len() == 1);
    let inactive = NewRule { status: RuleStatus::Inactive, ..deny("m") };
    let [organization, ..] = world.sites();
    control.create_rule(&world.maker, organization.clone(), inactive).await.unwrap();
    let passes = control.create_rule(&world.maker, organization, deny("x")).await.unwrap();
    let refuses = control
        .create_rule(&world.maker, world.at_key(), new(RuleType::AllowIpCidrs, json!({"cidrs": ["10.0.0.0/8"]})))
        .await
        .unwrap();
    let said = control.explain(&world.maker, at, ask("chat/chat", Some("192.0.2.1"))).await.unwrap();
    let ids = |ids: &[std::sync::Arc<str>]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
    let steps: Vec<_> = said
        .steps
        .iter()
        .map(|step| (step.scope, ids(&step.rule_ids), ids(&step.decided_by), step.removed.len()))
        .collect();
    let id = |rule: &crate::store::Rule| vec![rule.id.as_str().to_owned()];
    let want = [(Scope::Organization, id(&passes), vec![], 0), (Scope::Key, id(&refuses), id(&refuses), 1)];
    assert_eq!((said.allowed, said.targets.len(), steps.as_slice()), (false, 0, &want[..]));
    assert_eq!(world.allowed(&world.text), Err(Scope::Key), "the address of `allowed` is unknown");
    assert!(control.explain(&world.maker, at, ask("chat", Some("::ffff:10.1.2.3"))).await.unwrap().allowed);
    assert_eq!(kind(&control.explain(&world.maker, at, ask("none", None)).await), "not_found");
    let embeddings = Question { endpoint: Endpoint::Embeddings, ..ask("chat", None) };
    assert_eq!(kind(&control.explain(&world.maker, at, embeddings).await), "invalid");
}

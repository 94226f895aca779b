//! Secrets and provider keys from the store to the workers.

use crate::{
    base::{Id, Secret as SecretText},
    metrics::Outcome,
    snapshot::Reach,
    store::{KeyStatus, OrganizationRole, Owner, ProjectRole, ProviderKey, Secret},
    wire::Endpoint,
};

use super::{
    ControlError, CredentialHealth, Force, NewProviderKey, NewSecret, ProviderKeyPatch, SecretPatch, Uses, Vault,
    first_of,
    keys_tests::{audit_text, hex, holds, store_bytes},
    load,
    tests::{GOOD, Rig, actor, kind, member},
};

const CANARY: &str = "sk-canary-3f9Qz81LmN";
/// A configuration whose only model names a secret.
const NAMES: &str = "chat_models: [{model_id: m, model: openai/gpt-4o, credentials: {api_key: !secret OPENAI}}]\n\
                     routes: {chat: {chat_models: [m]}}\n";
/// One whose only model leaves the key to the project.
const LEAVES: &str = "chat_models: [{model_id: m, model: openai/gpt-4o}]\nroutes: {chat: {chat_models: [m]}}\n";

fn secret(value: &str) -> NewSecret {
    NewSecret {
        name: "OPENAI".to_owned(),
        value: SecretText::new(value.to_owned()),
        bound_origins: vec!["https://api.openai.com".to_owned()],
        shared_with: None,
    }
}

fn provider_key(value: &str) -> NewProviderKey {
    NewProviderKey {
        provider: "openai".to_owned(),
        label: "main".to_owned(),
        value: SecretText::new(value.to_owned()),
        base_url: None,
        sort_order: 0,
    }
}

async fn stored(rig: &Rig, owner: &Owner, value: &str) -> Secret {
    rig.control.create_secret(&rig.owner, owner, secret(value)).await.unwrap()
}

async fn stored_key(rig: &Rig, owner: &Owner, value: &str) -> ProviderKey {
    rig.control.create_provider_key(&rig.owner, owner, provider_key(value)).await.unwrap()
}

/// The credential that requests of the route `chat` carry; what there is instead of a route.
fn sent(rig: &Rig, project: &Id) -> String {
    let snapshot = rig.served();
    let Some(part) = snapshot.project(project.as_str()) else { return "nothing served".to_owned() };
    if part.is_broken() {
        return "broken".to_owned();
    }
    let target = part.route("chat").unwrap().chat.as_ref().unwrap();
    let Reach::Http(reach) = &target.reach else { panic!("not a provider") };
    let head = String::from_utf8(reach.head(Endpoint::Chat).to_vec()).unwrap();
    let line = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
    line.unwrap_or("none").to_owned()
}

#[tokio::test]
async fn value_is_used_by_workers_and_readable_nowhere_else() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let owner = Owner::Project(project.clone());
    let made = stored(&rig, &owner, CANARY).await;
    rig.serve(&project, NAMES).await;
    assert_eq!(sent(&rig, &project), CANARY);
    let generation = rig.state(&project).await.project.generation;

    let rotated = format!("{CANARY}-2");
    let entered = rig
        .control
        .enter_secret(&rig.owner, (&owner, &made.id), made.revision, SecretText::new(rotated.clone()))
        .await
        .unwrap();
    assert_eq!(sent(&rig, &project), rotated, "without a serve");
    assert_eq!(rig.state(&project).await.project.generation, generation);
    let [before, after] = [&made, &entered].map(|row| row.value.clone().unwrap());
    assert!(after.version > before.version && after.fingerprint != before.fingerprint);
    assert_eq!(after.last4, "mN-2");
    let key = stored_key(&rig, &owner, CANARY).await;

    let audit = audit_text(&rig).await;
    let bytes = store_bytes(&rig);
    let base64 = ["c2stY2FuYXJ5LTNmOVF6ODFMbU4", "stY2FuYXJ5LTNmOVF6ODFMbU"];
    for text in [CANARY, &hex(CANARY.as_bytes()), &hex(CANARY.as_bytes()).to_uppercase(), base64[0], base64[1]] {
        assert!(!holds(&bytes, text.as_bytes()), "{text} in the store");
        assert!(!audit.contains(text), "{text} in the audit log");
        assert!(!format!("{made:?} {entered:?} {key:?} {:?}", secret(CANARY)).contains(text), "{text} in Debug");
    }
    for action in ["secret.create", "secret.rotate", "provider_key.create"] {
        assert!(audit.contains(action), "{action}");
    }
    let rig = rig.restarted().await;
    assert_eq!(sent(&rig, &project), rotated, "after a restart");
}

#[tokio::test]
async fn changed_origin_clears_the_value_and_ends_its_use() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let owner = Owner::Project(project.clone());
    let made = stored(&rig, &owner, CANARY).await;
    rig.serve(&project, NAMES).await;
    let at = (&owner, &made.id);
    let change = |revision, origin: &str| {
        let patch = SecretPatch { bound_origins: Some(vec![origin.to_owned()]), shared_with: None };
        rig.control.change_secret(&rig.owner, at, revision, patch)
    };
    let same = change(1, "https://api.openai.com:443").await.unwrap();
    assert!(same.value.is_some(), "another spelling of the same place");
    let cleared = change(1, "https://other.example").await.unwrap();
    assert_eq!((cleared.value, cleared.revision), (None, 2));
    assert_eq!(sent(&rig, &project), "broken");
    assert_eq!(kind(&change(1, "https://api.openai.com").await), "stale");
    change(2, "https://api.openai.com").await.unwrap();
    assert_eq!(sent(&rig, &project), "broken", "the value has to be entered again");
    rig.control.enter_secret(&rig.owner, at, 3, SecretText::new("sk-new".to_owned())).await.unwrap();
    assert_eq!(sent(&rig, &project), "sk-new");
}

#[tokio::test]
async fn secret_in_use_is_deleted_by_force_of_an_owner_only() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let owner = Owner::Project(project.clone());
    let made = stored(&rig, &owner, CANARY).await;
    let at = (&owner, &made.id);
    let number = rig.save(&project, NAMES).await;
    let admin = actor(&rig.organization, OrganizationRole::Admin, Vec::new());
    let refused = rig.control.delete_secret(&rig.owner, at, 1, Force::No).await;
    let Err(ControlError::InUse(said)) = refused else { panic!("an open version needs it") };
    assert!(said.contains(&format!("`chat` version {number}")), "{said}");
    rig.serve(&project, NAMES).await;
    rig.save(&project, GOOD).await;
    for (who, force) in [(&rig.owner, Force::No), (&admin, Force::No), (&admin, Force::ByOwner)] {
        let refused = rig.control.delete_secret(who, at, 1, force).await;
        assert!(matches!(refused, Err(ControlError::InUse(_))), "{force:?}");
    }
    assert_eq!(sent(&rig, &project), CANARY);
    rig.control.delete_secret(&rig.owner, at, 1, Force::ByOwner).await.unwrap();
    assert_eq!(sent(&rig, &project), "broken", "not used any longer");
    rig.serve(&project, GOOD).await;
    let again = stored(&rig, &owner, CANARY).await;
    rig.control.delete_secret(&rig.owner, (&owner, &again.id), 1, Force::No).await.expect("nothing needs it now");
}

#[tokio::test]
async fn own_secret_comes_before_that_of_the_organization() {
    let rig = Rig::new().await;
    let [one, two] = [rig.project_id("one").await, rig.project_id("two").await];
    let shared = Owner::Organization(rig.organization.clone());
    let of_all = stored(&rig, &shared, "sk-of-all").await;
    rig.serve(&one, NAMES).await;
    rig.serve(&two, NAMES).await;
    assert_eq!((sent(&rig, &one).as_str(), sent(&rig, &two).as_str()), ("sk-of-all", "sk-of-all"));
    let owner = Owner::Project(one.clone());
    let own = stored(&rig, &owner, "sk-of-one").await;
    assert_eq!((sent(&rig, &one).as_str(), sent(&rig, &two).as_str()), ("sk-of-one", "sk-of-all"));
    let at = (&shared, &of_all.id);
    rig.control.enter_secret(&rig.owner, at, 1, SecretText::new("sk-rotated".to_owned())).await.unwrap();
    assert_eq!((sent(&rig, &one).as_str(), sent(&rig, &two).as_str()), ("sk-of-one", "sk-rotated"));
    let patch = SecretPatch { bound_origins: None, shared_with: Some(Some(vec![one.clone()])) };
    rig.control.change_secret(&rig.owner, at, 2, patch).await.unwrap();
    assert_eq!(sent(&rig, &two), "broken", "not shared with it any longer");
    rig.control.delete_secret(&rig.owner, at, 3, Force::No).await.expect("the only one that may use it has its own");
    rig.control.delete_secret(&rig.owner, (&owner, &own.id), 1, Force::ByOwner).await.unwrap();
    assert_eq!(sent(&rig, &one), "broken");
}

#[tokio::test]
async fn provider_key_of_the_project_comes_before_that_of_the_organization() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (own, shared) = (Owner::Project(project.clone()), Owner::Organization(rig.organization.clone()));
    let of_all = stored_key(&rig, &shared, "sk-of-all").await;
    rig.serve(&project, LEAVES).await;
    assert_eq!(sent(&rig, &project), "sk-of-all");
    let refused = rig.control.delete_provider_key(&rig.owner, (&shared, &of_all.id), 1, Force::No).await;
    assert!(matches!(refused, Err(ControlError::InUse(_))));
    let of_project = stored_key(&rig, &own, "sk-own").await;
    assert_eq!(sent(&rig, &project), "sk-own");
    let change = |revision, patch| rig.control.change_provider_key(&rig.owner, (&own, &of_project.id), revision, patch);
    let status = |status| ProviderKeyPatch { status: Some(status), ..ProviderKeyPatch::default() };
    change(1, status(KeyStatus::Disabled)).await.unwrap();
    assert_eq!(sent(&rig, &project), "sk-of-all");
    change(2, status(KeyStatus::Active)).await.unwrap();
    assert_eq!(sent(&rig, &project), "sk-own");
    let at = (&own, &of_project.id);
    rig.control.enter_provider_key(&rig.owner, at, 3, SecretText::new("sk-next".to_owned())).await.unwrap();
    assert_eq!(sent(&rig, &project), "sk-next");
    let url = Some(Some("https://llm.example/v1/".to_owned()));
    let moved = change(4, ProviderKeyPatch { base_url: url, ..ProviderKeyPatch::default() }).await.unwrap();
    assert_eq!((moved.value, moved.base_url.as_deref()), (None, Some("https://llm.example/v1")));
    assert_eq!(sent(&rig, &project), "sk-of-all", "the value was entered for another place");
    rig.control.delete_provider_key(&rig.owner, at, 5, Force::No).await.expect("without a value nothing needs it");
    rig.control.delete_provider_key(&rig.owner, (&shared, &of_all.id), 1, Force::ByOwner).await.unwrap();
    assert_eq!(sent(&rig, &project), "broken");
}

#[tokio::test]
async fn values_under_another_master_key_break_their_own_projects_only() {
    let rig = Rig::new().await;
    let [with, without] = [rig.project_id("with").await, rig.project_id("without").await];
    stored(&rig, &Owner::Project(with.clone()), CANARY).await;
    rig.serve(&with, NAMES).await;
    rig.serve(&without, GOOD).await;
    let other = Vault::parse(&"6b".repeat(32)).unwrap();
    let registries = rig.control.registries();
    let edit = load(rig.control.store(), (&other, rig.control.pepper()), &registries).await.unwrap();
    let snapshot = first_of(edit, &registries);
    assert!(snapshot.project(with.as_str()).unwrap().is_broken());
    assert!(!snapshot.project(without.as_str()).unwrap().is_broken());
}

#[tokio::test]
async fn copied_row_does_not_open_at_another_project() {
    let rig = Rig::new().await;
    let [one, two] = [rig.project_id("one").await, rig.project_id("two").await];
    let stolen = stored(&rig, &Owner::Project(one), CANARY).await;
    let target = Owner::Project(two.clone());
    let mut row = stored(&rig, &target, "sk-own").await;
    rig.serve(&two, NAMES).await;
    row.value = stolen.value;
    rig.control.store().write(move |tx| Ok::<_, ControlError>(tx.update_secret(&row)?)).await.unwrap();
    let rig = rig.restarted().await;
    assert_eq!(sent(&rig, &two), "broken");
}

#[tokio::test]
async fn fields_that_are_not_as_they_must_be_are_refused() {
    let rig = Rig::new().await;
    let owner = Owner::Project(rig.project_id("chat").await);
    for (name, new) in [
        ("name with a slash", NewSecret { name: "a/b".to_owned(), ..secret("x") }),
        ("long name", NewSecret { name: "x".repeat(65), ..secret("x") }),
        ("empty value", secret(" ")),
        ("line feed in the value", secret("a\nb")),
        ("no origin", NewSecret { bound_origins: Vec::new(), ..secret("x") }),
        ("origin with a path", NewSecret { bound_origins: vec!["https://a/v1".to_owned()], ..secret("x") }),
        ("shared by a project", NewSecret { shared_with: Some(Vec::new()), ..secret("x") }),
    ] {
        assert_eq!(kind(&rig.control.create_secret(&rig.owner, &owner, new).await), "invalid", "{name}");
    }
    let url = |url: &str| NewProviderKey { base_url: Some(url.to_owned()), ..provider_key("x") };
    for (name, new) in [
        ("unknown provider", NewProviderKey { provider: "nobody".to_owned(), ..provider_key("x") }),
        ("mock", NewProviderKey { provider: "mock".to_owned(), ..provider_key("x") }),
        ("no label", NewProviderKey { label: " ".to_owned(), ..provider_key("x") }),
        ("address of the cloud's own service", url("http://169.254.169.254/v1")),
        ("loopback", url("http://127.0.0.1:8080/v1")),
        ("not a URL", url("x y")),
        ("value that is not ASCII", provider_key("schlüssel-mit-umlaut")),
    ] {
        assert_eq!(kind(&rig.control.create_provider_key(&rig.owner, &owner, new).await), "invalid", "{name}");
    }
    stored(&rig, &owner, "x").await;
    assert_eq!(kind(&rig.control.create_secret(&rig.owner, &owner, secret("y")).await), "name_taken");
}

#[tokio::test]
async fn secrets_of_others_do_not_exist() {
    let rig = Rig::new().await;
    let [one, two] = [rig.project_id("one").await, rig.project_id("two").await];
    let owner = Owner::Project(one.clone());
    let made = stored(&rig, &owner, CANARY).await;
    let stranger = actor(&Id::stored("org_other"), OrganizationRole::Owner, Vec::new());
    let developer = member(&rig.organization, &one, ProjectRole::Developer);
    let of_two = member(&rig.organization, &two, ProjectRole::ProjectAdmin);
    let auditor = actor(&rig.organization, OrganizationRole::Auditor, Vec::new());
    let of_organization = Owner::Organization(rig.organization.clone());
    for (name, who, owner, want) in [
        ("stranger", &stranger, &owner, "not_found"),
        ("stranger, organization", &stranger, &of_organization, "not_found"),
        ("administrator of another project", &of_two, &owner, "not_found"),
        ("at another project", &rig.owner, &Owner::Project(two.clone()), "not_found"),
        ("at the organization", &rig.owner, &of_organization, "not_found"),
        ("developer", &developer, &owner, "not_permitted"),
        ("auditor", &auditor, &owner, "ok"),
        ("owner", &rig.owner, &owner, "ok"),
    ] {
        assert_eq!(kind(&rig.control.secret(who, owner, &made.id).await), want, "{name}");
    }
    let entered = SecretText::new("x".to_owned());
    let written = rig.control.enter_secret(&auditor, (&owner, &made.id), 1, entered).await;
    assert_eq!(kind(&written), "not_permitted");
}

/// Counts an attempt of the served route `chat`, as a worker does.
fn attempt(rig: &Rig, project: &Id, outcome: Outcome) {
    let snapshot = rig.served();
    let target = snapshot.project(project.as_str()).unwrap().route("chat").unwrap().chat.clone().unwrap();
    target.series.record_attempt(0, outcome);
}

#[tokio::test]
async fn use_and_health_of_a_credential_come_from_the_attempts_of_its_targets() {
    let rig = Rig::with_workers(1).await;
    rig.registry().workers()[0].generation.set(u64::MAX);
    let project = rig.project_id("chat").await;
    let owner = Owner::Project(project.clone());
    let (named, unused) = (stored(&rig, &owner, CANARY).await, stored_key(&rig, &owner, CANARY).await);
    rig.serve(&project, NAMES).await;
    let look = async || {
        let found = rig.control.uses_of_secrets(&owner, vec![named.clone()]).await.unwrap();
        found.into_iter().next().unwrap().1
    };
    let before = look().await;
    assert_eq!(
        before,
        Uses { used_by: vec!["`chat` version 2".to_owned()], last_used_at: None, health: CredentialHealth::Ok }
    );
    attempt(&rig, &project, Outcome::Connect);
    assert_eq!(look().await, before, "without a connection nothing was sent");
    for (outcome, want) in [
        (Outcome::Auth, CredentialHealth::Refused),
        (Outcome::Success, CredentialHealth::Ok),
        (Outcome::RateLimited, CredentialHealth::Cooling),
        (Outcome::Auth, CredentialHealth::Refused),
    ] {
        attempt(&rig, &project, outcome);
        let seen = look().await;
        assert_eq!(seen.health, want, "{outcome:?}");
        assert!(seen.last_used_at.is_some());
    }
    let entered =
        rig.control.enter_secret(&rig.owner, (&owner, &named.id), named.revision, SecretText::new("new".repeat(9)));
    entered.await.unwrap();
    assert_eq!(look().await.health, CredentialHealth::Ok, "another value was not refused yet");
    let idle = rig.control.uses_of_provider_keys(&owner, vec![unused]).await.unwrap();
    assert_eq!((idle[0].1.last_used_at, idle[0].1.used_by.len()), (None, 0));

    rig.control.write_credential_use().await;
    let rig = rig.restarted().await;
    let found = rig.control.uses_of_secrets(&owner, vec![named.clone()]).await.unwrap();
    assert!(found[0].1.last_used_at.is_some(), "it is stored");
}

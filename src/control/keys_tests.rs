//! API keys from the store to the snapshot.

use std::{fmt::Write as _, time::Duration};

use crate::{
    base::{Id, Secret, UnixTime, unix_time, verify_key_form},
    store::{ApiKey, AuditFilter, KeyFilter, KeyStatus, OrganizationRole, OrganizationStatus, ProjectRole},
};

use super::{
    Actor, ControlError, KeyPatch, NewKey, ProjectPatch,
    tests::{Rig, actor, kind, member, page},
};

fn described(text: &str) -> NewKey {
    NewKey { description: text.to_owned(), ..NewKey::default() }
}

async fn key(rig: &Rig, project: &Id) -> (ApiKey, Secret) {
    rig.control.create_key(&rig.owner, project, described("tests")).await.unwrap()
}

/// Whether workers accept a key.
fn works(rig: &Rig, text: &Secret) -> bool {
    rig.served().grant(text.reveal().as_bytes()).is_some()
}

/// Changes a stored key behind the back of the rules, to let time pass.
async fn store_key(rig: &Rig, key: ApiKey) {
    rig.control.store().write(move |tx| Ok::<_, ControlError>(tx.update_key(&key)?)).await.unwrap();
}

/// Every audit event as text.
pub(super) async fn audit_text(rig: &Rig) -> String {
    let read = rig.control.store().read(|tx| Ok::<_, ControlError>(tx.audit(&AuditFilter::default(), &page(100))?));
    format!("{:?}", read.await.unwrap().rows)
}

/// Every byte in the folder of the store, but not the master key.
pub(super) fn store_bytes(rig: &Rig) -> Vec<u8> {
    let files = std::fs::read_dir(rig.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let stored = files.filter(|path| path.to_string_lossy().contains("millrace.db"));
    let bytes: Vec<u8> = stored.flat_map(|path| std::fs::read(path).unwrap()).collect();
    assert!(bytes.len() > 4_096, "the store is where it is looked for");
    bytes
}

pub(super) fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[tokio::test]
async fn new_key_works_and_its_text_is_stored_nowhere() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (made, text) = key(&rig, &project).await;
    assert!(works(&rig, &text) && verify_key_form(text.reveal()).is_ok());
    assert!(text.reveal().starts_with(&made.public_id) && made.public_id.starts_with("mr_test_"));
    assert!(text.reveal().ends_with(&made.last4) && made.last4.len() == 4);
    let secret = &text.reveal()[made.public_id.len()..];
    let audit = audit_text(&rig).await;
    assert!(audit.contains("key.create") && audit.contains(&made.public_id));
    assert!(!audit.contains(secret) && !audit.contains(&hex(&made.digest)));
    let read = rig.control.key(&rig.owner, &project, &made.id).await.unwrap();
    assert!(!format!("{read:?}").contains(secret));
    assert_eq!(read, made);
    assert!(!holds(&store_bytes(&rig), secret.as_bytes()));

    let patch = ProjectPatch { environment: Some("production".to_owned()), ..ProjectPatch::default() };
    let revision = rig.state(&project).await.project.revision;
    rig.control.change_project(&rig.owner, &project, revision, patch).await.unwrap();
    let (_, live) = key(&rig, &project).await;
    assert!(live.reveal().starts_with("mr_live_"));
    let rig = rig.restarted().await;
    assert!(works(&rig, &text) && works(&rig, &live), "after a restart");
}

#[tokio::test]
async fn disabled_enabled_and_deleted_keys_change_before_the_call_returns() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (made, text) = key(&rig, &project).await;
    let at = (&project, &made.id);
    let switch = |status| rig.control.switch_key(&rig.owner, at, status, "leaked".to_owned());
    let disabled = switch(KeyStatus::Disabled).await.unwrap();
    assert!(!works(&rig, &text) && disabled.revision == 2);
    assert_eq!(kind(&switch(KeyStatus::Disabled).await), "illegal_transition");
    switch(KeyStatus::Active).await.unwrap();
    assert!(works(&rig, &text));
    let patch = KeyPatch { status: Some(KeyStatus::Disabled), ..KeyPatch::default() };
    assert_eq!(kind(&rig.control.change_key(&rig.owner, at, 2, patch.clone()).await), "stale");
    rig.control.change_key(&rig.owner, at, 3, patch).await.unwrap();
    assert!(!works(&rig, &text));
    assert_eq!(kind(&rig.control.delete_key(&rig.owner, at, 3).await), "stale");
    rig.control.delete_key(&rig.owner, at, 4).await.unwrap();
    assert_eq!(rig.served().grant_count(), 0);
    assert_eq!(kind(&rig.control.key(&rig.owner, &project, &made.id).await), "not_found");
    let audit = audit_text(&rig).await;
    for action in ["key.disable", "key.enable", "key.update", "key.delete", "leaked"] {
        assert!(audit.contains(action), "{action}");
    }
}

#[tokio::test]
async fn call_returns_when_the_last_worker_has_seen_the_change() {
    let rig = Rig::with_workers(2).await;
    let project = rig.project_id("chat").await;
    let before = rig.served().generation();
    let (control, owner, of) = (rig.control.clone(), rig.owner.clone(), project.clone());
    let call = tokio::spawn(async move { control.create_key(&owner, &of, described("tests")).await.map(drop) });
    while rig.served().generation() == before {
        tokio::task::yield_now().await;
    }
    rig.registry().workers()[0].generation.set(before + 1);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!call.is_finished(), "one worker has not seen it");
    rig.registry().workers()[1].generation.set(before + 1);
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn caller_that_goes_away_leaves_no_key_that_is_stored_but_not_live() {
    let rig = Rig::with_workers(1).await;
    let project = rig.project_id("chat").await;
    let before = rig.served().generation();
    let (control, owner, of) = (rig.control.clone(), rig.owner.clone(), project.clone());
    let call = tokio::spawn(async move { control.create_key(&owner, &of, described("tests")).await.map(drop) });
    tokio::task::yield_now().await;
    call.abort();
    rig.registry().workers()[0].generation.set(u64::MAX);
    let _ = call.await;
    // The lock is free when whatever had begun has ended.
    while rig.served().generation() == before {
        tokio::task::yield_now().await;
    }
    let publication = rig.control.publication().await;
    drop(publication);
    let stored = rig.control.keys(&rig.owner, &project, KeyFilter::default(), page(100)).await.unwrap().rows.len();
    assert_eq!((stored, rig.served().grant_count()), (1, 1));
}

#[tokio::test]
async fn expired_key_is_refused_and_not_brought_back() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let past = UnixTime(unix_time().0 - Duration::from_secs(1));
    let new = NewKey { expires_at: Some(past), ..described("tests") };
    assert_eq!(kind(&rig.control.create_key(&rig.owner, &project, new).await), "invalid");
    let (made, text) = key(&rig, &project).await;
    store_key(&rig, ApiKey { expires_at: Some(past), ..made.clone() }).await;
    let at = (&project, &made.id);
    let renamed = KeyPatch { description: Some("old".to_owned()), ..KeyPatch::default() };
    rig.control.change_key(&rig.owner, at, 2, renamed).await.unwrap();
    assert!(!works(&rig, &text), "published with its expiry");
    let later = Some(Some(UnixTime(unix_time().0 + Duration::from_secs(60))));
    let extended = KeyPatch { expires_at: later, ..KeyPatch::default() };
    assert_eq!(kind(&rig.control.change_key(&rig.owner, at, 3, extended.clone()).await), "illegal_transition");
    assert_eq!(kind(&rig.control.roll_key(&rig.owner, at, Duration::ZERO).await), "illegal_transition");
    rig.control.switch_key(&rig.owner, at, KeyStatus::Disabled, String::new()).await.unwrap();
    let enabled = rig.control.switch_key(&rig.owner, at, KeyStatus::Active, String::new()).await;
    assert_eq!(kind(&enabled), "illegal_transition");
    assert_eq!(kind(&rig.control.change_key(&rig.owner, at, 4, extended).await), "illegal_transition", "no way around");
}

#[tokio::test]
async fn rolled_key_overlaps_once_and_ends_on_demand() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (made, first) = key(&rig, &project).await;
    let at = (&project, &made.id);
    let hour = Duration::from_secs(3_600);
    assert_eq!(kind(&rig.control.roll_key(&rig.owner, at, Duration::from_secs(604_801)).await), "invalid");
    let (rolled, second) = rig.control.roll_key(&rig.owner, at, hour).await.unwrap();
    assert_eq!((&rolled.id, &rolled.public_id), (&made.id, &made.public_id), "the same key");
    assert!(rolled.old_expires_at.is_some() && first.reveal() != second.reveal());
    assert!(works(&rig, &first) && works(&rig, &second));
    assert_eq!(kind(&rig.control.roll_key(&rig.owner, at, hour).await), "illegal_transition");
    assert!(works(&rig, &first) && works(&rig, &second), "refused and nothing changed");
    rig.control.switch_key(&rig.owner, at, KeyStatus::Disabled, String::new()).await.unwrap();
    assert!(!works(&rig, &first) && !works(&rig, &second), "both texts are the key");
    rig.control.switch_key(&rig.owner, at, KeyStatus::Active, String::new()).await.unwrap();
    let (ended, third) = rig.control.roll_key(&rig.owner, at, Duration::ZERO).await.unwrap();
    assert!(!works(&rig, &first) && !works(&rig, &second) && works(&rig, &third));
    assert_eq!((ended.old_digest, ended.old_expires_at, rig.served().grant_count()), (None, None, 1));
}

#[tokio::test]
async fn ended_overlap_is_forgotten_at_the_next_change() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (made, _) = key(&rig, &project).await;
    let at = (&project, &made.id);
    let (rolled, _) = rig.control.roll_key(&rig.owner, at, Duration::from_secs(60)).await.unwrap();
    let past = Some(UnixTime(unix_time().0 - Duration::from_secs(1)));
    store_key(&rig, ApiKey { old_expires_at: past, ..rolled }).await;
    rig.control.roll_key(&rig.owner, at, Duration::from_secs(60)).await.expect("the overlap has ended");
    let key = rig.control.key(&rig.owner, &project, &made.id).await.unwrap();
    store_key(&rig, ApiKey { old_expires_at: past, ..key }).await;
    let changed = rig.control.switch_key(&rig.owner, at, KeyStatus::Disabled, String::new()).await.unwrap();
    assert_eq!((changed.old_digest, changed.old_expires_at, rig.served().grant_count()), (None, None, 1));
}

#[tokio::test]
async fn developer_sees_and_changes_own_keys_only() {
    let rig = Rig::new().await;
    let [project, other] = [rig.project_id("chat").await, rig.project_id("other").await];
    let (theirs, _) = key(&rig, &project).await;
    let developer = member(&rig.organization, &project, ProjectRole::Developer);
    let (own, text) = rig.control.create_key(&developer, &project, described("mine")).await.unwrap();
    let list = |who: &Actor| {
        let (who, control, project) = (who.clone(), rig.control.clone(), project.clone());
        async move {
            let rows = control.keys(&who, &project, KeyFilter::default(), page(100)).await.unwrap().rows;
            rows.into_iter().map(|row| row.description).collect::<Vec<_>>()
        }
    };
    assert_eq!(list(&developer).await, ["mine"]);
    assert_eq!(list(&rig.owner).await.len(), 2);
    assert_eq!(kind(&rig.control.key(&developer, &project, &theirs.id).await), "not_found");
    let disable = |who: Actor, of: Id, id: Id| {
        let control = rig.control.clone();
        async move { kind(&control.switch_key(&who, (&of, &id), KeyStatus::Disabled, String::new()).await) }
    };
    assert_eq!(disable(developer.clone(), project.clone(), theirs.id.clone()).await, "not_found");
    assert_eq!(disable(developer.clone(), project.clone(), own.id.clone()).await, "ok");
    assert!(!works(&rig, &text));
    assert_eq!(disable(rig.owner.clone(), other.clone(), theirs.id.clone()).await, "not_found", "of another project");
    let viewer = member(&rig.organization, &project, ProjectRole::Viewer);
    assert_eq!(disable(viewer.clone(), project.clone(), theirs.id.clone()).await, "not_permitted");
    let stranger = actor(&Id::stored("org_other"), OrganizationRole::Owner, Vec::new());
    assert_eq!(disable(stranger, project.clone(), theirs.id.clone()).await, "not_found");
    let create = rig.control.create_key(&viewer, &project, described("x")).await;
    assert_eq!(kind(&create), "not_permitted");
}

#[tokio::test]
async fn active_keys_are_counted_against_the_limit() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let id = rig.organization.clone();
    let limit = |limit| {
        let (id, control) = (id.clone(), rig.control.clone());
        async move {
            let change = move |tx: &mut dyn crate::store::Tx| {
                let mut row = tx.organization(&id)?.unwrap();
                row.active_key_limit = limit;
                Ok::<_, ControlError>(tx.update_organization(&row)?)
            };
            control.store().write(change).await.unwrap();
        }
    };
    limit(Some(1)).await;
    let (made, _) = key(&rig, &project).await;
    assert_eq!(kind(&rig.control.create_key(&rig.owner, &project, described("x")).await), "limit_reached");
    let at = (&project, &made.id);
    rig.control.switch_key(&rig.owner, at, KeyStatus::Disabled, String::new()).await.unwrap();
    key(&rig, &project).await;
    let enabled = rig.control.switch_key(&rig.owner, at, KeyStatus::Active, String::new()).await;
    assert_eq!(kind(&enabled), "limit_reached");
    limit(None).await;
    rig.control.switch_key(&rig.owner, at, KeyStatus::Active, String::new()).await.unwrap();
}

#[tokio::test]
async fn key_of_a_suspended_organization_does_not_work_whoever_makes_it() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (made, _) = key(&rig, &project).await;
    let id = rig.organization.clone();
    let suspend = move |tx: &mut dyn crate::store::Tx| {
        let mut row = tx.organization(&id)?.unwrap();
        row.status = OrganizationStatus::Suspended;
        Ok::<_, ControlError>(tx.update_organization(&row)?)
    };
    rig.control.store().write(suspend).await.unwrap();
    let create = rig.control.create_key(&rig.owner, &project, described("x")).await;
    assert_eq!(kind(&create), "not_permitted");
    let root = Actor { instance_admin: true, ..rig.owner.clone() };
    let (_, text) = rig.control.create_key(&root, &project, described("x")).await.unwrap();
    assert!(!works(&rig, &text));
    rig.control.delete_key(&rig.owner, (&project, &made.id), made.revision).await.unwrap();
}

#[tokio::test]
async fn archived_project_takes_no_key_and_gives_keys_away() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (made, _) = key(&rig, &project).await;
    rig.control.archive_project(&rig.owner, &project, String::new()).await.unwrap();
    let create = rig.control.create_key(&rig.owner, &project, described("x")).await;
    assert_eq!(kind(&create), "project_archived");
    rig.control.delete_key(&rig.owner, (&project, &made.id), made.revision).await.unwrap();
}

#[tokio::test]
async fn last_use_is_written_to_the_minute_and_changes_no_revision() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let (made, _) = key(&rig, &project).await;
    rig.control.key_use().note(&made.public_id.as_str().into(), UnixTime(Duration::from_secs(1_700_000_059)));
    rig.control.key_use().note(&"mr_live_unknown".into(), unix_time());
    rig.control.write_key_use().await;
    let used = rig.control.key(&rig.owner, &project, &made.id).await.unwrap();
    assert_eq!(used.last_used_at, Some(UnixTime(Duration::from_secs(1_700_000_040))));
    assert_eq!(used.revision, made.revision);
}

//! Who gets to read what, for how long, and under which key.

use std::{sync::Arc, time::Duration};

use super::{
    super::{Vault, tests::Rig},
    *,
};
use crate::{
    base::{Caller, Id, RequestId, UnixTime, unix_time},
    store::{OrganizationRole, ProjectGrant, ProjectRole, Store, StoreError, Tx},
    usage::{Payload, PayloadLimits, PayloadRoom, Record},
};

fn room() -> Arc<PayloadRoom> {
    Arc::new(PayloadRoom::new(PayloadLimits { bytes_max: 1_000, room_bytes_max: 100_000 }))
}

/// A request with a key of this member that said this.
fn record(id: u128, (project, member): (&Id, &str), said: &str) -> Record {
    let mut payload = Payload::begin(&room(), said.as_bytes()).unwrap();
    assert!(payload.answer(b"fine"));
    let caller = Caller { project: Some(project.as_str().into()), member: Some(member.into()), ..Caller::of_key("k") };
    Record {
        status: 200,
        caller: Some(Arc::new(caller)),
        payload: Some(Arc::from(payload)),
        ..Record::begun(unix_time(), RequestId::made(id), "chat")
    }
}

async fn store(rig: &Rig, records: &[Record]) {
    records.iter().for_each(|record| rig.control.payloads().note(record));
    rig.control.close_payloads().await;
}

async fn count(store: &Store) -> u64 {
    store.read(|tx: &dyn Tx| tx.payload_count()).await.unwrap()
}

#[tokio::test]
async fn member_reads_what_own_keys_said_also_when_ids_are_the_same() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let grants = vec![ProjectGrant { project: project.clone(), role: ProjectRole::Developer }];
    let developer = super::super::tests::person(&rig, OrganizationRole::Member, grants).await;
    let own = record(1, (&project, developer.author.as_str()), "mine");
    let other = record(1, (&project, "usr_other"), "theirs");
    store(&rig, &[own.clone(), other, record(2, (&project, "usr_other"), "theirs alone")]).await;
    let [first, second] = [1, 2].map(|id| RequestId::made(id).as_str().to_owned());
    let read = async |actor, id: &str| rig.control.payload(actor, &project, id).await.map(|(_, text)| text.request);
    assert_eq!(read(&rig.owner, &first).await.unwrap(), "theirs", "the newest");
    assert_eq!(read(&developer, &first).await.unwrap(), "mine");
    assert!(matches!(read(&developer, &second).await, Err(super::super::ControlError::NotFound)));
    assert_eq!(own.payload.unwrap().answer.bytes, b"fine");
}

#[tokio::test]
async fn retention_and_the_end_of_a_project_leave_nothing() {
    let rig = Rig::new().await;
    let [project, other] = [rig.project_id("chat").await, rig.project_id("other").await];
    store(&rig, &[record(1, (&project, "u"), "one"), record(2, (&other, "u"), "two")]).await;
    let name = project.as_str().to_owned();
    let old = UnixTime(unix_time().0 - Duration::from_secs(60));
    for (before, left) in [(old, 2), (UnixTime(unix_time().0 + Duration::from_secs(1)), 1)] {
        let name = name.clone();
        let more = rig.control.store().write(move |tx| tx.forget_payloads(&name, before, 10)).await.unwrap();
        assert_eq!((count(rig.control.store()).await, more), (left, false));
    }
    let revision = rig.state(&other).await.project.revision;
    rig.control.delete_project(&rig.owner, &other, revision, "other".to_owned()).await.unwrap();
    let keys = rig.control.store().read(|tx: &dyn Tx| tx.stale_payload_keys(b"none", "", 10)).await.unwrap();
    assert_eq!((count(rig.control.store()).await, keys.len()), (0, 1), "the key of the other project stays");
    // What was under way when the project was deleted is not stored.
    store(&rig, &[record(3, (&other, "u"), "late")]).await;
    assert_eq!(count(rig.control.store()).await, 0);
}

#[tokio::test]
async fn rotation_of_the_master_key_seals_the_keys_of_projects_anew() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    store(&rig, &[record(1, (&project, "u"), "said")]).await;
    let (old, new) = (super::super::tests::MASTER_KEY.repeat(32), "a5".repeat(32));
    let rig = rig.restarted_with(&format!("{new}\n{old}")).await;
    assert_eq!(rig.control.stale_seal_count().await.unwrap(), 2, "pepper and key");
    assert_eq!(rig.control.reseal().await.unwrap(), 2);
    let rig = rig.restarted_with(&new).await;
    let (_, text) = rig.control.payload(&rig.owner, &project, RequestId::made(1).as_str()).await.unwrap();
    assert_eq!((text.request.as_str(), text.answer.as_str(), text.redacted), ("said", "fine", 0));
}

#[tokio::test]
async fn key_of_one_project_that_does_not_open_loses_nothing_of_another() {
    let rig = Rig::new().await;
    let [lost, fine] = [rig.project_id("chat").await, rig.project_id("other").await];
    let strange = Vault::parse(&"77".repeat(32)).unwrap();
    let sealed = cipher::make_key(&strange, lost.as_str()).unwrap();
    let name = lost.as_str().to_owned();
    let write = rig.control.store().write(move |tx| tx.insert_payload_key(&name, &sealed));
    write.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    store(&rig, &[record(1, (&lost, "u"), "one"), record(2, (&fine, "u"), "two")]).await;
    assert_eq!((count(rig.control.store()).await, rig.control.payloads().stored()), (1, 1));
    assert!(rig.control.payload(&rig.owner, &fine, RequestId::made(2).as_str()).await.is_ok());
}

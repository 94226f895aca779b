//! Serve under failures, races and restarts.

use std::{sync::Arc, time::Duration};

use crate::{
    base::{Id, unix_time},
    store::{ApiKey, KeyStatus, Project, Version},
};

use super::{
    ControlError, Intent,
    tests::{BAD, GOOD, Rig, kind},
};

/// Everything that a serve may change, as it is stored.
async fn stored(rig: &Rig, id: &Id) -> (Project, Vec<Version>, usize) {
    let id = id.clone();
    rig.control
        .store()
        .read(move |tx| {
            let project = tx.project(&id)?.ok_or(ControlError::NotFound)?;
            let versions = (1..=project.last_version).filter_map(|number| tx.version(&id, number).ok().flatten());
            let versions = versions.collect();
            let steps = tx.activations(&id, &super::tests::page(100))?.rows.len();
            Ok::<_, ControlError>((project, versions, steps))
        })
        .await
        .unwrap()
}

async fn ready(rig: &Rig, name: &str) -> (Id, u32) {
    let id = rig.project_id(name).await;
    let number = rig.save(&id, GOOD).await;
    rig.approve(&id, number).await;
    (id, number)
}

#[tokio::test]
async fn f_64_of_two_serves_at_once_one_wins_and_one_is_told_to_wait() {
    let rig = Rig::new().await;
    let (id, number) = ready(&rig, "chat").await;
    // While another change goes live neither can be published: who ends now was turned away.
    let publication = rig.control.publication().await;
    let mut serves = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (control, owner, id) = (Arc::clone(&rig.control), rig.owner.clone(), id.clone());
        serves.spawn(async move { control.serve(&owner, &id, number, Intent::default()).await });
    }
    let refused = serves.join_next().await.unwrap().unwrap();
    let Err(ControlError::ServeInProgress(said)) = &refused else { panic!("{refused:?}") };
    assert!(said.contains(&rig.owner.name) && said.contains("wait"), "{said}");
    drop(publication);
    assert_eq!(serves.join_next().await.unwrap().unwrap().unwrap().generation, 1);
    assert_eq!(stored(&rig, &id).await.2, 1, "a linear history");
    // The lock is free again, also after a refusal.
    assert_eq!(kind(&rig.control.serve(&rig.owner, &id, number, Intent::default()).await), "illegal_transition");
    assert_eq!(kind(&rig.control.unserve(&rig.owner, &id, Intent::default()).await), "ok");
}

#[tokio::test]
async fn f_64_racing_serves_with_one_expected_generation_make_one_step() {
    let rig = Rig::new().await;
    let (id, number) = ready(&rig, "chat").await;
    rig.control.serve(&rig.owner, &id, number, Intent::default()).await.unwrap();
    let mut racing = tokio::task::JoinSet::new();
    for at in 0..8 {
        let (control, owner, id) = (Arc::clone(&rig.control), rig.owner.clone(), id.clone());
        racing.spawn(async move {
            let intent = Intent { expected_generation: Some(1), comment: at.to_string() };
            control.unserve(&owner, &id, intent).await
        });
    }
    let outcomes = racing.join_all().await;
    let mut kinds: Vec<_> = outcomes.iter().map(kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds.iter().filter(|kind| **kind == "ok").count(), 1, "{kinds:?}");
    assert!(kinds.iter().all(|kind| ["ok", "serve_in_progress", "generation_conflict"].contains(kind)), "{kinds:?}");
    assert_eq!(stored(&rig, &id).await.2, 2);
}

#[tokio::test]
async fn serve_that_fails_before_its_commit_changes_nothing() {
    let rig = Rig::new().await;
    let (id, number) = ready(&rig, "chat").await;
    rig.control.serve(&rig.owner, &id, number, Intent::default()).await.unwrap();
    let next = rig.save(&id, &GOOD.replace("chat:", "talk:")).await;
    rig.approve(&id, next).await;
    let (before, live, generation) = (stored(&rig, &id).await, rig.live(&id), rig.served().generation());
    let serve = |intent| rig.control.serve(&rig.owner, &id, next, intent);

    // Step 1: another generation.
    let old = Intent { expected_generation: Some(0), ..Intent::default() };
    assert_eq!(kind(&serve(old).await), "generation_conflict");
    // Step 2: the stored text does not compile any more.
    let (file, key, state) = (rig.folder.path().join("millrace.db"), id.clone(), next);
    rewrite(&file, &key, state, BAD);
    assert_eq!(kind(&serve(Intent::default()).await), "config_invalid");
    rewrite(&file, &key, state, &GOOD.replace("chat:", "talk:"));
    // Step 4: the store does not take the commit.
    let broken = break_commit(&file);
    let refused = serve(Intent::default()).await;
    assert!(matches!(kind(&refused), "other" | "unavailable"), "{refused:?}");
    broken.execute_batch("DROP TRIGGER broken").unwrap();

    assert_eq!(stored(&rig, &id).await, before);
    assert_eq!((rig.live(&id), rig.served().generation()), (live, generation), "S1-34");
    assert_eq!(kind(&serve(Intent::default()).await), "ok", "and then it works");
}

/// Writes another text over that of a version so that nobody sees it: what compiled once need not for ever.
fn rewrite(file: &std::path::Path, project: &Id, number: u32, text: &str) {
    replace_text(file, project, number, text);
    let database = rusqlite::Connection::open(file).unwrap();
    let digest = super::versions::digest_of(text.as_bytes());
    let values = (digest.as_slice(), text.len(), project.as_str(), number);
    let sql = "UPDATE versions SET digest = ?1, size = ?2 WHERE project = ?3 AND number = ?4";
    assert_eq!(database.execute(sql, values).unwrap(), 1);
}

/// Writes another text over that of a version, as damage would.
fn replace_text(file: &std::path::Path, project: &Id, number: u32, text: &str) {
    let database = rusqlite::Connection::open(file).unwrap();
    let values = (text.as_bytes(), project.as_str(), number);
    let changed = database.execute("UPDATE version_texts SET text = ?1 WHERE project = ?2 AND number = ?3", values);
    assert_eq!(changed.unwrap(), 1);
}

/// Makes the store refuse the last statement but one of a serve.
fn break_commit(file: &std::path::Path) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(file).unwrap();
    let trigger = "CREATE TRIGGER broken BEFORE INSERT ON activations BEGIN SELECT RAISE(ABORT, 'broken'); END";
    database.execute_batch(trigger).unwrap();
    database
}

#[tokio::test(start_paused = true)]
async fn worker_that_does_not_confirm_is_given_up_and_the_answer_says_what_happens() {
    let rig = Rig::with_workers(2).await;
    let (id, number) = ready(&rig, "chat").await;
    rig.registry().workers()[0].generation.set(9);
    let late = rig.control.serve(&rig.owner, &id, number, Intent::default()).await;
    let Err(ControlError::Unavailable(said)) = late else { panic!("{}", kind(&late)) };
    assert!(said.contains("the change is stored, but workers [1]") && said.contains("drains"), "{said}");
    let publisher = Arc::clone(&*rig.control.publication().await);
    assert_eq!(publisher.given_up().await, [1]);
    assert_eq!(stored(&rig, &id).await.0.served_version, Some(number), "what is published stays published");
    assert_eq!(rig.live(&id).len(), 1);
}

#[tokio::test]
async fn caller_that_goes_away_does_not_leave_a_serve_half_done() {
    let rig = Rig::new().await;
    let (id, number) = ready(&rig, "chat").await;
    let publication = rig.control.publication().await;
    let serve = rig.control.serve(&rig.owner, &id, number, Intent::default());
    assert!(tokio::time::timeout(Duration::from_millis(50), serve).await.is_err(), "it waits for the publication");
    drop(publication);
    // The next change goes behind the one that its caller left.
    let behind = rig.control.publication().await;
    while stored(&rig, &id).await.0.served_version.is_none() {
        tokio::task::yield_now().await;
    }
    drop(behind);
    let _end = rig.control.publication().await;
    assert_eq!(rig.live(&id).len(), 1);
}

#[tokio::test]
async fn s1_34_restart_serves_exactly_what_was_committed() {
    let mut rig = Rig::new().await;
    let (id, number) = ready(&rig, "chat").await;
    rig = rig.restarted().await;
    assert!(rig.live(&id).is_empty(), "F-63: approved is not served");
    rig.control.serve(&rig.owner, &id, number, Intent::default()).await.unwrap();
    let live = rig.live(&id);
    let next = rig.save(&id, &GOOD.replace("chat:", "talk:")).await;
    rig = rig.restarted().await;
    assert_eq!(rig.live(&id), live, "a draft is not served");
    let archived = rig.project_id("gone").await;
    rig.control.archive_project(&rig.owner, &archived, String::new()).await.unwrap();
    rig.approve(&id, next).await;
    // Committed and not published: the process ended between the two.
    let (reader, key) = (rig.owner.clone(), id.clone());
    rig.control
        .store()
        .write(move |tx| {
            let goal = super::activation::Goal::Serve(next);
            let plan = super::activation::Plan::make(tx, &reader, &key, goal, None)?;
            plan.write(tx, &reader, goal, String::new())
        })
        .await
        .unwrap();
    assert_eq!(rig.live(&id), live);
    rig = rig.restarted().await;
    assert_eq!(rig.live(&id), [("chat/talk".to_owned(), Some(u64::from(next)))]);
    assert!(rig.served().project(archived.as_str()).unwrap().is_archived());
}

#[tokio::test]
async fn f_62_damaged_configuration_breaks_its_own_project_only() {
    let mut rig = Rig::new().await;
    let [one, two, three] = [rig.project_id("one").await, rig.project_id("two").await, rig.project_id("three").await];
    let mut numbers = Vec::new();
    for id in [&one, &two, &three] {
        numbers.push(rig.serve(id, GOOD).await);
    }
    let file = rig.folder.path().join("millrace.db");
    // Valid YAML, but not what was saved; and a text that has gone.
    replace_text(&file, &one, numbers[0], &GOOD.replace("chat:", "evil:"));
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute("DELETE FROM version_texts WHERE project = ?1 AND number = ?2", (two.as_str(), numbers[1]))
        .unwrap();
    drop(database);
    rig = rig.restarted().await;
    let snapshot = rig.served();
    let broken = |id: &Id| snapshot.project(id.as_str()).is_some_and(|part| part.is_broken());
    assert_eq!([broken(&one), broken(&two), broken(&three)], [true, true, false]);
    assert_eq!(rig.live(&three).len(), 1);
    // The way out is another version.
    let number = rig.serve(&one, GOOD).await;
    assert_eq!(rig.live(&one), [("one/chat".to_owned(), Some(u64::from(number)))]);
}

#[tokio::test]
async fn s1_05_s1_44_s1_46_two_projects_serve_one_route_name() {
    let rig = Rig::new().await;
    let [one, two] = [rig.project_id("one").await, rig.project_id("two").await];
    rig.serve(&one, GOOD).await;
    rig.serve(&two, GOOD).await;
    let text = GOOD.replace("chat:", "talk:");
    rig.serve(&two, &text).await;
    let names = |id: &Id| rig.live(id).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!((names(&one), names(&two)), (vec!["one/chat".to_owned()], vec!["two/talk".to_owned()]), "S1-07");
    rig.control.unserve(&rig.owner, &two, Intent::default()).await.unwrap();
    assert_eq!((names(&one).len(), names(&two).len()), (1, 0));
}

#[tokio::test]
async fn keys_are_known_at_the_start_and_gone_with_their_project() {
    let mut rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    rig.serve(&id, GOOD).await;
    let text = "mr_test_000000000000AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA359g7Y";
    let digest = rig.control.pepper().digest(text);
    let old = rig.control.pepper().digest("old");
    let key = ApiKey {
        id: Id::random(crate::base::IdKind::Key).unwrap(),
        project: id.clone(),
        public_id: "mr_test_000000000000".to_owned(),
        last4: "9g7Y".to_owned(),
        digest,
        old_digest: Some(old),
        old_expires_at: Some(unix_time()),
        description: "tests".to_owned(),
        status: KeyStatus::Active,
        expires_at: None,
        group: None,
        created_by: rig.owner.id.clone(),
        created_at: unix_time(),
        last_used_at: None,
        revision: 1,
    };
    rig.control.store().write(move |tx| Ok::<_, ControlError>(tx.insert_key(&key)?)).await.unwrap();
    rig = rig.restarted().await;
    let snapshot = rig.served();
    let grant = snapshot.grant(text.as_bytes()).expect("the key");
    assert!(snapshot.route(grant, "chat/chat").is_ok());
    assert!(snapshot.grant(b"old").is_none(), "the time of the old one is over");
    let revision = rig.state(&id).await.project.revision;
    rig.control.delete_project(&rig.owner, &id, revision, "chat".to_owned()).await.unwrap();
    assert!(rig.served().grant(text.as_bytes()).is_none());
}

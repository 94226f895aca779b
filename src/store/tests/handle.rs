//! The promises of the handle: atomic, durable, isolated.

use std::sync::{Arc, mpsc};

use super::fixture::{Fixture, block_on};
use crate::store::{Health, Outcome, Store, StoreError};

/// Keeps the writing thread busy until the sender goes, so that what comes after waits in the queue.
fn hold(store: &Store) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Outcome<()>>) {
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let store = store.clone();
    let task = tokio::spawn(async move {
        let wait = move |_: &mut dyn crate::store::Tx| {
            begun.send(()).unwrap();
            let _ = held.recv();
            Ok(())
        };
        store.write(wait).await
    });
    block_in_place(move || begins.recv().unwrap());
    (release, task)
}

/// The runtime has threads of its own for the tasks, so this one may wait.
fn block_in_place<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(wait).join().unwrap()
}

fn on_threads<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(future)
}

/// Spawned writers have pushed their jobs once they were polled.
async fn all_waiting(store: &Store, count: usize) {
    while store.waiting_writes() < count {
        tokio::task::yield_now().await;
    }
}

#[test]
fn each_change_of_a_batch_fails_alone() {
    let fixture = Fixture::new();
    let store = fixture.store.clone();
    let outcomes = on_threads(async {
        let (release, held) = hold(&store);
        let mut tasks = Vec::new();
        for index in 0..6u8 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                let change = move |tx: &mut dyn crate::store::Tx| {
                    tx.put_note(&format!("note_{index}"), Some(&[index]))?;
                    assert_ne!(index, 2, "a closure that panics");
                    if index == 4 { Err(StoreError::Stale) } else { Ok(index) }
                };
                store.write::<u8, StoreError>(change).await
            }));
        }
        all_waiting(&store, 6).await;
        drop(release);
        held.await.unwrap().unwrap();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        outcomes
    });
    let panicked = StoreError::Internal("a panic stopped it, the log has the details".to_owned());
    assert_eq!(outcomes, [Ok(0), Ok(1), Err(panicked), Ok(3), Err(StoreError::Stale), Ok(5)]);
    let kept = fixture.read(|tx| (0..6).map(|index| tx.note(&format!("note_{index}"))).collect::<Outcome<Vec<_>>>());
    let kept: Vec<bool> = kept.unwrap().iter().map(Option::is_some).collect();
    assert_eq!(kept, [true, true, false, true, false, true]);
    assert_eq!(fixture.store.health(), Health::Ok);
}

#[test]
fn full_queue_refuses_at_once_and_keeps_what_it_took() {
    let fixture = Fixture::new();
    let store = fixture.store.clone();
    let (taken, refused) = on_threads(async {
        let (release, held) = hold(&store);
        let mut tasks = Vec::new();
        for index in 0..1_030u32 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                store.write::<(), StoreError>(move |tx| tx.put_note(&format!("n{index}"), Some(b"x"))).await
            }));
        }
        all_waiting(&store, 1_024).await;
        // The last six are answered while the disk is still busy.
        while tasks.iter().filter(|task| task.is_finished()).count() < 6 {
            tokio::task::yield_now().await;
        }
        drop(release);
        held.await.unwrap().unwrap();
        let (mut taken, mut refused) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => taken += 1,
                Err(StoreError::Unavailable(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        (taken, refused)
    });
    assert_eq!((taken, refused), (1_024, 6));
    let kept = fixture.read(|tx| {
        let found: Outcome<Vec<_>> = (0..1_030).map(|index| tx.note(&format!("n{index}"))).collect();
        Ok(found?.into_iter().flatten().count())
    });
    assert_eq!(kept, Ok(1_024));
}

#[test]
fn reader_sees_one_state_while_others_write() {
    let fixture = Fixture::new();
    let (read_once, wait_read) = mpsc::channel();
    let (written, wait_written) = mpsc::channel::<()>();
    let store = fixture.store.clone();
    let reader = std::thread::spawn(move || {
        block_on(store.read::<_, StoreError>(move |tx| {
            let before = tx.note("n")?;
            read_once.send(()).unwrap();
            wait_written.recv().unwrap();
            Ok((before, tx.note("n")?))
        }))
    });
    wait_read.recv().unwrap();
    fixture.write(|tx| tx.put_note("n", Some(b"new"))).unwrap();
    assert!(fixture.read(|tx| tx.note("n")).unwrap().is_some(), "a read that begins later sees the change");
    written.send(()).unwrap();
    assert_eq!(reader.join().unwrap(), Ok((None, None)));
}

#[test]
fn panic_in_a_read_is_that_reads_error_only() {
    let fixture = Fixture::new();
    for _ in 0..4 {
        let failed = fixture.read(|_| -> Outcome<()> { panic!("a closure that panics") });
        assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
    }
    assert_eq!(fixture.read(|tx| tx.note("n")), Ok(None));
}

#[test]
fn last_handle_may_go_inside_a_closure() {
    let fixture = Fixture::new();
    let (store, folder) = (fixture.store, fixture.folder);
    let inner = Arc::new(store.clone());
    let wrote = block_on(async move {
        let answer = store.write::<(), StoreError>(move |tx| {
            drop(inner);
            tx.put_note("n", Some(b"x"))
        });
        answer.await
    });
    assert_eq!(wrote, Ok(()));
    drop(folder);
}

#[test]
fn what_waits_is_done_before_the_last_handle_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("millrace.db");
    let store = Store::open(&path).unwrap();
    on_threads(async {
        let (release, held) = hold(&store);
        let writer = store.clone();
        let task = tokio::spawn(async move { writer.write::<(), StoreError>(|tx| tx.put_note("n", Some(b"x"))).await });
        all_waiting(&store, 1).await;
        drop(release);
        held.await.unwrap().unwrap();
        task.await.unwrap().unwrap();
    });
    drop(store);
    let store = Store::open(&path).expect("the lock went with the last handle");
    assert_eq!(block_on(store.read::<_, StoreError>(|tx| tx.note("n"))), Ok(Some(b"x".to_vec())));
}

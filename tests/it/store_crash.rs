//! Killed at any moment, the store loses nothing it answered.
//!
//! A child process changes the store and says which change was answered; it is killed at random points, while it opens
//! the store for the first time as well as under load. `MILLRACE_CRASH_ROUNDS` sets how often, 30 unless told.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use millrace::{
    base::{Id, UnixTime},
    store::{ActorKind, AuditEvent, Chain, Store, StoreError, Tx, verify_chain},
};

use crate::harness::{DEADLINE, eventually};

const FOLDER: &str = "MILLRACE_CRASH_FOLDER";
/// Writers in the child, each with changes of its own.
const WRITERS: usize = 8;

fn event(writer: usize, number: u64) -> AuditEvent {
    AuditEvent {
        at: UnixTime(Duration::from_secs(number)),
        actor_kind: ActorKind::System,
        actor: "system".to_owned(),
        address: String::new(),
        action: "note.write".to_owned(),
        object: format!("writer{writer}"),
        organization: Some(Id::stored("org_a")),
        project: None,
        before: String::new(),
        after: number.to_string(),
        request_id: String::new(),
        comment: String::new(),
    }
}

fn stored(tx: &dyn Tx, writer: usize) -> Result<u64, StoreError> {
    let bytes = tx.note(&format!("writer{writer}"))?.unwrap_or_default();
    Ok(u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Counts up in each writer's note, with an event for each step, until it is killed.
#[test]
fn child_that_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let store = Store::open(&Path::new(&folder).join("millrace.db")).unwrap();
    let start = |writer| {
        let store = store.clone();
        thread::spawn(move || {
            loop {
                let change = move |tx: &mut dyn Tx| {
                    let number = stored(tx, writer)? + 1;
                    tx.put_note(&format!("writer{writer}"), Some(&number.to_le_bytes()))?;
                    tx.append_audit(&event(writer, number))?;
                    Ok::<_, StoreError>(number)
                };
                let number = match block_on(store.write(change)) {
                    Ok(number) => number,
                    Err(error) => return println!("failed {error}"),
                };
                // One write call, so that a line is whole or not there.
                std::io::stdout().write_all(format!("ack {writer} {number}\n").as_bytes()).unwrap();
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(start).collect();
    for writer in writers {
        writer.join().unwrap();
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "store_crash::child_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a child until so many changes were answered, and for some time, and kills it; returns the last answered number of each writer.
fn run_and_kill(folder: &Path, (wanted, life): (usize, Duration)) -> [u64; WRITERS] {
    let mut child = spawn(folder);
    let output = child.stdout.take().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let reader = thread::spawn(move || {
        let mut answered = [0; WRITERS];
        for line in BufReader::new(output).lines() {
            let line = line.unwrap_or_default();
            assert!(!line.starts_with("failed"), "{line}");
            let mut words = line.split(' ');
            if let (Some("ack"), Some(writer), Some(number)) = (words.next(), words.next(), words.next()) {
                answered[writer.parse::<usize>().unwrap()] = number.parse().unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
        answered
    });
    eventually(DEADLINE, || count.load(Ordering::Relaxed) >= wanted);
    // Not a wait for something to happen: the moment of the kill is what this test varies.
    thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// Opens what the child left: every answered change is there, each as a whole, and the chain is whole.
fn check(path: PathBuf, answered: &[u64; WRITERS], round: u32) {
    let store = Store::open(&path).unwrap_or_else(|error| panic!("round {round}: {error}"));
    let found = block_on(store.read(|tx: &dyn Tx| {
        let numbers: Result<Vec<_>, _> = (0..WRITERS).map(|writer| stored(tx, writer)).collect();
        Ok::<_, StoreError>((numbers?, verify_chain(tx)?))
    }));
    let (numbers, chain) = found.unwrap();
    for (writer, (number, answered)) in numbers.iter().zip(answered).enumerate() {
        assert!(number >= answered, "round {round}: writer {writer} was told {answered}, the store has {number}");
    }
    let Chain::Whole { entries, .. } = chain else { panic!("round {round}: {chain:?}") };
    assert_eq!(entries, numbers.iter().sum::<u64>(), "round {round}: a change is there as a whole or not at all");
}

// F-34, F-35.
#[test]
fn killed_at_any_moment_the_store_keeps_what_it_answered() {
    let rounds: u32 = env::var("MILLRACE_CRASH_ROUNDS").map_or(30, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut answered_sum = 0;
    let mut answered = [0; WRITERS];
    for round in 0..rounds {
        // Every third time from nothing, and soon: then the kill falls into the making of the file.
        let is_new = round % 3 == 0;
        if is_new {
            let _ = fs::remove_dir_all(folder.path().join("store"));
            answered = [0; WRITERS];
        }
        let wanted = if is_new { 0 } else { random.usize(1..400) };
        let life = random.u64(3..60);
        let place = folder.path().join("store");
        let before: u64 = answered.iter().sum();
        for (last, new) in answered.iter_mut().zip(run_and_kill(&place, (wanted, Duration::from_millis(life)))) {
            *last = new.max(*last);
        }
        check(place.join("millrace.db"), &answered, round);
        answered_sum += answered.iter().sum::<u64>() - before;
    }
    println!("{rounds} kills, {answered_sum} answered changes, none lost");
    assert!(answered_sum > 0, "no change was answered before a kill: the test shows nothing");
}

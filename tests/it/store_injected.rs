//! Any write or sync of the store may fail, or be the last.
//!
//! F-41 and F-46: a child process opens a store and writes; `strace` makes its n-th call fail, that one alone or each from then
//! on, or kills it there. Then another child opens what was left.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

use millrace::store::{Chain, Store, StoreError, Tx, verify_chain};

use crate::harness::may_trace;

pub(crate) const FOLDER: &str = "MILLRACE_INJECTED_FOLDER";
/// Changes of one child, unless this variable says another number.
const CHANGES: usize = 30;
pub(crate) const FEWER: &str = "MILLRACE_INJECTED_CHANGES";
const SYNCS: &str = "fsync,fdatasync";
const WRITES: &str = "pwrite64,ftruncate";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn note(number: usize) -> String {
    format!("note{number}")
}

fn has(store: &Store, name: String) -> bool {
    block_on(store.read(move |tx: &dyn Tx| tx.note(&name))).unwrap().is_some()
}

fn write(store: &Store, number: usize) -> Result<(), StoreError> {
    let name = note(number);
    block_on(store.write(move |tx: &mut dyn Tx| tx.put_note(&name, Some(&[7; 9_000]))))
}

/// Writes, and says what was answered.
#[test]
fn writing_child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    // The name of the test stands on this line.
    println!();
    let store = match Store::open(&Path::new(&folder).join("millrace.db")) {
        Ok(store) => store,
        Err(error) => return println!("refused {error}"),
    };
    let mut kept = Vec::new();
    let changes = env::var(FEWER).map_or(CHANGES, |text| text.parse().unwrap());
    for number in 0..changes {
        match write(&store, number) {
            Ok(()) => {
                kept.push(number);
                println!("kept {number}");
            }
            Err(error) => println!("failed {number} {error}"),
        }
        assert!(kept.iter().all(|number| has(&store, note(*number))), "reads go on");
    }
    println!("done");
    // As a process that ends without warning: nothing is closed.
    std::process::exit(0);
}

/// Opens what the other child left, and says what is there.
#[test]
fn reading_child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    println!();
    let store = Store::open(&Path::new(&folder).join("millrace.db")).unwrap_or_else(|error| panic!("{error}"));
    (0..CHANGES).filter(|number| has(&store, note(*number))).for_each(|number| println!("there {number}"));
    assert!(matches!(block_on(store.read(verify_chain)), Ok(Chain::Whole { .. })));
    write(&store, CHANGES).unwrap();
    println!("well");
}

fn child(name: &str, folder: &Path, strace: &[&str]) -> (Output, String) {
    let mut command = match strace {
        [] => Command::new(env::current_exe().unwrap()),
        args => {
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o"]).arg(folder.join("trace")).args(args).arg(env::current_exe().unwrap());
            command
        }
    };
    let name = format!("store_injected::{name}");
    let output =
        command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(FOLDER, folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

pub(crate) fn numbers(text: &str, word: &str) -> Vec<usize> {
    let after = |line: &str| line.strip_prefix(word)?.split(' ').nth(1)?.parse().ok();
    text.lines().filter_map(after).collect()
}

/// Opens what is left; panics unless each change that was answered is there.
fn assert_kept(folder: &Path, kept: &[usize], place: &str) -> Vec<usize> {
    let (_, text) = child("reading_child", folder, &[]);
    assert!(text.contains("well"), "{place}:\n{text}");
    let there = numbers(&text, "there");
    assert!(kept.iter().all(|number| there.contains(number)), "{place}: {kept:?} were answered, {there:?} are there");
    there
}

/// No descriptor is synced again after its sync failed, unless it was written anew.
fn assert_no_sync_is_repeated(trace: &str, place: &str) {
    let mut failed = BTreeMap::new();
    for line in trace.lines() {
        let Some((_, call)) = line.split_once(' ') else { continue };
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        let descriptor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        match name {
            "fsync" | "fdatasync" => {
                assert!(!failed.contains_key(&descriptor), "{place}: {line} after {:?}", failed.get(&descriptor));
                if line.contains("EIO") {
                    failed.insert(descriptor, line.to_owned());
                }
            }
            "pwrite64" | "ftruncate" | "close" => drop(failed.remove(&descriptor)),
            _ => {}
        }
    }
}

/// One run with a fault; returns how many changes were answered and how many failed.
fn run(calls: &str, when: &str, store: Before) -> (usize, usize) {
    let folder = store.folder();
    let place = format!("{calls} fail: {when}");
    let inject = format!("inject={calls}:error=EIO:when={when}");
    let trace = format!("trace={calls},close,pwrite64,ftruncate");
    let (output, text) = child("writing_child", folder.path(), &["-e", &trace, "-e", &inject]);
    assert!(output.status.success(), "{place}: no fault ends the process\n{text}");
    let (kept, failed) = (numbers(&text, "kept"), numbers(&text, "failed"));
    if text.contains("refused") {
        assert!(text.contains("refused the store") && kept.is_empty(), "{place}:\n{text}");
    } else {
        assert!(text.contains("done"), "{place}:\n{text}");
    }
    if when.ends_with('+') && calls == SYNCS {
        let first = failed.first().copied().unwrap_or(CHANGES);
        assert!(kept.iter().all(|number| *number < first), "{place}: acknowledged after a failed sync\n{text}");
    }
    let log = fs::read_to_string(folder.path().join("trace")).unwrap();
    assert_no_sync_is_repeated(&log, &place);
    let there = assert_kept(folder.path(), &kept, &place);
    // What was refused may be there after a restart, if the system kept what it did not sync; never in part.
    assert!(there.iter().all(|number| kept.contains(number) || failed.contains(number)), "{place}: {there:?}\n{text}");
    (kept.len(), failed.len())
}

/// What stands in the folder before a run.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// Nothing: the first start makes the tables, with many calls of the thread that starts.
    Nothing,
    /// A store without a change. Then the thread that writes makes nearly all calls.
    Tables,
}

impl Before {
    fn folder(self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        if let Self::Tables = self {
            let (output, text) = child("writing_child", folder.path(), &["-E", &format!("{FEWER}=0")]);
            assert!(output.status.success() && text.contains("done"), "{text}");
        }
        folder
    }
}

/// Most calls of one thread: the numbers of calls to fail count by thread.
fn calls_made(calls: &str, store: Before) -> usize {
    let folder = store.folder();
    let (output, text) = child("writing_child", folder.path(), &["-e", &format!("trace={calls}")]);
    assert!(output.status.success() && text.contains("done"), "{text}");
    let mut by_thread: BTreeMap<String, usize> = BTreeMap::new();
    for line in fs::read_to_string(folder.path().join("trace")).unwrap().lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        // What another thread interrupts stands on two lines.
        *by_thread.entry(thread.to_owned()).or_default() += usize::from(!call.contains("resumed>"));
    }
    by_thread.values().copied().max().unwrap()
}

#[test]
fn f_41_write_or_sync_that_fails_anywhere_loses_nothing_that_was_answered() {
    if env::var_os(FOLDER).is_some() || !may_trace() {
        return;
    }
    for calls in [SYNCS, WRITES] {
        let (first, all) = (calls_made(calls, Before::Nothing), calls_made(calls, Before::Tables));
        let start = [1, 2, 5, first / 3].map(|number| (number, Before::Nothing));
        let among = (1..10).map(|part| ((all * part / 10).max(1), Before::Tables));
        let (mut answered, mut refused, mut runs) = (0, 0, 0);
        for (number, store) in start.into_iter().chain(among) {
            for when in [format!("{number}+"), number.to_string()] {
                let (kept, failed) = run(calls, &when, store);
                answered += kept;
                refused += failed;
                runs += 1;
            }
        }
        println!("{runs} runs of {calls}: {answered} answered changes, none lost; {refused} refused");
        assert!(
            answered > runs && refused > runs,
            "{answered} and {refused}: the faults did not fall into the changes"
        );
    }
}

#[test]
fn f_46_killed_at_any_call_of_the_first_start_the_store_opens_again() {
    if env::var_os(FOLDER).is_some() || !may_trace() {
        return;
    }
    let mut kills = 0;
    for call in ["pwrite64", "fsync", "ftruncate", "unlink"] {
        for number in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let (trace, few) = (format!("trace={call}"), format!("{FEWER}=2"));
            let (output, text) = child("writing_child", folder.path(), &["-E", &few, "-e", &trace, "-e", &inject]);
            if output.status.success() {
                break;
            }
            kills += 1;
            assert_kept(folder.path(), &numbers(&text, "kept"), &format!("killed at {call} {number}"));
        }
    }
    println!("{kills} kills, each store opened");
    assert!(kills > 40, "{kills}");
}

//! Power lost at any moment: F-43, I-14.
//!
//! `strace` notes each write and sync of a child process that changes a store, and what it says. From that, files are made as a
//! disk may leave them at any moment: all that was synced, and of the rest any part, in any order, torn between its sectors. Each
//! opens, and holds all that was answered before. `MILLRACE_POWER_LOSS_IMAGES` sets how many of each kind, 150 unless told.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use millrace::store::{Chain, Store, Tx, verify_chain};

use crate::harness::may_trace;
use crate::{ledger_crash, store_injected};

/// What a disk writes as a whole or not at all.
const SECTOR_BYTES: usize = 512;
const CALLS: &str = "trace=pwrite64,write,fsync,fdatasync,ftruncate,unlink";

/// What the child did, in its order.
enum Step {
    Write { file: String, at: usize, bytes: Vec<u8> },
    Truncate { file: String, len: usize },
    Sync { file: String },
    Remove { file: String },
    Say(String),
}

/// A file as far as the disk is bound to have it, and what else was done to it.
#[derive(Default)]
struct File<'a> {
    durable: Vec<u8>,
    pending: Vec<&'a Step>,
    is_removed: bool,
}

fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let end = at + new.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[at..end].copy_from_slice(new);
}

impl File<'_> {
    fn sync(&mut self) {
        for step in self.pending.drain(..) {
            match step {
                Step::Write { at, bytes, .. } => put(&mut self.durable, *at, bytes),
                Step::Truncate { len, .. } => self.durable.resize(*len, 0),
                _ => {}
            }
        }
    }

    /// What the disk may hold: any part of what is pending.
    fn left(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut left = self.durable.clone();
        // Sometimes nearly all of it, sometimes nearly nothing.
        let share = random.f64();
        for step in &self.pending {
            if random.f64() > share {
                continue;
            }
            match step {
                Step::Write { at, bytes, .. } => {
                    let is_torn = random.u8(..4) == 0;
                    for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if !is_torn || random.bool() {
                            put(&mut left, at + index * SECTOR_BYTES, sector);
                        }
                    }
                }
                Step::Truncate { len, .. } => left.resize(*len, 0),
                _ => {}
            }
        }
        left
    }
}

/// Text of the form `\x2f\x74`.
fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.split("\\x").skip(1);
    pairs.map(|pair| u8::from_str_radix(&pair[..2], 16).unwrap()).collect()
}

fn name_of(hex: &str) -> String {
    let path = String::from_utf8(bytes_of(hex)).unwrap();
    path.rsplit('/').next().unwrap().to_owned()
}

/// Reads one call of the trace; none for what is about other files.
fn step(call: &str) -> Option<Step> {
    let (name, args) = call.split_once('(')?;
    let number = |text: &str| text.trim_matches([' ', ',']).split([',', ')']).next().unwrap().trim().parse().ok();
    if name == "unlink" {
        let file = name_of(args.split('"').nth(1)?);
        return file.starts_with("millrace.db").then_some(Step::Remove { file });
    }
    let (descriptor, rest) = args.split_once('<')?;
    let (path, rest) = rest.split_once('>')?;
    if name == "write" {
        let text = String::from_utf8_lossy(&bytes_of(rest.split('"').nth(1)?)).into_owned();
        return (descriptor == "1").then_some(Step::Say(text));
    }
    let file = name_of(path);
    let is_ours = file.starts_with("millrace.db") && !file.ends_with("-shm") && !file.ends_with(".lock");
    match name {
        "fsync" | "fdatasync" => Some(Step::Sync { file }),
        "ftruncate" if is_ours => Some(Step::Truncate { file, len: number(rest)? }),
        "pwrite64" if is_ours => {
            let mut parts = rest.split('"').skip(1);
            let bytes = bytes_of(parts.next()?);
            let at = parts.next()?.split(',').nth(2)?.split(')').next()?.trim().parse().ok()?;
            Some(Step::Write { file, at, bytes })
        }
        _ => None,
    }
}

/// The calls in the order of their ends; what another thread interrupts stands on two lines.
fn steps(trace: &str) -> Vec<Step> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut steps = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(begin) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, begin);
        } else if let Some((_, end)) = call.strip_prefix("<...").and_then(|rest| rest.split_once("resumed>")) {
            steps.extend(step(&(begun.remove(thread).unwrap().to_owned() + end)));
        } else {
            steps.extend(step(call));
        }
    }
    steps
}

/// Runs a test of this binary as a child and returns what it did.
fn traced(test: &str, variables: &[(&str, &str)]) -> Vec<Step> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-y", "-xx", "-s", "100000", "-e", CALLS, "-o"])
        .arg(&trace)
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(variables.iter().copied())
        .env(variables[0].0, folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    steps(&fs::read_to_string(trace).unwrap())
}

/// Writes the files of a power loss behind `steps` into a folder; returns what the child had said by then.
fn lose_power(steps: &[Step], folder: &Path, random: &mut fastrand::Rng) -> String {
    let mut files: BTreeMap<&str, File<'_>> = BTreeMap::new();
    let mut said = String::new();
    for step in steps {
        match step {
            Step::Say(text) => said.push_str(text),
            Step::Write { file, .. } | Step::Truncate { file, .. } => {
                let found = files.entry(file).or_default();
                found.is_removed = false;
                found.pending.push(step);
            }
            Step::Sync { file } if files.contains_key(file.as_str()) => files.get_mut(file.as_str()).unwrap().sync(),
            // The folder.
            Step::Sync { .. } => files.retain(|_, file| !file.is_removed),
            Step::Remove { file } => {
                if let Some(found) = files.get_mut(file.as_str()) {
                    found.is_removed = true;
                }
            }
        }
    }
    for (name, file) in files {
        if !file.is_removed || random.bool() {
            fs::write(folder.join(name), file.left(random)).unwrap();
        }
    }
    said
}

/// Loses power again and again; `check` opens what is left and gets what was said before.
fn lose_power_often(steps: &[Step], check: impl Fn(&Path, &str, &str)) {
    let images: usize = env::var("MILLRACE_POWER_LOSS_IMAGES").map_or(150, |text| text.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}, {} steps", steps.len());
    let mut random = fastrand::Rng::with_seed(seed);
    let begin = steps.iter().position(|step| matches!(step, Step::Write { .. })).unwrap() + 1;
    for image in 0..images {
        let folder = tempfile::tempdir().unwrap();
        let at = random.usize(begin..=steps.len());
        let said = lose_power(&steps[..at], folder.path(), &mut random);
        check(folder.path(), &said, &format!("image {image}, behind {at} steps"));
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn f_43_store_opens_after_any_loss_of_power_and_holds_each_answered_change() {
    if !may_trace() {
        return;
    }
    let steps =
        traced("store_injected::writing_child", &[(store_injected::FOLDER, ""), (store_injected::FEWER, "120")]);
    lose_power_often(&steps, |folder, said, place| {
        let store: Store = ledger_crash::opened(&folder.join("millrace.db"));
        let chain = block_on(store.read(verify_chain));
        assert!(matches!(chain, Ok(Chain::Whole { .. })), "{place}: {chain:?}");
        for number in store_injected::numbers(said, "kept") {
            let name = store_injected::note(number);
            let note = block_on(store.read(move |tx: &dyn Tx| tx.note(&name))).unwrap();
            assert_eq!(note.as_deref(), Some(&[7; 9_000][..]), "{place}: change {number} was answered");
        }
    });
}

#[test]
fn f_43_i_14_no_loss_of_power_forgets_a_lease_or_parts_the_books() {
    if !may_trace() {
        return;
    }
    let variables = [(ledger_crash::FOLDER, ""), (ledger_crash::LEASES_MAX, "16")];
    let steps = traced("ledger_crash::child_that_is_killed", &variables);
    lose_power_often(&steps, |folder, said, place| {
        let mut heard = ledger_crash::Heard::default();
        said.lines().for_each(|line| heard.hear(line));
        heard.check(&ledger_crash::posted(folder), place);
    });
}

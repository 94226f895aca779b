//! Disks that are full, fail or are read-only.
//!
//! Each case runs in a child process of its own, because limits and mounts are those of a process. Where the machine allows
//! no mounts, the cases that need one say so and pass.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use millrace::store::{Chain, Health, Store, StoreError, Tx, verify_chain};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{DEADLINE, eventually};

const FOLDER: &str = "MILLRACE_FAULT_FOLDER";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A change of a few pages, so that it fails at different places of the log.
fn write(store: &Store, name: &str) -> Result<(), StoreError> {
    let name = name.to_owned();
    block_on(store.write(move |tx: &mut dyn Tx| tx.put_note(&name, Some(&[7; 9_000]))))
}

fn has(store: &Store, name: &str) -> bool {
    let name = name.to_owned();
    block_on(store.read(move |tx: &dyn Tx| tx.note(&name))).unwrap().is_some()
}

/// Runs the test `name` of this module again as a child, inside `shell` with `$CHILD` for its command.
fn run_child(name: &str, shell: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let exe = env::current_exe().unwrap();
    let child = format!("'{}' --exact store_faults::{name} --nocapture", exe.display());
    let output =
        Command::new("sh").args(["-c", &shell.replace("$CHILD", &child)]).env(FOLDER, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if text.contains("no mount here") {
        println!("skipped: this machine allows no mounts");
        return false;
    }
    assert!(output.status.success() && text.contains("1 passed"), "{name}:\n{text}");
    true
}

fn child_folder() -> Option<PathBuf> {
    env::var_os(FOLDER).map(PathBuf::from)
}

/// Mounts a file system of `size` in namespaces of its own, which go with the child.
fn on_tmpfs(name: &str, size: &str) -> bool {
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" || {{ echo no mount here; exit 0; }}");
    let shell = format!(
        "test $(id -u) = 0 || root=--map-root-user; unshare --mount $root sh -c '{mount}; exec sh -c \"$1\"' \"${FOLDER}\" \"$CHILD\" || {{ test $? -eq 101 && exit 101; \
         echo no mount here; }}"
    );
    run_child(name, &shell)
}

fn assert_failing(store: &Store, refused: &Result<(), StoreError>) {
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(matches!(store.health(), Health::Failing { .. }), "{:?}", store.health());
}

fn assert_well(store: &Store) {
    assert_eq!(store.health(), Health::Ok);
    assert!(matches!(block_on(store.read(verify_chain)), Ok(Chain::Whole { .. })));
}

#[test]
fn full_disk_child() {
    let Some(folder) = child_folder() else { return };
    let path = folder.join("millrace.db");
    let store = Store::open(&path).unwrap();
    let mut kept = Vec::new();
    let refused = loop {
        assert!(kept.len() < 1_000, "the disk is never full");
        let name = format!("note{}", kept.len());
        match write(&store, &name) {
            Ok(()) => kept.push(name),
            refused => break refused,
        }
    };
    assert_failing(&store, &refused);
    assert!(refused.unwrap_err().to_string().contains("disk is full"));
    assert!(kept.len() > 20, "{}", kept.len());
    assert!(kept.iter().all(|name| has(&store, name)), "reads go on");
    assert_failing(&store, &write(&store, "still full"));
    // Somebody else frees space: a change works again without anything done to the store.
    let size = |text: &str| {
        let remount = Command::new("mount").args(["-o", &format!("remount,{text}")]).arg(&folder).status();
        assert!(remount.unwrap().success(), "{text}");
    };
    size("size=8m");
    write(&store, "after").unwrap();
    assert_well(&store);
    drop(store);
    let store = Store::open(&path).unwrap();
    assert!(kept.iter().all(|name| has(&store, name)) && has(&store, "after"));
    assert!(!has(&store, "still full") && !has(&store, &format!("note{}", kept.len())));
    drop(store);
    size("ro");
    let refused = Store::open(&path).err().unwrap().to_string();
    assert!(refused.starts_with("the store is not available") && refused.contains("ead-only"), "{refused}");
    size("rw");
    assert!(has(&Store::open(&path).unwrap(), "after"));
}

#[test]
fn full_or_read_only_disk_refuses_changes_and_loses_none() {
    if child_folder().is_none() {
        on_tmpfs("full_disk_child", "2m");
    }
}

#[test]
fn probe_child() {
    let Some(folder) = child_folder() else { return };
    let store = Store::open(&folder.join("millrace.db")).unwrap();
    let filler = folder.join("filler");
    fs::write(&filler, vec![1; 700_000]).unwrap();
    let refused = (0..1_000).map(|number| write(&store, &format!("note{number}"))).find(Result::is_err).unwrap();
    assert_failing(&store, &refused);
    fs::remove_file(&filler).unwrap();
    // Nobody asks for a change; the store finds out by itself.
    assert!(eventually(DEADLINE, || store.health() == Health::Ok), "not well again by itself");
}

#[test]
fn f_40_store_is_well_again_without_a_change() {
    if child_folder().is_none() {
        on_tmpfs("probe_child", "2m");
    }
}

/// Lets files grow to `bytes` only: a write across that place is cut there, the next one fails.
fn limit_files(bytes: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, bytes.min(hard), hard).unwrap();
}

fn log_bytes(path: &Path) -> u64 {
    fs::metadata(path.with_extension("db-wal")).map_or(0, |found| found.len())
}

#[test]
fn failing_writes_child() {
    let Some(folder) = child_folder() else { return };
    let path = folder.join("millrace.db");
    let store = Store::open(&path).unwrap();
    let mut kept = Vec::new();
    let mut failed = 0;
    for step in 0..60u64 {
        write(&store, &format!("before{step}")).unwrap();
        kept.push(format!("before{step}"));
        // The change below takes some 30,000 bytes of log: each step cuts it elsewhere, also inside headers.
        limit_files(log_bytes(&path).max(8_192) + step * 523);
        let refused = write(&store, &format!("cut{step}"));
        if refused.is_ok() {
            kept.push(format!("cut{step}"));
        } else {
            failed += 1;
            assert_failing(&store, &refused);
        }
        assert!(has(&store, &format!("before{step}")), "reads go on");
        limit_files(u64::MAX);
        let again = format!("again{step}");
        write(&store, &again).unwrap();
        kept.push(again);
        assert_well(&store);
        assert_eq!(has(&store, &format!("cut{step}")), kept.contains(&format!("cut{step}")), "step {step}");
    }
    assert!(failed > 20, "{failed} of 60 changes failed");
    drop(store);
    let store = Store::open(&path).unwrap();
    assert!(kept.iter().all(|name| has(&store, name)));
}

#[test]
fn write_that_fails_anywhere_is_refused_and_the_next_one_works() {
    if child_folder().is_none() {
        // Over the limit the kernel sends a signal, which would end the process before the write can fail.
        run_child("failing_writes_child", "trap '' XFSZ; exec $CHILD");
    }
}

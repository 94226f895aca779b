//! Killed at any moment, the API keeps what it answered (F-63).
//!
//! Threads save, approve, serve, roll back and unserve, and make, roll, disable and delete keys, each with objects of its own,
//! until the process is killed. After the restart each object is as its last answer said, or as the change that was on its way
//! would have made it; what the API reports is what the data plane serves. `MILLRACE_CRASH_API_ROUNDS` sets how often, 3 unless
//! told.

mod keys;
mod versions;
mod wire;

use std::env;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{DEADLINE, Gateway, eventually, program};

use self::{keys::Ring, versions::Line};

/// Threads of each kind.
const LANES: usize = 3;

/// Changes that were answered.
static ANSWERED: AtomicU64 = AtomicU64::new(0);

pub(super) fn answered() {
    ANSWERED.fetch_add(1, Ordering::Relaxed);
}

/// Projects with a key, and rings of keys beside.
fn set_up(gateway: &Gateway) -> (Vec<Line>, Vec<Ring>) {
    let organization = gateway.organization();
    let project = |name: String| gateway.make_project(&organization, &name);
    let lines = (0..LANES).map(|lane| {
        let id = project(format!("line{lane}"));
        let made =
            gateway.admin("POST", &format!("/projects/{id}/keys"), &[], &json!({"description": "tests"}).to_string());
        let key = made.json()["key"].as_str().unwrap().to_owned();
        Line::new(id, format!("line{lane}"), key)
    });
    let lines = lines.collect();
    (lines, (0..LANES).map(|lane| Ring::new(project(format!("ring{lane}")))).collect())
}

/// Changes everything at once until the process is killed: after so many answers, and some time.
fn run_and_kill(gateway: Gateway, lines: &mut [Line], rings: &mut [Ring], end: (u64, Duration)) -> tempfile::TempDir {
    let (admin, wanted) = (gateway.admin, ANSWERED.load(Ordering::Relaxed) + end.0);
    thread::scope(|scope| {
        for line in lines {
            scope.spawn(move || while line.step(admin).is_some() {});
        }
        for ring in rings {
            scope.spawn(move || while ring.step(admin).is_some() {});
        }
        eventually(DEADLINE, || ANSWERED.load(Ordering::Relaxed) >= wanted);
        // Not a wait for something to happen: the moment of the kill is what this test varies.
        thread::sleep(end.1);
        gateway.signal(Signal::SIGKILL);
    });
    gateway.killed()
}

/// Begins a start and kills it too (F-35).
fn kill_a_start(folder: &std::path::Path, life: Duration) {
    let mut command: Command = program(folder);
    command.arg("serve").arg("-c").arg(folder.join("millrace.yaml")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The chain of the audit log is whole; returns its length.
fn audit_entries(gateway: &Gateway) -> u64 {
    let reply = gateway.admin("GET", "/audit/verify", &[], "");
    let found: Value = reply.json();
    assert_eq!((reply.status, &found["ok"]), (200, &json!(true)), "{found}");
    found["entries"].as_u64().unwrap()
}

#[test]
fn f_63_killed_at_any_moment_the_program_keeps_what_its_api_answered() {
    let rounds: u32 = env::var("MILLRACE_CRASH_API_ROUNDS").map_or(3, |text| text.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut gateway = Gateway::stored(tempfile::tempdir().unwrap(), 2);
    let (mut lines, mut rings) = set_up(&gateway);
    let (mut entries, mut on_its_way, mut slowest) = (audit_entries(&gateway), 0, Duration::ZERO);
    for round in 0..rounds {
        let before = ANSWERED.load(Ordering::Relaxed);
        let end = (random.u64(1..60), Duration::from_millis(random.u64(0..30)));
        let folder = run_and_kill(gateway, &mut lines, &mut rings, end);
        let answered = ANSWERED.load(Ordering::Relaxed) - before;
        if round % 4 == 3 {
            kill_a_start(folder.path(), Duration::from_millis(random.u64(0..250)));
        }
        let started = Instant::now();
        gateway = Gateway::stored(folder, 2);
        slowest = slowest.max(started.elapsed());
        for line in &mut lines {
            on_its_way += u64::from(line.settle(&gateway, round));
        }
        for ring in &mut rings {
            on_its_way += u64::from(ring.settle(&gateway, round));
        }
        let now = audit_entries(&gateway);
        assert!(now >= entries + answered, "round {round}: {answered} answers and {} events", now - entries);
        entries = now;
    }
    let answered = ANSWERED.load(Ordering::Relaxed);
    println!(
        "{rounds} kills, {answered} answered changes, none lost; {on_its_way} changes on their way were made; slowest start \
         {slowest:?}"
    );
    assert!(answered > u64::from(rounds), "{answered} answered changes show nothing");
}

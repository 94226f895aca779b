//! A worker that stands still ends the process, not a change.
//!
//! One thread of the real program is held up from outside, in a system call, by `strace`: there is nothing in the program that
//! a release would have to leave out. Where that is not allowed the tests say so and pass.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Gateway, Tracer, eventually};

/// Holds up the thread of this name; none where the machine does not allow it.
fn hold(gateway: &Gateway, name: &str, folder: &Path) -> Option<Tracer> {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap().flatten();
    let named = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap().trim() == name;
    let thread = tasks.into_iter().find(named).unwrap().file_name();
    Tracer::attach(folder, &[], "epoll_wait,epoll_pwait:delay_enter=60000000", thread.to_str().unwrap())
}

/// The program says why it ends and ends. The kernel waits for the thread that `strace` holds, so it is let go then.
fn ends_with_status_1(gateway: &mut Gateway, held: Tracer) {
    let says = || gateway.stderr_text().contains("stand still; the process has drained the others and stops");
    assert!(eventually(DEADLINE, says), "{}", gateway.stderr_text());
    drop(held);
    let status = gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(1), "{status}");
}

#[test]
fn worker_that_does_not_confirm_a_change_ends_the_process_and_the_change_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::stored(tempfile::tempdir().unwrap(), 2);
    let organization = gateway.organization();
    let project = gateway.make_project(&organization, "demo");
    let Some(held) = hold(&gateway, "worker-1", folder.path()) else { return };
    // Its next turn comes in a minute, which nobody waits for here.
    let started = Instant::now();
    let path = format!("/projects/{project}/archive");
    let reply = gateway.admin("POST", &path, &[], "");
    let (took, text) = (started.elapsed(), reply.text());
    assert_eq!(reply.status, 503, "{text}");
    assert!(text.contains("the change is stored") && text.contains("[1]") && text.contains("drains"), "{text}");
    assert!(took >= Duration::from_secs(5), "{took:?}");
    ends_with_status_1(&mut gateway, held);
    let log = gateway.printed().join("\n");
    assert!(log.contains("a change is stored and live, but not on every worker"), "{log}");
    let gateway = gateway.again(2);
    let shown = gateway.admin("GET", &format!("/projects/{project}"), &[], "").json();
    assert_eq!(shown["lifecycle"], "archived", "{shown}");
}

#[test]
fn f_32_worker_that_stands_still_is_counted_and_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::demo(2);
    let Some(held) = hold(&gateway, "worker-0", folder.path()) else { return };
    // Two seconds are a stall, and no more than that.
    let age = || gateway.metric("millrace_worker_heartbeat_age_seconds", "worker=\"0\"").unwrap();
    assert!(eventually(DEADLINE, || age() > 2.0), "{}", age());
    drop(held);
    let stalls = || gateway.metric("millrace_worker_stalls_total", "worker=\"0\"");
    assert!(eventually(DEADLINE, || stalls() >= Some(1.0)), "{:?}", stalls());
    let started = Instant::now();
    let Some(held) = hold(&gateway, "worker-0", folder.path()) else { return };
    ends_with_status_1(&mut gateway, held);
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(9), "{took:?}");
    let log = gateway.printed().join("\n");
    assert!(log.contains("a worker stands still for 10 s"), "{log}");
}

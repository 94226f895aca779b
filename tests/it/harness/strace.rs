//! System calls that fail, are late or kill, by `strace`.
//!
//! What the tests see is the real program on a kernel that seems to fail: no code of the program is there for it. Where tracing
//! is not allowed, tests say so and pass.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::process::{DEADLINE, eventually};

/// Whether this machine has `strace` and lets it trace a child; says so when it does not.
pub(crate) fn may_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let may = traced.is_ok_and(|status| status.success());
    if !may {
        println!("skipped: no `strace`, or this machine allows no tracing");
    }
    may
}

/// A tracer of a running process; what it did ends when it is dropped.
pub(crate) struct Tracer(Child);

impl Tracer {
    /// Injects `what` into one thread, or with `-f` among `args` into a whole process; none where that is not allowed. Its own
    /// messages go to `folder`.
    pub(crate) fn attach(folder: &Path, args: &[&str], what: &str, id: &str) -> Option<Self> {
        let said = folder.join("strace");
        let strace = Command::new("strace")
            .args(args)
            .args(["-e", &format!("inject={what}"), "-o", "/dev/null", "-p", id])
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn();
        let Ok(strace) = strace else {
            println!("skipped: there is no strace");
            return None;
        };
        let tracer = Self(strace);
        let text = || fs::read_to_string(&said).unwrap();
        assert!(eventually(DEADLINE, || text().contains("attached") || text().contains("not permitted")), "{}", text());
        if text().contains("not permitted") {
            println!("skipped: this machine allows no tracing of a running process");
            return None;
        }
        Some(tracer)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have ended with what it traced.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! A child process: its printed lines, its signals, its end.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything that should happen at once may take on a machine that is busy with other things. What a defect would wait
/// for instead lasts longer: `idle` of a provider and `keepalive_timeout` of a client are 60 s unless set.
pub(crate) const DEADLINE: Duration = Duration::from_secs(45);

/// A running child; killed on drop, its stderr shown when the test fails.
pub(crate) struct Process {
    child: Child,
    /// Behind a lock only so that threads may share the handle.
    lines: Mutex<Receiver<String>>,
    seen: Vec<String>,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` with its stdout read line by line and its stderr kept in `folder`.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Self {
        let stderr = folder.join("stderr");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    // Nobody asks any more, but a full pipe would stop the child.
                    continue;
                }
            }
        });
        Self { child, lines: Mutex::new(lines), seen: Vec::new(), stderr }
    }

    /// Waits for a printed line with `marker` and reads the address that follows it.
    pub(crate) fn address_after(&mut self, marker: &str) -> SocketAddr {
        let until = Instant::now() + DEADLINE;
        loop {
            for line in &self.seen {
                if let Some((_, rest)) = line.split_once(marker) {
                    let end = rest.find(|c: char| !c.is_ascii_hexdigit() && !".:[]".contains(c));
                    let address = &rest[..end.unwrap_or(rest.len())];
                    return address.parse().unwrap_or_else(|_| panic!("no address in {line:?}"));
                }
            }
            match self.lines.get_mut().unwrap().recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no line with {marker:?} in {:?}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended before a line with {marker:?}: {:?}\n{}", self.seen, self.stderr_text())
                }
            }
        }
    }

    /// Lines that were printed and not yet asked for.
    pub(crate) fn printed(&mut self) -> Vec<String> {
        self.lines.get_mut().unwrap().try_iter().collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for the end; panics when it does not come within `at_most`.
    pub(crate) fn wait(&mut self, at_most: Duration) -> ExitStatus {
        let mut status = None;
        let ended = eventually(at_most, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "still running after {at_most:?}");
        status.unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard error so far.
    pub(crate) fn stderr_text(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("process {} had ended before the test did: {ended:?}", self.child.id());
            let text = self.stderr_text();
            let tail: Vec<_> = text.lines().rev().take(40).collect();
            eprintln!("stderr of process {}, newest first:\n{}", self.child.id(), tail.join("\n"));
        }
    }
}

/// Asks until `happened` or the time is over; for what another process does in its own time.
pub(crate) fn eventually(at_most: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + at_most;
    loop {
        if happened() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

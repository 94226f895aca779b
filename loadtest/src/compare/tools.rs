//! perf, strace and callgrind: their calls and output.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;

use super::process::{LOOK_EVERY, Process};

/// Time a tool has to attach or to write its result.
const TOOL_TIME_MAX: Duration = Duration::from_secs(30);
/// Time perf takes to attach, with much to spare.
const ATTACH_TIME: Duration = Duration::from_millis(500);
/// Events that `perf stat` counts.
const EVENTS: &str = "instructions:u,instructions:k";

/// Instructions of a process while a tool watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instructions {
    /// In user space.
    pub(crate) user: u64,
    /// In the kernel.
    pub(crate) kernel: u64,
}

/// Says why instructions cannot be counted here; `None` when they can.
pub(crate) fn why_no_counters() -> Option<String> {
    let output = Command::new("perf").args(["stat", "-x", ",", "-e", EVENTS, "true"]).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        return Some("perf is not installed".to_owned());
    };
    let text = String::from_utf8_lossy(&output.stderr);
    match parse_counts(&text) {
        Some(_) => None,
        None if text.contains("<not supported>") => {
            Some("the CPU (or its virtual machine) has no instruction counter".to_owned())
        }
        None => Some(format!("perf refuses: {}", text.lines().next().unwrap_or("no reason given"))),
    }
}

/// Reads `perf stat -x ,`.
fn parse_counts(text: &str) -> Option<Instructions> {
    let count = |event: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.split(',');
            let value: u64 = fields.next()?.parse().ok()?;
            (fields.nth(1)? == event).then_some(value)
        })
    };
    Some(Instructions { user: count("instructions:u")?, kernel: count("instructions:k")? })
}

/// A tool that is attached to running processes.
pub(crate) struct Attached {
    process: Process,
}

impl Attached {
    /// Counts instructions into `out`.
    ///
    /// # Errors
    /// perf cannot be started.
    pub(crate) fn counters(ids: &[u32], out: &Path, core: usize) -> anyhow::Result<Self> {
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", EVENTS, "-o"]).arg(out).args(["-p", &joined(ids)]);
        Self::start_perf(&mut command, core)
    }

    /// Samples call stacks into `out`, 999 times a second of CPU time.
    ///
    /// # Errors
    /// perf cannot be started.
    pub(crate) fn sampler(ids: &[u32], out: &Path, core: usize) -> anyhow::Result<Self> {
        let mut command = Command::new("perf");
        command.args(["record", "-q", "-e", "cpu-clock", "-F", "999", "-g", "-o"]).arg(out).args(["-p", &joined(ids)]);
        Self::start_perf(&mut command, core)
    }

    /// Counts system calls into `out`; every call becomes slow, so times mean nothing meanwhile.
    ///
    /// # Errors
    /// strace cannot be started or does not attach in time.
    pub(crate) fn system_calls(ids: &[u32], out: &Path, core: usize) -> anyhow::Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-q", "-o"]).arg(out);
        for id in ids {
            command.args(["-p", &id.to_string()]);
        }
        let attached = Self::start(&mut command, core)?;
        let deadline = Instant::now() + TOOL_TIME_MAX;
        while !ids.iter().all(|id| is_traced(*id)) {
            if Instant::now() > deadline {
                bail!("strace does not attach; ptrace may be forbidden here");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(attached)
    }

    /// Starts perf and gives it time to attach, for it does not say when it has.
    fn start_perf(command: &mut Command, core: usize) -> anyhow::Result<Self> {
        let attached = Self::start(command, core)?;
        std::thread::sleep(ATTACH_TIME);
        Ok(attached)
    }

    fn start(command: &mut Command, core: usize) -> anyhow::Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { process: Process::start(command, core, core)? })
    }

    /// Detaches and waits until the result is written.
    ///
    /// # Errors
    /// The tool does not end in time.
    pub(crate) fn detach(mut self) -> anyhow::Result<()> {
        self.process.end(Signal::SIGINT, TOOL_TIME_MAX)
    }
}

fn joined(ids: &[u32]) -> String {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    ids.join(",")
}

fn is_traced(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/status")).is_ok_and(|status| {
        status.lines().find_map(|line| line.strip_prefix("TracerPid:")).is_some_and(|tracer| tracer.trim() != "0")
    })
}

/// Reads what [`Attached::counters`] wrote.
///
/// # Errors
/// The file has no counts.
pub(crate) fn read_counts(path: &Path) -> anyhow::Result<Instructions> {
    let text = std::fs::read_to_string(path)?;
    parse_counts(&text).context("perf stat wrote no counts")
}

/// Reads the table of `strace -c`: calls by name, most frequent first.
///
/// # Errors
/// The file has no table.
pub(crate) fn read_system_calls(path: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    let text = std::fs::read_to_string(path).context("strace wrote nothing")?;
    let calls = parse_system_calls(&text);
    if calls.is_empty() {
        bail!("strace counted no system calls");
    }
    Ok(calls)
}

fn parse_system_calls(text: &str) -> Vec<(String, u64)> {
    let mut calls: Vec<(String, u64)> = text
        .lines()
        .filter_map(|line| {
            // % time, seconds, usecs/call, calls, [errors], name
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = fields.last()?;
            let count = fields.get(3)?.parse().ok()?;
            (fields.len() >= 5 && *name != "total").then(|| ((*name).to_owned(), count))
        })
        .collect();
    calls.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    calls
}

/// What stands before a program to run it under callgrind; each process writes its own file into `folder`.
pub(crate) fn callgrind_wrapper(folder: &Path) -> Vec<String> {
    vec![
        "valgrind".to_owned(),
        "--tool=callgrind".to_owned(),
        "--collect-systime=no".to_owned(),
        "--trace-children=no".to_owned(),
        format!("--callgrind-out-file={}/callgrind.out.%p", folder.display()),
    ]
}

/// Sums the instructions of all callgrind files in `folder`.
///
/// # Errors
/// There is none: the program did not end as asked.
pub(crate) fn callgrind_total(folder: &Path) -> anyhow::Result<u64> {
    let mut totals = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("callgrind.out.") {
            totals.extend(parse_callgrind(&std::fs::read_to_string(entry.path())?));
        }
    }
    if totals.is_empty() {
        bail!("callgrind wrote no counts");
    }
    Ok(totals.iter().sum())
}

/// Total of one file; the last `totals:` or, without it, the last `summary:`.
fn parse_callgrind(text: &str) -> Option<u64> {
    ["totals:", "summary:"].iter().find_map(|name| {
        let line = text.lines().rev().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_only_when_they_are_numbers() {
        let counted = "# started on x\n\n123456,,instructions:u,1000,100.00,,\n7890,,instructions:k,1000,100.00,,\n";
        assert_eq!(parse_counts(counted), Some(Instructions { user: 123_456, kernel: 7_890 }));
        for text in [
            "<not supported>,,instructions:u,0,100.00,,\n<not supported>,,instructions:k,0,100.00,,\n",
            "<not counted>,,instructions:u,0,0.00,,\n",
            "123456,,instructions:u,1000,100.00,,\n",
            "",
        ] {
            assert_eq!(parse_counts(text), None, "{text}");
        }
    }

    #[test]
    fn system_calls_are_read_with_and_without_errors() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00    0.006000           3      2000           writev\n \
            40.00    0.004000           2      4000      2000 recvfrom\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.010000           2      6000      2000 total\n";
        assert_eq!(parse_system_calls(text), [("recvfrom".to_owned(), 4000), ("writev".to_owned(), 2000)]);
        assert!(parse_system_calls("strace: refused\n").is_empty());
    }

    #[test]
    fn callgrind_totals_are_read() {
        for (name, text, want) in [
            ("totals", "summary: 5\nfn=x\n1 5\ntotals: 12345\n", Some(12_345)),
            ("summary", "events: Ir\nsummary: 77\n", Some(77)),
            ("none", "events: Ir\n", None),
        ] {
            assert_eq!(parse_callgrind(text), want, "{name}");
        }
    }
}

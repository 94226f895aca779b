//! Starts programs on one core, watches what they use.
//!
//! And ends them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::drive;

/// Time a program has to end before it is killed.
const END_TIME_MAX: Duration = Duration::from_secs(10);
/// Step in which ends and files are looked for.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A program with its own process group; ended when dropped.
pub(crate) struct Process {
    child: Child,
}

/// CPU time of a process tree so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// Time on a CPU, in nanoseconds, from the scheduler.
    pub(crate) total_ns: u64,
    /// User ticks: counted by sampling, good for the split alone.
    pub(crate) user_ticks: u64,
    /// System ticks.
    pub(crate) system_ticks: u64,
}

impl Process {
    /// Starts `command` on `core` in its own process group. The caller's thread gets back to `own_core`.
    ///
    /// # Errors
    /// The program cannot be started or the core does not exist.
    pub(crate) fn start(command: &mut Command, core: usize, own_core: usize) -> anyhow::Result<Self> {
        // Affinity is inherited over fork and exec; this needs no code in the child.
        drive::pin(core)?;
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        drive::pin(own_core)?;
        let program = command.get_program().to_string_lossy().into_owned();
        Ok(Self { child: child.with_context(|| format!("starting `{program}`"))? })
    }

    /// The started process itself.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The process and all its descendants.
    pub(crate) fn tree(&self) -> Vec<u32> {
        tree_of(self.id(), &parents())
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end; calls `meanwhile` every 20 ms.
    ///
    /// # Errors
    /// It runs longer than `limit`.
    pub(crate) fn wait(&mut self, limit: Duration, mut meanwhile: impl FnMut()) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("process {} is not over after {limit:?}", self.id());
            }
            meanwhile();
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Sends a signal to the process alone and waits for its end.
    ///
    /// # Errors
    /// It does not end within `limit`.
    pub(crate) fn end(&mut self, signal: Signal, limit: Duration) -> anyhow::Result<()> {
        if self.is_running() {
            kill(pid(self.id())?, signal)?;
            self.wait(limit, || {})?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.end(Signal::SIGTERM, END_TIME_MAX);
        if let Ok(group) = pid(self.id()) {
            // The whole group, also when the first process is gone: children must not outlive the run.
            let _killed = killpg(group, Signal::SIGKILL);
        }
        let _status = self.child.wait();
    }
}

/// Opens a file for the output of a program.
///
/// # Errors
/// The file cannot be made.
pub(crate) fn output_to(path: &Path) -> anyhow::Result<(Stdio, Stdio)> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    Ok((file.try_clone()?.into(), file.into()))
}

fn pid(id: u32) -> anyhow::Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(id)?))
}

/// Resident memory of these processes, in KiB; pages that they share count for each.
pub(crate) fn rss_kib(ids: &[u32]) -> u64 {
    ids.iter()
        .filter_map(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok())
        .filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        })
        .sum()
}

/// CPU time of all threads of these processes.
pub(crate) fn cpu_time(ids: &[u32]) -> CpuTime {
    let mut sum = CpuTime::default();
    for id in ids {
        if let Some((user, system)) =
            std::fs::read_to_string(format!("/proc/{id}/stat")).ok().and_then(|stat| ticks(&stat))
        {
            sum.user_ticks += user;
            sum.system_ticks += system;
        }
        let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            sum.total_ns += std::fs::read_to_string(thread.path().join("schedstat"))
                .ok()
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    sum
}

impl CpuTime {
    /// Time since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            total_ns: self.total_ns.saturating_sub(earlier.total_ns),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// Share of user time, from 0 to 1; `None` without ticks.
    pub(crate) fn user_share(self) -> Option<f64> {
        let ticks = self.user_ticks + self.system_ticks;
        (ticks > 0).then(|| self.user_ticks as f64 / ticks as f64)
    }
}

/// Fields after the name, which may itself have spaces and brackets (proc(5)).
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(") ")?.1.split_whitespace())
}

/// Reads utime and stime of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = fields(stat)?.skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Parent of every process.
fn parents() -> BTreeMap<u32, u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = fields(&stat)?.nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect()
}

fn tree_of(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&id) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, parent)| **parent == id).map(|(child, _)| *child));
        next += 1;
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_behind_any_name() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 77 33 0 0 20 0";
        for name in ["nginx", "a b", "x) (y"] {
            assert_eq!(ticks(&format!("12 ({name}) {tail}")), Some((77, 33)));
        }
        assert_eq!(ticks("12 (x) S 1"), None);
    }

    #[test]
    fn the_tree_has_all_generations_and_no_strangers() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 2), (5, 4), (9, 1)]);
        assert_eq!(tree_of(2, &parents), [2, 3, 4, 5]);
    }

    #[test]
    fn own_cpu_time_and_memory_are_seen() {
        let own = [std::process::id()];
        let before = cpu_time(&own);
        let mut sum = 0_u64;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        std::hint::black_box(sum);
        std::thread::yield_now();
        assert!(cpu_time(&own).since(before).total_ns > 1_000_000);
        assert!(rss_kib(&own) > 500);
    }

    #[test]
    fn user_share_needs_ticks() {
        let time = |user_ticks, system_ticks| CpuTime { total_ns: 1, user_ticks, system_ticks };
        assert_eq!(time(1, 3).user_share(), Some(0.25));
        assert_eq!(time(0, 0).user_share(), None);
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let process = Process::start(&mut command, 0, 0).unwrap();
        let id = process.id();
        assert!(Path::new(&format!("/proc/{id}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}

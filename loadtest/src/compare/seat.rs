//! One gateway that runs: its memory, its load, what it cost.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::drive::Report;

use super::figures::{Round, difference_quotient};
use super::gateway::{Gateway, Running, Setting};
use super::lab::{Aim, Lab};
use super::process::{cpu_time, rss_kib};
use super::scenario::{Load, Scenario, Unit};
use super::tools::{Attached, callgrind_total, callgrind_wrapper, read_counts, read_system_calls};

/// Pause before idle memory is read: what a gateway still sets up after listening is not idle.
const BEFORE: Duration = Duration::from_millis(500);
/// Pause before memory is read after the load.
const AFTER: Duration = Duration::from_secs(2);
/// Requests while system calls are counted.
const TRACED_REQUESTS: u64 = 2_000;
/// Client connections that a gateway takes beyond those of the load.
const CONNECTIONS_SPARE: usize = 500;
/// Longest run under valgrind or strace, in seconds.
const SLOW_RUN_S: f64 = 600.0;

/// A gateway that runs and is warm.
pub(crate) struct Seat {
    running: Running,
    aim: Aim,
    idle_kib: u64,
}

impl Seat {
    /// Starts a gateway, reads its idle memory and warms it up.
    ///
    /// # Errors
    /// It does not start, or does not answer every request right; what it said is in the message.
    pub(crate) fn take(lab: &Lab, scenario: &Scenario, gateway: &Gateway) -> anyhow::Result<Self> {
        let folder = lab.folder().join(&scenario.name).join(&gateway.name);
        let running = gateway.start(&setting(lab, scenario), &[], folder)?;
        std::thread::sleep(BEFORE);
        let seat = Self { idle_kib: rss_kib(&running.process.tree()), aim: aim_at(&running), running };
        let warm_up_s = scenario.drive.warm_up_s.unwrap_or(1.0);
        if warm_up_s > 0.0 {
            let load = Load { duration_s: warm_up_s, ramp_s: None, ..scenario.drive.clone() };
            let report = lab.drive(&load, &seat.aim, || {})?;
            if !report.is_clean() {
                bail!(
                    "warm-up failed: {}; first bad answer: {:?}; it said:\n{}",
                    report.failures(),
                    report.sample.unwrap_or_default(),
                    seat.running.output()
                );
            }
        }
        Ok(seat)
    }

    /// Ends the gateway as an operator would.
    ///
    /// # Errors
    /// It does not end in time.
    pub(crate) fn leave(mut self) -> anyhow::Result<()> {
        self.running.end()
    }

    /// Sends the load once and says what it cost.
    ///
    /// # Errors
    /// A tool or the driver does not work; failed requests are in the report.
    pub(crate) fn measure(&self, lab: &Lab, scenario: &Scenario, counters: bool) -> anyhow::Result<(Report, Round)> {
        let ids = self.running.process.tree();
        let counts_path = lab.folder().join("counts.txt");
        let counters = if counters { Some(Attached::counters(&ids, &counts_path, lab.cores.load)?) } else { None };
        let mut peak_kib = 0;
        let before = cpu_time(&ids);
        let report = lab.drive(&scenario.drive, &self.aim, || {
            peak_kib = peak_kib.max(rss_kib(&ids));
        })?;
        let cpu = cpu_time(&ids).since(before);
        let units = units_of(scenario.unit, &report);
        let mut round = Round::new();
        round.insert("rss_idle_kib", self.idle_kib as f64);
        round.insert("rss_loaded_kib", peak_kib as f64);
        if scenario.unit == Unit::Stream {
            let grown = peak_kib as f64 - self.idle_kib as f64;
            round.insert("rss_stream_kib", grown / units);
        }
        if report.elapsed_s > 0.0 {
            round.insert("rate", units / report.elapsed_s);
            let busy = cpu.total_ns as f64 / 1e9 / report.elapsed_s * 100.0;
            round.insert("busy_percent", busy);
        }
        let cpu_us = cpu.total_ns as f64 / 1e3 / units;
        round.insert("cpu_us", cpu_us);
        if let Some(user) = cpu.user_share() {
            round.insert("cpu_user_us", cpu_us * user);
            round.insert("cpu_system_us", cpu_us * (1.0 - user));
        }
        add_times(&mut round, &report);
        if let Some(counters) = counters {
            counters.detach()?;
            let counts = read_counts(&counts_path)?;
            let (user, kernel) = (counts.user as f64 / units, counts.kernel as f64 / units);
            round.insert("instructions_user", user);
            round.insert("instructions_kernel", kernel);
            round.insert("instructions", user + kernel);
        }
        // A division by no units says nothing.
        round.retain(|_, value| value.is_finite());
        Ok((report, round))
    }

    /// Reads memory 2 s after the load, in KiB.
    pub(crate) fn memory_after(&self) -> f64 {
        std::thread::sleep(AFTER);
        rss_kib(&self.running.process.tree()) as f64
    }

    /// Counts system calls a unit in a run of its own, most frequent first.
    ///
    /// # Errors
    /// strace does not work here.
    pub(crate) fn system_calls(&self, lab: &Lab, scenario: &Scenario) -> anyhow::Result<Vec<(String, f64)>> {
        let out = lab.folder().join("strace.txt");
        let tracer = Attached::system_calls(&self.running.process.tree(), &out, lab.cores.load)?;
        let requests = TRACED_REQUESTS.min(scenario.callgrind_requests.1);
        let report = lab.drive(&slow_load(scenario, requests), &self.aim, || {})?;
        tracer.detach()?;
        let units = units_of(scenario.unit, &report);
        let calls = read_system_calls(&out)?;
        Ok(calls.into_iter().map(|(name, count)| (name, count as f64 / units)).collect())
    }

    /// Samples call stacks of one run of the load into `out`.
    ///
    /// # Errors
    /// perf does not work here, or a request failed.
    pub(crate) fn profile(&self, lab: &Lab, scenario: &Scenario, out: &Path) -> anyhow::Result<()> {
        let sampler = Attached::sampler(&self.running.process.tree(), out, lab.cores.load)?;
        let report = lab.drive(&scenario.drive, &self.aim, || {})?;
        sampler.detach()?;
        if !report.is_clean() {
            bail!("the profiled run failed: {}", report.failures());
        }
        Ok(())
    }
}

fn aim_at(running: &Running) -> Aim {
    Aim { url: running.url(), model: running.model.clone(), key: running.gateway.key.clone() }
}

/// The load with so many requests, for tools under which a gateway is many times slower.
fn slow_load(scenario: &Scenario, requests: u64) -> Load {
    Load {
        requests: Some(requests),
        connections: scenario.callgrind_connections,
        duration_s: SLOW_RUN_S,
        ramp_s: None,
        rate: None,
        ..scenario.drive.clone()
    }
}

fn setting(lab: &Lab, scenario: &Scenario) -> Setting {
    Setting {
        upstream: lab.upstream,
        workers: scenario.workers,
        model: scenario.mock_model.clone(),
        stream: scenario.unit != Unit::Request,
        // The load's own, and room for the old connections while new ones open between runs.
        connections: scenario.drive.connections + CONNECTIONS_SPARE,
        core: lab.cores.gateway,
        load_core: lab.cores.load,
    }
}

fn add_times(round: &mut Round, report: &Report) {
    if let Some(latency) = report.latency {
        round.insert("p50_us", latency.p50_us);
        round.insert("p99_us", latency.p99_us);
    }
    if let Some(first) = report.first_event {
        round.insert("first_p50_us", first.p50_us);
        round.insert("first_p99_us", first.p99_us);
    }
    if let Some(gap) = report.gap {
        round.insert("gap_p99_us", gap.p99_us);
    }
}

fn units_of(unit: Unit, report: &Report) -> f64 {
    match unit {
        Unit::Request | Unit::Stream => report.ok as f64,
        Unit::Event => report.events as f64,
    }
}

/// User instructions a unit: two runs of different length, the difference divided.
///
/// # Errors
/// valgrind does not work here, a request failed, or the longer run did not cost more.
pub(crate) fn callgrind(lab: &Lab, scenario: &Scenario, gateway: &Gateway) -> anyhow::Result<f64> {
    let (few, many) = scenario.callgrind_requests;
    let mut points = Vec::new();
    for requests in [few, many] {
        let folder = lab.folder().join(format!("callgrind-{}-{requests}", gateway.name));
        std::fs::create_dir_all(&folder)?;
        let wrapper = callgrind_wrapper(&folder);
        let mut running = gateway.start(&setting(lab, scenario), &wrapper, folder)?;
        let load = slow_load(scenario, requests);
        let report = lab.drive(&load, &aim_at(&running), || {})?;
        if !report.is_clean() {
            bail!("{} under callgrind failed: {}", gateway.name, report.failures());
        }
        running.end()?;
        let total = callgrind_total(running.folder())?;
        let units = match scenario.unit {
            Unit::Event => report.events,
            Unit::Request | Unit::Stream => report.ok,
        };
        points.push((units, total));
    }
    match points.as_slice() {
        [few, many] => difference_quotient(*few, *many)
            .with_context(|| format!("{}: the longer run did not cost more", gateway.name)),
        _ => bail!("two runs are needed"),
    }
}

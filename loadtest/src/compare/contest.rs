//! Runs one scenario: all gateways in turn, round after round.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::drive::{self, Report};

use super::figures::{Round, difference_quotient};
use super::gateway::{Gateway, Running, Setting};
use super::lab::{Aim, Lab};
use super::process::{cpu_time, rss_kib};
use super::scenario::{Load, Scenario, Unit};
use super::tools::{Attached, callgrind_total, callgrind_wrapper, read_counts, read_system_calls};

/// Rounds that may be thrown away for each that counts.
const ATTEMPTS_PER_ROUND: usize = 3;
/// Pause before memory is read after the load.
const AFTER: Duration = Duration::from_secs(2);
/// Requests while system calls are counted.
const TRACED_REQUESTS: u64 = 2_000;
/// Longest run under valgrind or strace, in seconds.
const SLOW_RUN_S: f64 = 600.0;

/// What a comparison does beside its rounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    /// Counts user instructions under callgrind.
    pub(crate) callgrind: bool,
    /// Counts system calls with strace.
    pub(crate) system_calls: bool,
    /// Samples call stacks into this folder.
    pub(crate) profile: Option<PathBuf>,
    /// Whether the machine counts instructions.
    pub(crate) counters: bool,
}

/// Everything one scenario measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// The scenario as it ran.
    pub(crate) scenario: Scenario,
    /// Gateways in order.
    pub(crate) entries: Vec<Entry>,
    /// Gateways that did not run, with the reason.
    pub(crate) absent: BTreeMap<String, String>,
    /// Runs straight to the provider, before and after each round that counts.
    pub(crate) floors: Vec<(Report, Report)>,
    /// Rounds thrown away because the floor drifted.
    pub(crate) thrown_away: usize,
}

/// What one gateway measured.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    /// Name.
    pub(crate) name: String,
    /// What it does beyond proxying.
    pub(crate) does: String,
    /// First line of its version.
    pub(crate) version: Option<String>,
    /// Figures of each round.
    pub(crate) rounds: Vec<Round>,
    /// Driver's report of each round.
    pub(crate) reports: Vec<Report>,
    /// User instructions a unit under callgrind.
    pub(crate) callgrind: Option<f64>,
    /// System calls a unit, most frequent first.
    pub(crate) system_calls: Vec<(String, f64)>,
}

struct Contender {
    running: Running,
    aim: Aim,
    idle_kib: u64,
    entry: Entry,
}

/// Runs a scenario.
///
/// # Errors
/// The baseline does not run, or too many rounds had to be thrown away.
pub(crate) fn run(lab: &Lab, scenario: &Scenario, gateways: &[Gateway], extras: &Extras) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome {
        scenario: scenario.clone(),
        entries: Vec::new(),
        absent: BTreeMap::new(),
        floors: Vec::new(),
        thrown_away: 0,
    };
    let mut contenders = Vec::new();
    for gateway in gateways {
        match enter(lab, scenario, gateway) {
            Ok(contender) => contenders.push(contender),
            Err(reason) if gateway.name == scenario.baseline => return Err(reason),
            Err(reason) => {
                eprintln!("{}: {} does not run: {reason:#}", scenario.name, gateway.name);
                outcome.absent.insert(gateway.name.clone(), format!("{reason:#}"));
            }
        }
    }
    rounds(lab, scenario, extras, &mut contenders, &mut outcome)?;
    for contender in &mut contenders {
        finish(lab, scenario, extras, contender)?;
    }
    for mut contender in contenders {
        contender.running.end()?;
        if extras.callgrind {
            contender.entry.callgrind = Some(callgrind(lab, scenario, &contender.running.gateway)?);
        }
        outcome.entries.push(contender.entry);
    }
    Ok(outcome)
}

fn setting(lab: &Lab, scenario: &Scenario) -> Setting {
    Setting {
        upstream: lab.upstream,
        workers: scenario.workers,
        model: scenario.mock_model.clone(),
        stream: scenario.unit != Unit::Request,
        core: lab.cores.gateway,
        load_core: lab.cores.load,
    }
}

/// Starts a gateway, reads its idle memory and warms it up.
fn enter(lab: &Lab, scenario: &Scenario, gateway: &Gateway) -> anyhow::Result<Contender> {
    let folder = lab.folder().join(&scenario.name).join(&gateway.name);
    let running = gateway.start(&setting(lab, scenario), &[], folder)?;
    // It has nothing to do; what it still sets up after listening is not idle memory.
    std::thread::sleep(Duration::from_millis(500));
    let idle_kib = rss_kib(&running.process.tree());
    let aim = Aim { url: running.url(), model: running.model.clone(), key: gateway.key.clone() };
    let warm_up_s = scenario.drive.warm_up_s.unwrap_or(1.0);
    if warm_up_s > 0.0 {
        let load = Load { duration_s: warm_up_s, ramp_s: None, ..scenario.drive.clone() };
        let report = lab.drive(&load, &aim, || {})?;
        if !report.is_clean() {
            bail!(
                "warm-up failed: {}; first bad answer: {:?}; it said:\n{}",
                report.failures(),
                report.sample.unwrap_or_default(),
                running.output()
            );
        }
    }
    Ok(Contender {
        running,
        aim,
        idle_kib,
        entry: Entry {
            name: gateway.name.clone(),
            does: gateway.does.clone(),
            version: gateway.version(),
            rounds: Vec::new(),
            reports: Vec::new(),
            callgrind: None,
            system_calls: Vec::new(),
        },
    })
}

fn rounds(
    lab: &Lab,
    scenario: &Scenario,
    extras: &Extras,
    contenders: &mut [Contender],
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let mut counted = 0;
    while counted < scenario.rounds {
        let before = floor(lab, scenario)?;
        let mut results = Vec::with_capacity(contenders.len());
        for contender in contenders.iter() {
            results.push(measure(lab, scenario, extras, contender)?);
        }
        let after = floor(lab, scenario)?;
        if let (Some(before), Some(after)) = (before, after) {
            let (one, other) = (typical_us(&before)?.0, typical_us(&after)?.0);
            let drift = drive::drift(one, other);
            if drift > scenario.floor_drift_percent_max {
                outcome.thrown_away += 1;
                eprintln!("{}: round thrown away, floor drifted {drift:.0} %", scenario.name);
                if outcome.thrown_away >= scenario.rounds * ATTEMPTS_PER_ROUND {
                    bail!(
                        "no result for {}: the way straight to the provider drifted over {} % in {} rounds; \
                         the machine is too noisy",
                        scenario.name,
                        scenario.floor_drift_percent_max,
                        outcome.thrown_away
                    );
                }
                continue;
            }
            for (_, round) in &mut results {
                add_floor(round, &before, &after)?;
            }
            outcome.floors.push((before, after));
        }
        for (contender, (report, round)) in contenders.iter_mut().zip(results) {
            contender.entry.reports.push(report);
            contender.entry.rounds.push(round);
        }
        counted += 1;
        eprintln!("{}: round {counted} of {}", scenario.name, scenario.rounds);
    }
    Ok(())
}

/// One run straight to the provider; none for held streams, which have no latency.
fn floor(lab: &Lab, scenario: &Scenario) -> anyhow::Result<Option<Report>> {
    if scenario.unit == Unit::Stream {
        return Ok(None);
    }
    let load = Load { duration_s: scenario.drive.floor_duration_s.unwrap_or(2.0), ..scenario.drive.clone() };
    let report = lab.drive(&load, &lab.direct(&scenario.mock_model), || {})?;
    if !report.is_clean() {
        bail!("the run straight to the provider failed: {}", report.failures());
    }
    Ok(Some(report))
}

/// What clients wait for, p50 and p99: the first event of a stream, otherwise the answer.
fn typical_us(report: &Report) -> anyhow::Result<(f64, f64)> {
    let times = report.first_event.or(report.latency).context("the run has no answers")?;
    Ok((times.p50_us, times.p99_us))
}

fn add_floor(round: &mut Round, before: &Report, after: &Report) -> anyhow::Result<()> {
    let (before, after) = (typical_us(before)?, typical_us(after)?);
    let own = |first, all| round.get(first).or(round.get(all)).copied();
    let (p50, p99) = (own("first_p50_us", "p50_us"), own("first_p99_us", "p99_us"));
    if let Some(p50) = p50 {
        round.insert("added_p50_us", p50 - f64::midpoint(before.0, after.0));
    }
    if let Some(p99) = p99 {
        round.insert("added_p99_us", p99 - f64::midpoint(before.1, after.1));
    }
    Ok(())
}

/// One gateway, one round.
fn measure(lab: &Lab, scenario: &Scenario, extras: &Extras, contender: &Contender) -> anyhow::Result<(Report, Round)> {
    let ids = contender.running.process.tree();
    let counts_path = lab.folder().join("counts.txt");
    let counters = if extras.counters { Some(Attached::counters(&ids, &counts_path, lab.cores.load)?) } else { None };
    let mut peak_kib = 0;
    let before = cpu_time(&ids);
    let report = lab.drive(&scenario.drive, &contender.aim, || {
        peak_kib = peak_kib.max(rss_kib(&ids));
    })?;
    let cpu = cpu_time(&ids).since(before);
    let units = units_of(scenario.unit, &report);
    let mut round = Round::new();
    round.insert("rss_idle_kib", contender.idle_kib as f64);
    round.insert("rss_loaded_kib", peak_kib as f64);
    if scenario.unit == Unit::Stream {
        let grown = peak_kib as f64 - contender.idle_kib as f64;
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

/// Memory after the load, then the slow extras, for which times no longer matter.
fn finish(lab: &Lab, scenario: &Scenario, extras: &Extras, contender: &mut Contender) -> anyhow::Result<()> {
    std::thread::sleep(AFTER);
    let ids = contender.running.process.tree();
    let after_kib = rss_kib(&ids) as f64;
    for round in &mut contender.entry.rounds {
        round.insert("rss_after_kib", after_kib);
    }
    if let Some(folder) = &extras.profile {
        let out = folder.join(format!("{}-{}.perf", scenario.name, contender.entry.name));
        profile(lab, scenario, contender, &out)?;
    }
    if extras.system_calls && scenario.unit != Unit::Stream {
        let out = lab.folder().join("strace.txt");
        let tracer = Attached::system_calls(&ids, &out, lab.cores.load)?;
        let load = Load {
            requests: Some(TRACED_REQUESTS.min(scenario.callgrind_requests.1)),
            connections: scenario.callgrind_connections,
            duration_s: SLOW_RUN_S,
            ramp_s: None,
            rate: None,
            ..scenario.drive.clone()
        };
        let report = lab.drive(&load, &contender.aim, || {})?;
        tracer.detach()?;
        let units = units_of(scenario.unit, &report);
        contender.entry.system_calls =
            read_system_calls(&out)?.into_iter().map(|(name, count)| (name, count as f64 / units)).collect();
    }
    Ok(())
}

/// Samples one run of the load.
fn profile(lab: &Lab, scenario: &Scenario, contender: &Contender, out: &Path) -> anyhow::Result<()> {
    let ids = contender.running.process.tree();
    let sampler = Attached::sampler(&ids, out, lab.cores.load)?;
    let report = lab.drive(&scenario.drive, &contender.aim, || {})?;
    sampler.detach()?;
    if !report.is_clean() {
        bail!("the profiled run failed: {}", report.failures());
    }
    Ok(())
}

/// User instructions a unit: two runs of different length, the difference divided.
fn callgrind(lab: &Lab, scenario: &Scenario, gateway: &Gateway) -> anyhow::Result<f64> {
    let (few, many) = scenario.callgrind_requests;
    let mut points = Vec::new();
    for requests in [few, many] {
        let folder = lab.folder().join(format!("callgrind-{}-{requests}", gateway.name));
        std::fs::create_dir_all(&folder)?;
        let wrapper = callgrind_wrapper(&folder);
        let mut running = gateway.start(&setting(lab, scenario), &wrapper, folder)?;
        let load = Load {
            requests: Some(requests),
            connections: scenario.callgrind_connections,
            duration_s: SLOW_RUN_S,
            ramp_s: None,
            rate: None,
            ..scenario.drive.clone()
        };
        let aim = Aim { url: running.url(), model: running.model.clone(), key: gateway.key.clone() };
        let report = lab.drive(&load, &aim, || {})?;
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

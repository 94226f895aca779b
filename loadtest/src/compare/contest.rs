//! Runs one scenario: all gateways in turn, round after round.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::drive::{self, Report};

use super::figures::Round;
use super::gateway::Gateway;
use super::lab::Lab;
use super::scenario::{Load, Scenario, Unit};
use super::seat::{self, Seat};

/// Rounds that may be thrown away for each that counts.
const ATTEMPTS_PER_ROUND: usize = 3;

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

/// A gateway in the contest.
struct Contender {
    gateway: Gateway,
    /// Empty in a scenario that starts gateways afresh for each turn.
    seat: Option<Seat>,
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
    for contender in contenders {
        let entry = finish(lab, scenario, extras, contender)?;
        outcome.entries.push(entry);
    }
    Ok(outcome)
}

fn enter(lab: &Lab, scenario: &Scenario, gateway: &Gateway) -> anyhow::Result<Contender> {
    let seat = Seat::take(lab, scenario, gateway)?;
    let seat = if scenario.fresh {
        // It was a rehearsal: a gateway that cannot do this scenario is known before the first round.
        seat.leave()?;
        None
    } else {
        Some(seat)
    };
    let entry = Entry {
        name: gateway.name.clone(),
        does: gateway.does.clone(),
        version: gateway.version(),
        rounds: Vec::new(),
        reports: Vec::new(),
        callgrind: None,
        system_calls: Vec::new(),
    };
    Ok(Contender { gateway: gateway.clone(), seat, entry })
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
            results.push(turn(lab, scenario, extras, contender)?);
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

/// One gateway, one round.
fn turn(lab: &Lab, scenario: &Scenario, extras: &Extras, contender: &Contender) -> anyhow::Result<(Report, Round)> {
    if let Some(seat) = &contender.seat {
        return seat.measure(lab, scenario, extras.counters);
    }
    let seat = Seat::take(lab, scenario, &contender.gateway)?;
    let (report, mut round) = seat.measure(lab, scenario, extras.counters)?;
    round.insert("rss_after_kib", seat.memory_after());
    seat.leave()?;
    Ok((report, round))
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

/// What clients wait for, p50 and p99.
fn typical_us(report: &Report) -> anyhow::Result<(f64, f64)> {
    let times = report.wait().context("the run has no answers")?;
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

/// Memory after the load, then the slow extras, for which times no longer matter.
fn finish(lab: &Lab, scenario: &Scenario, extras: &Extras, contender: Contender) -> anyhow::Result<Entry> {
    let Contender { gateway, seat, mut entry } = contender;
    let seat = match seat {
        Some(seat) => {
            let after_kib = seat.memory_after();
            for round in &mut entry.rounds {
                round.insert("rss_after_kib", after_kib);
            }
            seat
        }
        None if extras.profile.is_none() && !extras.system_calls && !extras.callgrind => return Ok(entry),
        None => Seat::take(lab, scenario, &gateway)?,
    };
    if let Some(folder) = &extras.profile {
        let out = folder.join(format!("{}-{}.perf", scenario.name, entry.name));
        seat.profile(lab, scenario, &out)?;
    }
    // A held stream has no end, so these have nothing to count by.
    let countable = scenario.unit != Unit::Stream;
    if extras.system_calls && countable {
        entry.system_calls = seat.system_calls(lab, scenario)?;
    }
    seat.leave()?;
    if extras.callgrind && countable {
        entry.callgrind = Some(seat::callgrind(lab, scenario, &gateway)?);
    }
    Ok(entry)
}

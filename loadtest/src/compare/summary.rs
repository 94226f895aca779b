//! The table that people read.

use std::fmt::Write as _;

use super::contest::{Entry, Outcome};
use super::figures::{FIGURES, Round, median, ratio, summarize};

/// Width of the label column.
const LABEL_WIDTH: usize = 32;
/// Width of a gateway's column.
const COLUMN_WIDTH: usize = 22;
/// System calls that are shown.
const CALLS_SHOWN: usize = 12;

/// Formats one scenario: medians, and ratios to the baseline in brackets.
pub(crate) fn text(outcome: &Outcome, why_no_counters: Option<&str>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _written = write_all(&mut out, outcome, why_no_counters);
    out
}

fn write_all(out: &mut String, outcome: &Outcome, why_no_counters: Option<&str>) -> std::fmt::Result {
    let scenario = &outcome.scenario;
    writeln!(out, "{}: {}", scenario.name, scenario.about)?;
    writeln!(
        out,
        "medians of {} rounds, gateways in turn; in brackets the ratio to {} within the round; {} worker(s) each",
        scenario.rounds, scenario.baseline, scenario.workers
    )?;
    write_floor(out, outcome)?;
    write!(out, "{:<LABEL_WIDTH$}", "")?;
    for entry in &outcome.entries {
        write!(out, "{:>COLUMN_WIDTH$}", entry.name)?;
    }
    writeln!(out)?;
    let none: &[Round] = &[];
    let baseline =
        outcome.entries.iter().find(|entry| entry.name == scenario.baseline).map_or(none, |entry| &entry.rounds);
    for figure in FIGURES {
        let cells: Vec<_> =
            outcome.entries.iter().map(|entry| summarize(figure.key, &entry.rounds, baseline)).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let label = figure.label.replace("{unit}", scenario.unit.name());
        write!(out, "{label:<LABEL_WIDTH$}")?;
        for cell in cells {
            let shown = cell.map_or("-".to_owned(), |cell| {
                let ratio = cell.ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
                format!("{:.*}{ratio}", figure.digits, cell.median)
            });
            write!(out, "{shown:>COLUMN_WIDTH$}")?;
        }
        writeln!(out)?;
    }
    write_callgrind(out, outcome)?;
    write_failures(out, &outcome.entries)?;
    write_calls(out, outcome)?;
    for entry in &outcome.entries {
        let version = entry.version.as_deref().unwrap_or("version unknown");
        writeln!(out, "{}: {version}; {}", entry.name, entry.does)?;
    }
    for (name, reason) in &outcome.absent {
        writeln!(out, "{name}: NOT RUN: {reason}")?;
    }
    if let Some(reason) = why_no_counters {
        writeln!(
            out,
            "instructions: not counted, {reason}; CPU time is from the scheduler, its split from 10 ms ticks"
        )?;
    }
    Ok(())
}

fn write_floor(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let medians: Vec<f64> = outcome
        .floors
        .iter()
        .flat_map(|(before, after)| [before, after])
        .filter_map(crate::drive::Report::wait)
        .map(|times| times.p50_us)
        .collect();
    let Some(middle) = median(&medians) else {
        return Ok(());
    };
    writeln!(
        out,
        "straight to the provider p50 {middle:.1} us; {} rounds thrown away for a drift over {} %",
        outcome.thrown_away, outcome.scenario.floor_drift_percent_max
    )
}

fn write_callgrind(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let base =
        outcome.entries.iter().find(|entry| entry.name == outcome.scenario.baseline).and_then(|entry| entry.callgrind);
    if outcome.entries.iter().all(|entry| entry.callgrind.is_none()) {
        return Ok(());
    }
    let label = format!("user instr. a {}, callgrind", outcome.scenario.unit.name());
    write!(out, "{label:<LABEL_WIDTH$}")?;
    for entry in &outcome.entries {
        let shown = entry.callgrind.map_or("-".to_owned(), |own| {
            let ratio = base.and_then(|base| ratio(own, base)).map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
            format!("{own:.0}{ratio}")
        });
        write!(out, "{shown:>COLUMN_WIDTH$}")?;
    }
    writeln!(out)
}

fn write_failures(out: &mut String, entries: &[Entry]) -> std::fmt::Result {
    for entry in entries {
        for (index, report) in entry.reports.iter().enumerate() {
            if !report.is_clean() {
                writeln!(
                    out,
                    "FAILED: {} in round {}: {} of {} right; {}",
                    entry.name,
                    index + 1,
                    report.ok,
                    report.ok + report.failed + report.missed,
                    report.failures()
                )?;
            }
        }
    }
    Ok(())
}

fn write_calls(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    for entry in &outcome.entries {
        if entry.system_calls.is_empty() {
            continue;
        }
        let sum: f64 = entry.system_calls.iter().map(|(_, count)| count).sum();
        write!(out, "system calls a {}, {}: {sum:.2} =", outcome.scenario.unit.name(), entry.name)?;
        for (name, count) in entry.system_calls.iter().take(CALLS_SHOWN) {
            if *count >= 0.005 {
                write!(out, " {name} {count:.2}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

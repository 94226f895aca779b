//! What a run reports, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::connection::Shared;
use super::pace::Loop;
use super::plan::Mode;

/// Percentiles of one histogram, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Recorded values.
    pub(crate) count: u64,
    /// Arithmetic mean.
    pub(crate) mean_us: f64,
    /// Median.
    pub(crate) p50_us: f64,
    /// 90 of 100 are at most this.
    pub(crate) p90_us: f64,
    /// 99 of 100 are at most this.
    pub(crate) p99_us: f64,
    /// 999 of 1,000 are at most this.
    pub(crate) p999_us: f64,
    /// Longest.
    pub(crate) max_us: f64,
}

impl Times {
    /// Reads a histogram of nanoseconds; `None` when it is empty.
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Some(Self {
            count: histogram.len(),
            mean_us: histogram.mean() / 1_000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1_000.0,
        })
    }
}

/// Result of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Address and path.
    pub(crate) target: String,
    /// `closed`, `open` or `hold`, with what it asks for.
    pub(crate) load: String,
    /// Connections opened at the start.
    pub(crate) connections: u64,
    /// From the start to the last answer, in seconds.
    pub(crate) elapsed_s: f64,
    /// Requests answered whole and right.
    pub(crate) ok: u64,
    /// Failed requests.
    pub(crate) failed: u64,
    /// Failed requests by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Statuses other than 200.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Start of the first bad answer.
    pub(crate) sample: Option<String>,
    /// Requests an open loop owed and had no free connection for.
    pub(crate) missed: u64,
    /// Answers a second.
    pub(crate) rate_per_s: f64,
    /// Events before `[DONE]`.
    pub(crate) events: u64,
    /// Bytes of all bodies.
    pub(crate) body_bytes: u64,
    /// Connections made again.
    pub(crate) reconnects: u64,
    /// Time to the whole answer.
    pub(crate) latency: Option<Times>,
    /// Time to the first event.
    pub(crate) first_event: Option<Times>,
    /// Time between events.
    pub(crate) gap: Option<Times>,
    /// How late an open loop sent.
    pub(crate) lag: Option<Times>,
}

impl Report {
    /// Reads what the connections counted.
    pub(crate) fn of(shared: &Shared) -> Self {
        let tally = shared.tally.borrow();
        let plan = &shared.plan;
        let elapsed_s =
            tally.last_answer.map_or(0.0, |last| last.saturating_duration_since(shared.start.get()).as_secs_f64());
        let load = match (plan.mode, plan.shape) {
            (Mode::Hold, _) => "hold".to_owned(),
            (_, Loop::Closed) => "closed".to_owned(),
            (_, Loop::Open { rate }) => format!("open, {rate} a second"),
        };
        Self {
            target: format!("http://{}{}", plan.target.addr, plan.target.path),
            load,
            connections: u64::try_from(plan.connections).unwrap_or(u64::MAX),
            elapsed_s,
            ok: tally.ok,
            failed: tally.fault_count(),
            faults: tally.faults.iter().map(|(fault, count)| (fault.name().to_owned(), *count)).collect(),
            statuses: tally.statuses.clone(),
            sample: tally.sample.clone(),
            missed: shared.pace.borrow().missed(),
            rate_per_s: if elapsed_s > 0.0 { tally.ok as f64 / elapsed_s } else { 0.0 },
            events: tally.events,
            body_bytes: tally.body_bytes,
            reconnects: tally.reconnects,
            latency: Times::of(&tally.latency),
            first_event: Times::of(&tally.first_event),
            gap: Times::of(&tally.gap),
            lag: Times::of(&tally.lag),
        }
    }

    /// What clients wait for: the first event of a stream, otherwise the whole answer.
    pub(crate) fn wait(&self) -> Option<Times> {
        self.first_event.or(self.latency)
    }

    /// Whether every request that was wanted was answered right.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.missed == 0 && self.ok > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "target       {}", self.target)?;
        writeln!(out, "load         {}, {} connections, {:.3} s", self.load, self.connections, self.elapsed_s)?;
        writeln!(out, "answers      {} right, {} failed, {:.1} a second", self.ok, self.failed, self.rate_per_s)?;
        writeln!(out, "failed       {}", self.failures())?;
        if let Some(sample) = &self.sample {
            writeln!(out, "first bad    {}", sample.escape_debug())?;
        }
        writeln!(
            out,
            "read         {} body bytes, {} events, {} reconnects",
            self.body_bytes, self.events, self.reconnects
        )?;
        for (name, times) in
            [("latency", self.latency), ("first event", self.first_event), ("gap", self.gap), ("send lag", self.lag)]
        {
            if let Some(t) = times {
                writeln!(
                    out,
                    "{name:<12} p50 {:.1} us, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}, mean {:.1} ({} values)",
                    t.p50_us, t.p90_us, t.p99_us, t.p999_us, t.max_us, t.mean_us, t.count
                )?;
            }
        }
        Ok(())
    }
}

impl Report {
    /// Failures by kind on one line; `none` without any.
    pub(crate) fn failures(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, count: u64| {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _written = write!(text, "{comma}{name} {count}");
        };
        for (name, count) in &self.faults {
            add(name, *count);
        }
        for (status, count) in &self.statuses {
            add(&format!("(status {status})"), *count);
        }
        if self.missed > 0 {
            add("never sent", self.missed);
        }
        if text.is_empty() {
            text.push_str("none");
        }
        text
    }
}

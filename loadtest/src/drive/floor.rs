//! Runs straight to the provider, before and after.
//!
//! On a shared machine the same run can be twice as slow a minute later. What a gateway adds is only known when the
//! way without it was equally fast before and after; otherwise there is no result.

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::report::Report;

/// The two runs around a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Floor {
    /// Median wait before, in microseconds.
    pub(crate) before_us: f64,
    /// Median wait after, in microseconds.
    pub(crate) after_us: f64,
    /// Change from before to after, in percent of the smaller.
    pub(crate) drift_percent: f64,
}

impl Floor {
    /// Compares the runs before and after.
    ///
    /// # Errors
    /// A run with failures or without answers, or a drift over `drift_percent_max`.
    pub(crate) fn between(before: &Report, after: &Report, drift_percent_max: f64) -> anyhow::Result<Self> {
        let (before_us, after_us) = (median(before)?, median(after)?);
        let drift_percent = drift(before_us, after_us);
        if drift_percent > drift_percent_max {
            bail!(
                "no result: straight to the provider the median went from {before_us:.1} to {after_us:.1} us, \
                 {drift_percent:.1} % where {drift_percent_max} % are allowed; the machine is too noisy, run it again"
            );
        }
        Ok(Self { before_us, after_us, drift_percent })
    }

    /// What the median of `report` adds to the floor, in microseconds; negative within noise.
    pub(crate) fn added_us(&self, report: &Report) -> Option<f64> {
        let floor_us = f64::midpoint(self.before_us, self.after_us);
        report.wait().map(|wait| wait.p50_us - floor_us)
    }
}

fn median(report: &Report) -> anyhow::Result<f64> {
    if !report.is_clean() {
        bail!("no result: the run straight to {} has failures: {}", report.target, report.failures());
    }
    report.wait().map(|wait| wait.p50_us).context("no result: the run straight to the provider has no answers")
}

/// Difference in percent of the smaller value; 0 when both are 0.
pub(crate) fn drift(one: f64, other: f64) -> f64 {
    let smaller = one.min(other);
    let difference = (one - other).abs();
    if difference == 0.0 {
        return 0.0;
    }
    if smaller <= 0.0 {
        return f64::INFINITY;
    }
    difference / smaller * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_symmetric_and_relative_to_the_smaller() {
        for (one, other, percent) in [
            (100.0, 100.0, 0.0),
            (100.0, 110.0, 10.0),
            (110.0, 100.0, 10.0),
            (50.0, 100.0, 100.0),
            (0.0, 0.0, 0.0),
            (0.0, 1.0, f64::INFINITY),
        ] {
            let seen = drift(one, other);
            assert!(seen == percent || (seen - percent).abs() < 1e-9, "{one} {other}: {seen}");
        }
    }

    fn report(p50_us: f64, failed: u64) -> Report {
        let wait =
            format!(r#"{{"count":9,"mean_us":1,"p50_us":{p50_us},"p90_us":1,"p99_us":1,"p999_us":1,"max_us":1}}"#);
        let text = format!(
            r#"{{"target":"t","load":"closed","connections":1,"elapsed_s":1,"ok":9,"failed":{failed},"faults":{{}},
            "statuses":{{}},"sample":null,"missed":0,"rate_per_s":9,"events":0,"body_bytes":0,"reconnects":0,
            "latency":{wait},"first_event":null,"gap":null,"lag":null}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_floor_that_drifted_or_failed_gives_no_result() {
        for (name, before, after, allowed, added_us) in [
            ("quiet", report(100.0, 0), report(104.0, 0), 10.0, Some(48.0)),
            ("drifted", report(100.0, 0), report(120.0, 0), 10.0, None),
            ("allowed", report(100.0, 0), report(120.0, 0), 20.0, Some(40.0)),
            ("failed", report(100.0, 1), report(100.0, 0), 10.0, None),
        ] {
            let floor = Floor::between(&before, &after, allowed);
            let seen = floor.ok().and_then(|floor| floor.added_us(&report(150.0, 0)));
            assert_eq!(seen, added_us, "{name}");
        }
    }
}

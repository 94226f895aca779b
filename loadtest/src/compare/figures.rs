//! Medians and ratios of what rounds measured.

use std::collections::BTreeMap;

use serde::Serialize;

/// One measured figure: its key in the raw file, its label and unit in tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// Key.
    pub(crate) key: &'static str,
    /// Label; `{unit}` stands for request, event or stream.
    pub(crate) label: &'static str,
    /// Digits after the point.
    pub(crate) digits: usize,
}

const fn figure(key: &'static str, label: &'static str, digits: usize) -> Figure {
    Figure { key, label, digits }
}

/// All figures, in the order of tables.
pub(crate) const FIGURES: [Figure; 19] = [
    figure("rate", "{unit}s a second", 0),
    figure("p50_us", "latency p50, us", 1),
    figure("p99_us", "latency p99, us", 1),
    figure("added_p50_us", "added over floor p50, us", 1),
    figure("added_p99_us", "added over floor p99, us", 1),
    figure("first_p50_us", "first event p50, us", 1),
    figure("first_p99_us", "first event p99, us", 1),
    figure("gap_p99_us", "gap between events p99, us", 1),
    figure("cpu_us", "CPU a {unit}, us", 2),
    figure("cpu_user_us", "  of it user, us (by ticks)", 2),
    figure("cpu_system_us", "  of it system, us (by ticks)", 2),
    figure("busy_percent", "gateway's core busy, %", 0),
    figure("instructions_user", "user instructions a {unit}", 0),
    figure("instructions_kernel", "kernel instructions a {unit}", 0),
    figure("instructions", "instructions a {unit}", 0),
    figure("rss_idle_kib", "RSS idle, KiB", 0),
    figure("rss_loaded_kib", "RSS loaded (peak), KiB", 0),
    figure("rss_after_kib", "RSS 2 s after, KiB", 0),
    figure("rss_stream_kib", "RSS a held stream, KiB", 2),
];

/// What one gateway measured in one round.
pub(crate) type Round = BTreeMap<&'static str, f64>;

/// Median of a figure over rounds and its ratio to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Cell {
    /// Median over rounds.
    pub(crate) median: f64,
    /// Median over rounds of the ratio to the baseline in the same round; `None` when the baseline is 0.
    pub(crate) ratio: Option<f64>,
}

/// Summarizes a figure of one gateway against the baseline, round by round.
///
/// Ratios are taken inside a round and only then medians: a slow minute slows both sides of a ratio.
pub(crate) fn summarize(key: &str, rounds: &[Round], baseline: &[Round]) -> Option<Cell> {
    let values: Vec<f64> = rounds.iter().filter_map(|round| round.get(key).copied()).collect();
    let ratios: Vec<f64> =
        rounds.iter().zip(baseline).filter_map(|(round, base)| ratio(*round.get(key)?, *base.get(key)?)).collect();
    Some(Cell { median: median(&values)?, ratio: median(&ratios) })
}

/// Median; the mean of the middle two for an even count, `None` for none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let high = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(high);
    }
    let low = *sorted.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(low, high))
}

/// `value / base`; `None` when that says nothing.
pub(crate) fn ratio(value: f64, base: f64) -> Option<f64> {
    if base <= 0.0 || !value.is_finite() || !base.is_finite() {
        return None;
    }
    Some(value / base)
}

/// Cost of one unit from two runs of different length: what both have once, such as the start, falls out.
pub(crate) fn difference_quotient(few: (u64, u64), many: (u64, u64)) -> Option<f64> {
    let units = many.0.checked_sub(few.0).filter(|units| *units > 0)?;
    let cost = many.1.checked_sub(few.1)?;
    Some(cost as f64 / units as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle() {
        for (values, want) in [
            (&[][..], None),
            (&[3.0][..], Some(3.0)),
            (&[9.0, 1.0, 2.0][..], Some(2.0)),
            (&[4.0, 1.0, 2.0, 9.0][..], Some(3.0)),
        ] {
            assert_eq!(median(values), want, "{values:?}");
        }
    }

    #[test]
    fn ratio_needs_a_base() {
        for (value, base, want) in
            [(3.0, 2.0, Some(1.5)), (0.0, 2.0, Some(0.0)), (3.0, 0.0, None), (3.0, -1.0, None), (f64::NAN, 1.0, None)]
        {
            assert_eq!(ratio(value, base), want, "{value} {base}");
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rounds = |values: [f64; 3]| values.map(|value| Round::from([("cpu_us", value)]));
        // The machine is twice as slow in the second round and ten times in the third.
        let own = rounds([10.0, 20.0, 100.0]);
        let base = rounds([20.0, 40.0, 200.0]);
        let cell = summarize("cpu_us", &own, &base).unwrap();
        assert_eq!(cell.median, 20.0);
        assert_eq!(cell.ratio, Some(0.5));
        assert_eq!(summarize("p50_us", &own, &base), None, "not measured");
    }

    #[test]
    fn start_up_falls_out_of_the_quotient() {
        for (few, many, want) in [
            ((100, 1_000_000 + 2_000), (1_100, 1_000_000 + 22_000), Some(20.0)),
            ((100, 5), (100, 10), None),
            ((100, 10), (200, 5), None),
        ] {
            assert_eq!(difference_quotient(few, many), want, "{few:?} {many:?}");
        }
    }
}

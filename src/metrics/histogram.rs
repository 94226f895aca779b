//! Histograms of durations with fixed, doubling buckets.
//!
//! The bucket of a value is found by counting leading zeros: no search, no logarithm. Bounds are inclusive, as Prometheus
//! wants them; durations are rounded up to whole microseconds so that a value never lands below its bound.

use std::time::Duration;

use super::cell::Counter;

/// Lowest bound of [`Doubling`], in microseconds. With factor 2 it meets the OpenTelemetry bounds 0.01, 0.02 .. 81.92 s.
const DOUBLING_BASE_US: u64 = 1_250;
/// Finite bounds of [`Doubling`]: 1.25 ms to 655.36 s.
pub(super) const DOUBLING_BOUNDS: usize = 20;
/// Finite bounds of [`Fine`]: 4, 6, 8, 12, 16 .. 65,536 us.
pub(super) const FINE_BOUNDS: usize = 29;

/// Requests and first tokens: each bound is twice the one before, 1.25 ms to 655.36 s.
#[derive(Debug, Default)]
pub(super) struct Doubling(Cells<{ DOUBLING_BOUNDS + 1 }>);

/// Our own overhead: two bounds for each doubling, 4 us to 65.536 ms.
#[derive(Debug, Default)]
pub(super) struct Fine(Cells<{ FINE_BOUNDS + 1 }>);

/// One count for each finite bound, then the count of all that is above the last.
#[derive(Debug)]
struct Cells<const N: usize> {
    counts: [Counter; N],
    sum_us: Counter,
}

/// What several histograms of one layout hold together, read once so that its lines agree with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Total<const N: usize> {
    counts: [u64; N],
    sum_us: u64,
}

impl Doubling {
    /// Counts one duration. Only the owning thread may call it.
    #[inline]
    pub(super) fn record(&self, duration: Duration) {
        let us = micros_up(duration);
        let steps = us.saturating_sub(1) / DOUBLING_BASE_US;
        let bucket = u64::BITS - steps.leading_zeros();
        self.0.count(bucket, us);
    }

    /// Adds what this histogram holds to `total`.
    pub(super) fn add_to(&self, total: &mut Total<{ DOUBLING_BOUNDS + 1 }>) {
        self.0.add_to(total);
    }

    /// Finite bounds in microseconds, rising.
    pub(super) fn bounds_us() -> impl Iterator<Item = u64> {
        (0..DOUBLING_BOUNDS).map(|step| DOUBLING_BASE_US << step)
    }
}

impl Fine {
    /// Counts one duration. Only the owning thread may call it.
    #[inline]
    pub(super) fn record(&self, duration: Duration) {
        let us = micros_up(duration);
        // `below` is in [4 << step, 8 << step); its next bit says which half.
        let below = us.saturating_sub(1);
        let bucket = match (u64::BITS - below.leading_zeros()).checked_sub(3) {
            None => 0,
            Some(step) => {
                let upper_half = (below >> (step + 1)) & 1 == 1;
                1 + 2 * step + u32::from(upper_half)
            }
        };
        self.0.count(bucket, us);
    }

    /// Adds what this histogram holds to `total`.
    pub(super) fn add_to(&self, total: &mut Total<{ FINE_BOUNDS + 1 }>) {
        self.0.add_to(total);
    }

    /// Finite bounds in microseconds, rising.
    pub(super) fn bounds_us() -> impl Iterator<Item = u64> {
        (0..FINE_BOUNDS).map(|index| if index.is_multiple_of(2) { 4 << (index / 2) } else { 6 << (index / 2) })
    }
}

impl<const N: usize> Cells<N> {
    #[inline]
    fn count(&self, bucket: u32, us: u64) {
        let last = N - 1;
        let index = usize::try_from(bucket).unwrap_or(last).min(last);
        if let Some(cell) = self.counts.get(index) {
            cell.inc();
        }
        self.sum_us.add(us);
    }

    fn add_to(&self, total: &mut Total<N>) {
        for (sum, cell) in total.counts.iter_mut().zip(&self.counts) {
            *sum = sum.wrapping_add(cell.get());
        }
        total.sum_us = total.sum_us.wrapping_add(self.sum_us.get());
    }
}

impl<const N: usize> Default for Cells<N> {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| Counter::default()), sum_us: Counter::default() }
    }
}

impl<const N: usize> Default for Total<N> {
    fn default() -> Self {
        Self { counts: [0; N], sum_us: 0 }
    }
}

impl<const N: usize> Total<N> {
    /// Counts up to and including each finite bound, then the count of everything.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = u64> + '_ {
        self.counts.iter().scan(0u64, |sum, count| {
            *sum = sum.wrapping_add(*count);
            Some(*sum)
        })
    }

    /// How many durations were counted.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations together, in microseconds.
    pub(super) fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

/// Whole microseconds, rounded up.
#[inline]
fn micros_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_nanos().div_ceil(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slow, obvious way: the first bound that is not below the value.
    fn expected(bounds: &[u64], us: u64) -> usize {
        bounds.iter().position(|bound| us <= *bound).unwrap_or(bounds.len())
    }

    /// Values around each bound, and the extremes.
    fn probes(bounds: &[u64]) -> Vec<u64> {
        let mut probes = vec![0, 1, 2, 3, u64::MAX / 2];
        for bound in bounds {
            probes.extend([bound - 1, *bound, bound + 1, bound + bound / 3]);
        }
        probes
    }

    #[test]
    fn doubling_bucket_is_the_first_bound_not_below() {
        let bounds: Vec<u64> = Doubling::bounds_us().collect();
        assert_eq!(bounds.len(), DOUBLING_BOUNDS);
        assert_eq!((bounds[0], bounds[3]), (1_250, 10_000));
        assert_eq!(bounds[DOUBLING_BOUNDS - 1], 655_360_000);
        for us in probes(&bounds) {
            let histogram = Doubling::default();
            histogram.record(Duration::from_micros(us));
            let mut total = Total::default();
            histogram.add_to(&mut total);
            assert_eq!(total.counts[expected(&bounds, us)], 1, "{us} us");
            assert_eq!((total.count(), total.sum_us()), (1, us), "{us} us");
        }
    }

    #[test]
    fn fine_bucket_is_the_first_bound_not_below() {
        let bounds: Vec<u64> = Fine::bounds_us().collect();
        assert_eq!(bounds.len(), FINE_BOUNDS);
        assert_eq!(&bounds[..6], &[4, 6, 8, 12, 16, 24]);
        assert_eq!(bounds[FINE_BOUNDS - 1], 65_536);
        for us in probes(&bounds) {
            let histogram = Fine::default();
            histogram.record(Duration::from_micros(us));
            let mut total = Total::default();
            histogram.add_to(&mut total);
            assert_eq!(total.counts[expected(&bounds, us)], 1, "{us} us");
        }
    }

    #[test]
    fn part_of_a_microsecond_counts_above_the_bound() {
        let histogram = Fine::default();
        histogram.record(Duration::from_nanos(4_001));
        let mut total = Total::default();
        histogram.add_to(&mut total);
        assert_eq!((total.counts[0], total.counts[1]), (0, 1));
    }

    #[test]
    fn cumulative_counts_end_in_the_count_of_all() {
        let histogram = Fine::default();
        for us in [1, 5, 5, 1_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let mut total = Total::default();
        histogram.add_to(&mut total);
        let lines: Vec<u64> = total.cumulative().collect();
        assert_eq!((lines[0], lines[1], lines[28], lines[29]), (1, 3, 3, 4));
        assert_eq!(total.count(), 4);
    }
}

//! A moment of the monotonic clock, in one word.
//!
//! A request compares and subtracts moments a dozen times. As nanoseconds in a `u64` each of that is an instruction or
//! two, and a moment is half as large as the standard library's.

use std::{
    ops::{Add, AddAssign},
    time::Duration,
};

use super::clock::now;

/// A moment of the monotonic clock. Sums that pass its range, 584 years after the machine started, stay at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's zero, before every moment.
    pub(super) const START: Self = Self(0);

    /// The moment so long after the clock's zero.
    #[inline]
    pub(super) fn of(time: Duration) -> Self {
        Self(nanos(time))
    }

    /// Time from `earlier` to this moment; zero if it is not earlier.
    #[must_use]
    #[inline]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds from `earlier` to this moment; zero if it is not earlier.
    #[must_use]
    #[inline]
    pub fn saturating_nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Time from this moment until now.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        now().saturating_duration_since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    #[inline]
    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }
}

impl AddAssign<Duration> for Instant {
    #[inline]
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

#[inline]
fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_add_and_subtract_as_time_does_and_stop_at_their_ends() {
        let start = Instant::of(Duration::new(5, 7));
        let later = start + Duration::new(1, 999_999_999);
        assert_eq!(later.saturating_duration_since(start), Duration::new(1, 999_999_999));
        assert_eq!(start.saturating_duration_since(later), Duration::ZERO);
        assert!(
            start + Duration::MAX > later && start + Duration::MAX + Duration::from_secs(1) == start + Duration::MAX
        );
        assert!(Instant::START < start);
    }

    #[test]
    fn the_clock_goes_on() {
        let before = now();
        std::thread::sleep(Duration::from_millis(2));
        let passed = before.elapsed();
        assert!((Duration::from_millis(2)..Duration::from_secs(60)).contains(&passed), "{passed:?}");
    }
}

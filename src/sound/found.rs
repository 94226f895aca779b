//! What walks over files find, and what they go by.

/// What a walk over a file found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The most that it can last, in milliseconds.
    Proven(u64),
    /// What it says of itself, in milliseconds.
    Claimed(u64),
}

/// A sum of samples at rates that may differ, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum(u128);

impl Sum {
    pub(super) fn add(&mut self, samples: u64, rate: u64) {
        if rate > 0 {
            self.0 = self.0.saturating_add((u128::from(samples) * 1_000_000_000).div_ceil(u128::from(rate)));
        }
    }

    pub(super) fn millis(self) -> u64 {
        // Each frame is rounded up to a nanosecond; so many of them never make a millisecond.
        u64::try_from(self.0 / 1_000_000).unwrap_or(u64::MAX)
    }
}

/// The first `N` bytes at a place.
pub(super) fn bytes_at<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..)?.first_chunk().copied()
}

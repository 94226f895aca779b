//! How long the answers of a target usually are.
//!
//! And how many searches and pictures they cost beside their tokens.
//!
//! A reservation needs a bound of the answer. Where no cap is sent to the provider, the longest recent answer stands in for
//! it: what an answer has above that is the overshoot that `/metrics` shows.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A bound that rises at once and sinks slowly; that of searches and pictures, which are few, does not sink.
#[derive(Debug, Default)]
pub struct Learned {
    output: AtomicU64,
    searches: AtomicU32,
    images: AtomicU32,
}

/// One answer that is shorter lets the bound sink by this part of the difference.
const SINKS: u64 = 256;

impl Learned {
    /// Notes the length of an answer, in tokens.
    pub fn observe(&self, output: u64) {
        // Two workers may overwrite each other: then one answer is not learned from.
        let known = self.output.load(Ordering::Relaxed);
        let next = if output >= known { output } else { known - (known - output) / SINKS };
        if next != known {
            self.output.store(next, Ordering::Relaxed);
        }
    }

    /// Notes what an answer cost beside its tokens.
    pub fn observe_made(&self, searches: u32, images: u32) {
        self.searches.fetch_max(searches, Ordering::Relaxed);
        self.images.fetch_max(images, Ordering::Relaxed);
    }

    /// The most searches, and the most pictures, of one answer so far.
    #[must_use]
    pub fn made(&self) -> (u32, u32) {
        (self.searches.load(Ordering::Relaxed), self.images.load(Ordering::Relaxed))
    }

    /// What to reserve for the next answer, in tokens; never more than `most`. Without any experience it is `most`.
    #[must_use]
    pub fn bound(&self, most: u64) -> u64 {
        match self.output.load(Ordering::Relaxed) {
            0 => most,
            known => most.min(known.saturating_add(known / 4).saturating_add(64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_rises_at_once_and_sinks_slowly() {
        let learned = Learned::default();
        assert_eq!(learned.bound(4_096), 4_096, "nothing is known");
        learned.observe(400);
        assert_eq!(learned.bound(4_096), 564);
        (0..100).for_each(|_| learned.observe(10));
        let later = learned.bound(4_096);
        assert!((300..564).contains(&later), "{later}");
        learned.observe_made(3, 0);
        learned.observe_made(1, 2);
        assert_eq!(learned.made(), (3, 2));
        learned.observe(9_000);
        assert_eq!(learned.bound(4_096), 4_096, "never more than the model makes");
    }
}

//! Sums over the last minutes, in slots.

use std::collections::VecDeque;

use crate::{control::ledger::Observed, usage::Distribution};

/// Slots of a window: what is sixty-first is too old.
const SLOTS: u64 = 60;

/// What happened in some time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) requests: u64,
    /// Those that failed or were refused.
    pub(super) failed: u64,
    /// Those that a limit refused.
    pub(super) limited: u64,
    /// Those without a price.
    pub(super) unpriced: u64,
    /// Those with figures that could not be true.
    pub(super) suspects: u64,
    /// Those that the platform's credential had to serve.
    pub(super) fallbacks: u64,
    /// Attempts at providers.
    pub(super) attempts: u64,
    /// Attempts that failed by the provider's fault.
    pub(super) broken: u64,
    /// Attempts whose credential was refused.
    pub(super) unauthorized: u64,
    pub(super) duration: Distribution,
}

impl Counted {
    /// What one sum of the book says.
    pub(super) fn of(observed: &Observed) -> Self {
        let requests = observed.tally.requests;
        let all_if = |holds: bool| if holds { requests } else { 0 };
        Self {
            requests,
            failed: all_if(observed.failed),
            limited: all_if(is_of_a_limit(observed.error)),
            unpriced: observed.tally.unpriced,
            suspects: observed.suspects,
            fallbacks: observed.fallbacks,
            duration: observed.tally.duration.clone(),
            ..Self::default()
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.limited += other.limited;
        self.unpriced += other.unpriced;
        self.suspects += other.suspects;
        self.fallbacks += other.fallbacks;
        self.attempts += other.attempts;
        self.broken += other.broken;
        self.unauthorized += other.unauthorized;
        self.duration.merge(&other.duration);
    }
}

/// Whether this code of an error says that a limit refused.
fn is_of_a_limit(code: &str) -> bool {
    matches!(
        code,
        "rate_limit_exceeded"
            | "token_limit_exceeded"
            | "concurrency_limit_exceeded"
            | "insufficient_quota"
            | "quota_reserved"
            | "insufficient_credits"
    )
}

/// The sums of one rule. Times are seconds since 1970.
#[derive(Debug)]
pub(super) struct Window {
    slot_seconds: u64,
    slots: VecDeque<(u64, Counted)>,
    begun: u64,
}

impl Window {
    /// A window of so many seconds that begins empty now.
    pub(super) fn new(seconds: u64, now: u64) -> Self {
        Self { slot_seconds: (seconds / SLOTS).max(1), slots: VecDeque::new(), begun: now }
    }

    /// Adds to the present slot.
    pub(super) fn add(&mut self, now: u64, counted: &Counted) {
        let slot = now / self.slot_seconds;
        match self.slots.back_mut() {
            // A clock that was set back counts into the newest slot.
            Some((last, sum)) if *last >= slot => sum.merge(counted),
            _ => self.slots.push_back((slot, counted.clone())),
        }
    }

    /// The sum of what is young enough.
    pub(super) fn sum(&mut self, now: u64) -> Counted {
        let oldest = (now / self.slot_seconds).saturating_sub(SLOTS - 1);
        while self.slots.front().is_some_and(|(slot, _)| *slot < oldest) {
            self.slots.pop_front();
        }
        let mut sum = Counted::default();
        self.slots.iter().for_each(|(_, counted)| sum.merge(counted));
        sum
    }

    /// Whether it looks back as far as it should; after a start it does not.
    pub(super) fn is_whole(&self, now: u64) -> bool {
        now.saturating_sub(self.begun) >= self.slot_seconds * SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_forgets_what_is_older_than_it_is_long() {
        let requests = |requests| Counted { requests, ..Counted::default() };
        let mut window = Window::new(60, 1_000);
        window.add(1_000, &requests(1));
        window.add(1_030, &requests(2));
        window.add(1_030, &requests(4));
        // The clock was set back.
        window.add(1_020, &requests(8));
        for (now, want, whole) in [(1_030, 15, false), (1_059, 15, false), (1_060, 14, true), (1_090, 0, true)] {
            assert_eq!((window.sum(now).requests, window.is_whole(now)), (want, whole), "{now}");
        }
    }

    #[test]
    fn refusals_of_limits_are_told_from_other_errors() {
        for (code, limited) in
            [("rate_limit_exceeded", 3), ("insufficient_quota", 3), ("upstream_rate_limited", 0), ("", 0)]
        {
            let mut observed = Observed { error: code, ..Observed::default() };
            observed.tally.requests = 3;
            assert_eq!(Counted::of(&observed).limited, limited, "{code}");
        }
    }
}

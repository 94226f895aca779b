//! A bucket that refills evenly: the maximum in a window.
//!
//! Held as what is missing from a full bucket, and as of when. What refills is counted in whole units and the time of the
//! rest is kept, rounded so that a client never gets more.

use std::time::Duration;

use super::ask::{Ask, Reading, Reason, Refusal, Settlement, Taken};
use super::atomic::Pair;
use super::pending::Pending;
use super::rule::Kind;
use super::tentative::Tentative;
use super::window::{Moment, nanos};

/// The counter of a token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    length_ns: u64,
    /// As of when, on the steady clock; what is missing from the full bucket.
    level: Pair,
    /// What is reserved and not settled.
    pending: Pending,
}

impl Bucket {
    pub(super) fn new(length: Duration, kind: Kind) -> Self {
        Self { length_ns: nanos(length).max(1), level: Pair::default(), pending: Pending::of(kind) }
    }

    /// Units that refill in so many nanoseconds, rounded down.
    fn refill(&self, elapsed: u64, max: u64) -> u64 {
        let units = u128::from(elapsed) * u128::from(max) / u128::from(self.length_ns);
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// Nanoseconds in which so many units refill, rounded up.
    fn time_of(&self, units: u64, max: u64) -> u64 {
        let time = (u128::from(units) * u128::from(self.length_ns)).div_ceil(u128::from(max.max(1)));
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// The level as of a later time. A clock that stands back refills nothing.
    fn at(&self, (then, missing): (u64, u64), now: u64, max: u64) -> (u64, u64) {
        let refilled = self.refill(now.saturating_sub(then), max);
        if refilled >= missing {
            return (now.max(then), 0);
        }
        (then.saturating_add(self.time_of(refilled, max)), missing - refilled)
    }

    pub(super) fn take(&self, ask: &Ask, tentative: &Tentative) -> Result<Taken, Refusal> {
        let mut looks = 0;
        loop {
            let look = tentative.look();
            let seen = self.level.load();
            let (then, missing) = self.at(seen, ask.at.steady, ask.terms.max);
            let burst = if ask.terms.max == 0 { 0 } else { ask.terms.burst };
            if let Some(next) = ask.fits(missing, burst) {
                if self.level.swap(seen, (then, next)).is_err() {
                    continue;
                }
                self.pending.add(ask.amount);
                // When this amount will have refilled: later it cannot be refunded.
                let mark = then.saturating_add(self.time_of(next, ask.terms.max));
                return Ok(Taken { mark, lease_low: false });
            }
            if tentative.is_final(look, ask.own, &mut looks) {
                return Err(self.refusal((then, missing), burst, ask));
            }
        }
    }

    fn refusal(&self, (then, missing): (u64, u64), burst: u64, ask: &Ask) -> Refusal {
        let posted = missing.saturating_sub(self.pending.load());
        let reason = if ask.fits(posted, burst).is_some() { Reason::Reserved } else { Reason::Reached };
        let target = burst.checked_sub(ask.amount).filter(|_| burst > 0);
        let resets_in = target.map(|target| {
            let ready = then.saturating_add(self.time_of(missing.saturating_sub(target), ask.terms.max));
            Duration::from_nanos(ready.saturating_sub(ask.at.steady))
        });
        Refusal { reason, free: burst.saturating_sub(missing), resets_in }
    }

    /// Returns what is missing after it. Only what has not refilled yet comes back.
    pub(super) fn settle(&self, end: &Settlement) -> u64 {
        let excess = end.used.saturating_sub(end.reserved);
        if excess > 0 {
            self.level.update(|(then, missing)| Some((then, missing.saturating_add(excess))));
        } else if end.used < end.reserved {
            self.refund(end.mark, end.reserved - end.used, end.terms.max, end.at);
        }
        self.pending.remove(end.reserved);
        self.level.load().1
    }

    pub(super) fn give_back(&self, mark: u64, amount: u64, max: u64, at: Moment) {
        self.refund(mark, amount, max, at);
        self.pending.remove(amount);
    }

    fn refund(&self, mark: u64, amount: u64, max: u64, at: Moment) {
        self.level.update(|seen| {
            let (then, missing) = self.at(seen, at.steady, max);
            let left = self.refill(mark.saturating_sub(at.steady.max(then)), max);
            Some((then, missing.saturating_sub(amount.min(left))))
        });
    }

    pub(super) fn read(&self, max: u64, at: Moment) -> Reading {
        let (then, missing) = self.at(self.level.load(), at.steady, max);
        let pending = self.pending.load().min(missing);
        let full = then.saturating_add(self.time_of(missing, max));
        let empty_in = Duration::from_nanos(full.saturating_sub(at.steady));
        Reading { posted: missing - pending, pending, empty_in: Some(empty_in).filter(|_| max > 0 || missing == 0) }
    }
}

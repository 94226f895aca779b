//! A bucket that refills evenly: the maximum in a window.
//!
//! Held as what is missing from a full bucket, and as of when. What refills is counted in whole units and the time of the
//! rest is kept, rounded so that a client never gets more.

use std::time::Duration;

use super::ask::{Ask, Reading, Reason, Refusal, Settlement, Taken};
use super::atomic::Pair;
use super::odometer::{Odometer, Toll};
use super::pending::Pending;
use super::rule::Kind;
use super::tentative::Tentative;
use super::window::{Moment, nanos};

/// How a bucket refills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refill {
    length_ns: u64,
    max: u64,
}

impl Refill {
    /// By `max` in a window.
    #[must_use]
    pub fn new(window: Duration, max: u64) -> Self {
        Self { length_ns: nanos(window).max(1), max }
    }

    /// Units that refill in so many nanoseconds, rounded down.
    fn units(self, elapsed: u64) -> u64 {
        let units = u128::from(elapsed) * u128::from(self.max) / u128::from(self.length_ns);
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// Nanoseconds in which so many units refill, rounded up.
    fn time_of(self, units: u64) -> u64 {
        let time = (u128::from(units) * u128::from(self.length_ns)).div_ceil(u128::from(self.max.max(1)));
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// A level, as of when and what is missing, as of a later time; in nanoseconds and whole units. A clock that stands
    /// back refills nothing.
    #[must_use]
    pub fn level(self, (then, missing): (u64, u64), now: u64) -> (u64, u64) {
        let refilled = self.units(now.saturating_sub(then));
        if refilled >= missing {
            return (now.max(then), 0);
        }
        (then.saturating_add(self.time_of(refilled)), missing - refilled)
    }
}

/// The counter of a token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    length: Duration,
    /// As of when, on the steady clock; what is missing from the full bucket.
    level: Pair,
    /// What is reserved and not settled.
    pending: Pending,
    /// What a ledger keeps of it, if one does.
    pub(super) odometer: Option<Box<Odometer>>,
}

impl Bucket {
    pub(super) fn new(length: Duration, kind: Kind, odometer: Option<Box<Odometer>>) -> Self {
        Self { length, level: Pair::default(), pending: Pending::of(kind), odometer }
    }

    fn refill(&self, max: u64) -> Refill {
        Refill::new(self.length, max)
    }

    pub(super) fn take(&self, ask: &Ask, tentative: &Tentative) -> Result<Taken, Refusal> {
        let mut looks = 0;
        let refill = self.refill(ask.terms.max);
        let mut toll = Toll::new(self.odometer.as_deref(), ask.gate);
        loop {
            let look = tentative.look();
            let seen = self.level.load();
            let (then, missing) = refill.level(seen, ask.at.steady);
            let burst = if ask.terms.max == 0 { 0 } else { ask.terms.burst };
            if let Some(next) = ask.fits(missing, burst) {
                toll.pay(ask, burst - missing)?;
                if self.level.swap(seen, (then, next)).is_err() {
                    continue;
                }
                self.pending.add(ask.amount);
                // When this amount will have refilled: later it cannot be refunded.
                let mark = then.saturating_add(refill.time_of(next));
                return Ok(Taken { mark, lease_low: toll.lease_low });
            }
            if tentative.is_final(look, ask.own, &mut looks) {
                toll.give_back(ask.amount);
                return Err(self.refusal((then, missing), burst, ask));
            }
        }
    }

    fn refusal(&self, (then, missing): (u64, u64), burst: u64, ask: &Ask) -> Refusal {
        let posted = missing.saturating_sub(self.pending.load());
        let reason = if ask.fits(posted, burst).is_some() { Reason::Reserved } else { Reason::Reached };
        let target = burst.checked_sub(ask.amount).filter(|_| burst > 0);
        let resets_in = target.map(|target| {
            let ready = then.saturating_add(self.refill(ask.terms.max).time_of(missing.saturating_sub(target)));
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

    /// Sets what was missing before a restart. Twice is as once, and what was taken since stays.
    pub(super) fn restore(&self, posted: &[(u64, u64)]) {
        for level in posted {
            self.level.update(|seen| (seen < *level).then_some(*level));
        }
    }

    fn refund(&self, mark: u64, amount: u64, max: u64, at: Moment) {
        let refill = self.refill(max);
        self.level.update(|seen| {
            let (then, missing) = refill.level(seen, at.steady);
            let left = refill.units(mark.saturating_sub(at.steady.max(then)));
            Some((then, missing.saturating_sub(amount.min(left))))
        });
    }

    pub(super) fn read(&self, max: u64, at: Moment) -> Reading {
        let refill = self.refill(max);
        let (then, missing) = refill.level(self.level.load(), at.steady);
        let pending = self.pending.load().min(missing);
        let full = then.saturating_add(refill.time_of(missing));
        let empty_in = Duration::from_nanos(full.saturating_sub(at.steady));
        Reading { posted: missing - pending, pending, empty_in: Some(empty_in).filter(|_| max > 0 || missing == 0) }
    }
}

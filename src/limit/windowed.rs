//! Counters of windows that begin and end: fixed to all time.
//!
//! One word holds the window and what is used in it, so the roll-over and the take are one step. What is settled after its
//! window is over touches no later one.

use std::time::Duration;

use super::ask::{Ask, Gate, Reading, Reason, Refusal, Settlement, Taken};
use super::atomic::Pair;
use super::lease::Lease;
use super::rule::{Kind, Window};
use super::tentative::Tentative;
use super::window::Moment;

/// The counter of one window.
#[derive(Debug)]
pub(super) struct Windowed {
    window: Window,
    /// Beginning of the window; what is posted and pending in it.
    used: Pair,
    /// Beginning of the window; what is posted in it. Only told apart from `used` where amounts are reserved.
    posted: Option<Pair>,
    /// Beginning and end of the last window, so that the calendar is asked once a window.
    bounds: Pair,
    pub(super) lease: Option<Box<Lease>>,
}

impl Windowed {
    pub(super) fn new(window: Window, kind: Kind, lease: Option<Box<Lease>>) -> Self {
        let posted = kind.is_reserved().then(Pair::default);
        Self { window, used: Pair::default(), posted, bounds: Pair::default(), lease }
    }

    fn start(&self, current: u64, at: Moment) -> u64 {
        if !matches!(self.window, Window::Calendar(..)) {
            return self.window.start(current, at);
        }
        let (start, end) = self.bounds.load();
        if start == current && start <= at.wall && at.wall < end {
            return current;
        }
        let start = self.window.start(current, at);
        if let Some(end) = self.window.end(start) {
            self.bounds.update(|seen| (seen.0 < start).then_some((start, end)));
        }
        start
    }

    pub(super) fn take(&self, ask: &Ask, tentative: &Tentative) -> Result<Taken, Refusal> {
        let mut looks = 0;
        loop {
            let look = tentative.look();
            let seen = self.used.load();
            let start = self.start(seen.0, ask.at);
            let used = if start == seen.0 { seen.1 } else { 0 };
            let ceiling = self.ceiling(start, ask.gate);
            if let Some(next) = ask.fits(used, ask.terms.max.min(ceiling)) {
                if self.used.swap(seen, (start, next)).is_err() {
                    continue;
                }
                if next > self.ceiling(start, ask.gate) {
                    // The lease was returned in the same moment; see `Lease::shrink`.
                    self.take_out(start, ask.amount);
                    return Err(self.unleased(start, used, ask));
                }
                let lease = self.lease.as_ref().filter(|_| ask.gate == Gate::Leased);
                let lease_low = lease.is_some_and(|lease| lease.is_low(next, ask.amount, ask.terms.max));
                return Ok(Taken { mark: start, lease_low });
            }
            if ask.fits(used, ask.terms.max).is_some() {
                // The window begins although nothing is taken: a lease is for one that has begun.
                if start != seen.0 && self.used.swap(seen, (start, 0)).is_err() {
                    continue;
                }
                return Err(self.unleased(start, used, ask));
            }
            if tentative.is_final(look, ask.own, &mut looks) {
                return Err(self.refusal(start, used, ask));
            }
        }
    }

    fn ceiling(&self, start: u64, gate: Gate) -> u64 {
        match &self.lease {
            Some(lease) if gate == Gate::Leased => lease.ceiling(start),
            _ => u64::MAX,
        }
    }

    fn unleased(&self, start: u64, used: u64, ask: &Ask) -> Refusal {
        if let Some(lease) = &self.lease {
            lease.want(used.saturating_add(ask.amount), ask.terms.max);
        }
        let free = self.ceiling(start, ask.gate).min(ask.terms.max).saturating_sub(used);
        Refusal { reason: Reason::Unleased, free, resets_in: None }
    }

    fn refusal(&self, start: u64, used: u64, ask: &Ask) -> Refusal {
        let posted = self.posted_in(start, used);
        let reason = match ask.fits(posted, ask.terms.max) {
            Some(_) => Reason::Reserved,
            None => Reason::Reached,
        };
        Refusal { reason, free: ask.terms.max.saturating_sub(used), resets_in: self.ends_in(start, ask.at) }
    }

    fn posted_in(&self, start: u64, used: u64) -> u64 {
        match self.posted.as_ref().map(Pair::load) {
            None => used,
            Some((window, posted)) if window == start => posted.min(used),
            Some(_) => 0,
        }
    }

    fn ends_in(&self, start: u64, at: Moment) -> Option<Duration> {
        let end = self.window.end(start)?;
        Some(Duration::from_nanos(end.saturating_sub(self.window.clock(at))))
    }

    /// Returns what is used after it.
    pub(super) fn settle(&self, end: &Settlement) -> u64 {
        let mut used_after = 0;
        if end.used != end.reserved {
            self.used.update(|(start, used)| {
                used_after = used.saturating_sub(end.reserved).saturating_add(end.used);
                (start == end.mark).then_some((start, used_after))
            });
        }
        if let Some(posted) = &self.posted {
            posted.update(|(start, posted)| match start.cmp(&end.mark) {
                std::cmp::Ordering::Less => Some((end.mark, end.used)),
                std::cmp::Ordering::Equal => Some((start, posted.saturating_add(end.used))),
                std::cmp::Ordering::Greater => None,
            });
        }
        used_after
    }

    pub(super) fn take_out(&self, mark: u64, amount: u64) {
        self.used.update(|(start, used)| (start == mark).then_some((start, used.saturating_sub(amount))));
    }

    pub(super) fn read(&self, at: Moment) -> Reading {
        let (seen, used) = self.used.load();
        let start = self.start(seen, at);
        if start != seen {
            return Reading { empty_in: Some(Duration::ZERO), ..Reading::default() };
        }
        let posted = self.posted_in(start, used);
        let empty_in = if used == 0 { Some(Duration::ZERO) } else { self.ends_in(start, at) };
        Reading { posted, pending: used - posted, empty_in }
    }

    /// Beginning of the window in which the counter is, and what is used in it.
    pub(super) fn used(&self) -> (u64, u64) {
        self.used.load()
    }

    /// Sets what was posted before a restart. A later window stays, and so does a larger amount: twice is as once.
    pub(super) fn restore(&self, start: u64, posted: u64) {
        let raise = |(seen, amount): (u64, u64)| match seen.cmp(&start) {
            std::cmp::Ordering::Less => Some((start, posted)),
            std::cmp::Ordering::Equal if amount < posted => Some((start, posted)),
            _ => None,
        };
        self.used.update(raise);
        if let Some(pair) = &self.posted {
            pair.update(raise);
        }
    }
}

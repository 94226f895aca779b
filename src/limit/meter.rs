//! One counter, whatever its window.

use std::sync::Arc;

use crate::base::{Charge, Moving};

use super::ask::{Ask, Gate, Reading, Refusal, Settlement, Taken};
use super::atomic::Count;
use super::bell::Bell;
use super::bucket::Bucket;
use super::lease::{Lease, LeaseRequest};
use super::odometer::Odometer;
use super::open::Open;
use super::rule::{Kind, MeterKey, Terms, Window};
use super::sliding::Sliding;
use super::tentative::Tentative;
use super::window::Moment;
use super::windowed::Windowed;

/// A counter, shared by every limit with its key. It outlives configurations.
#[derive(Debug)]
pub struct Meter {
    key: MeterKey,
    account: Arc<str>,
    counter: Counter,
    pub(super) tentative: Tentative,
    /// Requests that a limit in shadow mode would have refused.
    shadow_refused: Count,
    /// Requests that wait for a place, of [`Kind::Concurrent`] alone.
    pub(super) waiting: Count,
    /// 1 once the registry has let go of it.
    retired: Count,
    bell: Arc<Bell>,
}

#[derive(Debug)]
enum Counter {
    Windowed(Windowed),
    Sliding(Sliding),
    Bucket(Bucket),
    Open(Open),
}

impl Meter {
    /// A counter at zero; with a lease if its use is kept in a ledger.
    pub(super) fn new(key: MeterKey, bell: Arc<Bell>) -> Self {
        let is_kept = key.is_durable() && bell.has_ledger();
        let lease = is_kept.then(Box::<Lease>::default);
        let odometer = is_kept.then(|| Box::new(Odometer::new()));
        let counter = match (key.kind, key.window) {
            (Kind::Concurrent, _) | (_, Window::Open) => Counter::Open(Open::default()),
            (kind, Window::Sliding(length)) => Counter::Sliding(Sliding::new(length, kind, odometer)),
            (kind, Window::Bucket(length)) => Counter::Bucket(Bucket::new(length, kind, odometer)),
            (kind, window) => Counter::Windowed(Windowed::new(window, kind, lease)),
        };
        let account = key.to_string().into();
        Self {
            key,
            account,
            counter,
            tentative: Tentative::default(),
            shadow_refused: Count::default(),
            waiting: Count::default(),
            retired: Count::default(),
            bell,
        }
    }

    /// Whose counter it is, of what and over what time.
    #[must_use]
    pub fn key(&self) -> &MeterKey {
        &self.key
    }

    /// The stable text of the key: the name of the account in the ledger.
    #[must_use]
    pub fn account(&self) -> &Arc<str> {
        &self.account
    }

    /// Whether its use is kept in a ledger.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.lease().is_some()
    }

    /// Requests that limits in shadow mode would have refused since the start of the process.
    #[must_use]
    pub fn shadow_refusals(&self) -> u64 {
        self.shadow_refused.load()
    }

    /// Requests that wait for a place in a queue now.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load()
    }

    pub(super) fn count_shadow_refusal(&self) {
        self.shadow_refused.add(1);
    }

    fn odometer(&self) -> Option<&Odometer> {
        match &self.counter {
            Counter::Sliding(sliding) => sliding.odometer.as_deref(),
            Counter::Bucket(bucket) => bucket.odometer.as_deref(),
            Counter::Windowed(_) | Counter::Open(_) => None,
        }
    }

    fn lease(&self) -> Option<&Lease> {
        match &self.counter {
            Counter::Windowed(windowed) => windowed.lease.as_deref(),
            _ => self.odometer().map(Odometer::lease),
        }
    }

    /// The period of its account, and what is posted and pending in it.
    fn used_in_period(&self) -> (u64, u64) {
        match &self.counter {
            Counter::Windowed(windowed) => windowed.used(),
            _ => self.odometer().map_or((0, 0), Odometer::used),
        }
    }

    pub(super) fn take(self: &Arc<Self>, ask: &Ask) -> Result<Taken, Refusal> {
        let taken = match &self.counter {
            Counter::Windowed(windowed) => windowed.take(ask, &self.tentative),
            Counter::Sliding(sliding) => sliding.take(ask, &self.tentative),
            Counter::Bucket(bucket) => bucket.take(ask, &self.tentative),
            Counter::Open(open) => open.take(ask, &self.tentative),
        };
        let wants_lease = match &taken {
            Ok(taken) => taken.lease_low,
            Err(refusal) => refusal.reason == super::ask::Reason::Unleased,
        };
        if wants_lease && ask.gate == Gate::Leased && self.lease().is_some_and(Lease::ring) {
            self.bell.ring(self);
        }
        taken
    }

    /// Gives back a take of which nothing was used.
    pub(super) fn give_back(&self, end: &Settlement) {
        match &self.counter {
            // Nothing is posted for it either.
            Counter::Windowed(windowed) => windowed.take_out(end.mark, end.reserved),
            Counter::Sliding(_) | Counter::Bucket(_) | Counter::Open(_) => self.settle(&Settlement { used: 0, ..*end }),
        }
    }

    pub(super) fn settle(&self, end: &Settlement) {
        if let Some(odometer) = self.odometer() {
            odometer.settle(end);
        }
        let used = match &self.counter {
            Counter::Windowed(windowed) => windowed.settle(end),
            Counter::Sliding(sliding) => sliding.settle(end, &self.tentative),
            Counter::Bucket(bucket) => bucket.settle(end),
            Counter::Open(open) => {
                open.release(end.reserved);
                0
            }
        };
        if end.used > end.reserved {
            self.bell.overshot(self.key.kind, used.saturating_sub(end.terms.burst.max(end.terms.max)));
        }
    }

    pub(super) fn read(&self, terms: Terms, at: Moment) -> Reading {
        match &self.counter {
            Counter::Windowed(windowed) => windowed.read(at),
            Counter::Sliding(sliding) => sliding.read(at),
            Counter::Bucket(bucket) => bucket.read(terms.max, at),
            Counter::Open(open) => open.read(),
        }
    }

    /// The lease that it asks for at a time of the steady clock.
    pub(super) fn lease_request(&self, now: u64) -> Option<LeaseRequest> {
        let lease = self.lease()?;
        let (period, used) = self.used_in_period();
        let wanted_ceiling = lease.next_ceiling(period, used, now)?;
        Some(LeaseRequest {
            account: Arc::clone(&self.account),
            period,
            used,
            ceiling: lease.ceiling(period),
            wanted_ceiling,
        })
    }

    /// Returns what is leased and not used. The lower ceiling holds already when the ledger is told.
    pub(super) fn lease_return(&self) -> Option<LeaseRequest> {
        let lease = self.lease()?;
        let (period, used) = self.used_in_period();
        let used_now = || match self.used_in_period() {
            (now, used) if now == period => used,
            // The window is over: whatever was leased of it may have been used.
            _ => u64::MAX,
        };
        let (ceiling, lowered) = lease.shrink(period, used_now)?;
        (lowered < ceiling).then(|| LeaseRequest {
            account: Arc::clone(&self.account),
            period,
            used,
            ceiling,
            wanted_ceiling: lowered,
        })
    }

    /// As [`Meter::lease_return`], where nobody has asked for more for a while.
    pub(super) fn idle_return(&self, now: u64) -> Option<LeaseRequest> {
        self.lease().filter(|lease| lease.is_idle(now))?;
        self.lease_return()
    }

    pub(super) fn leased(&self, period: u64, ceiling: u64) {
        if let Some(lease) = self.lease() {
            let (window, used) = self.used_in_period();
            lease.grant(period, ceiling, if window == period { used } else { 0 });
        }
    }

    pub(super) fn restore(&self, period: u64, posted: u64) {
        match &self.counter {
            Counter::Windowed(windowed) => windowed.restore(period, posted),
            _ => self.odometer().into_iter().for_each(|odometer| odometer.restore(posted)),
        }
    }

    /// Sets where in a window that moves the posted amounts lie: slots by when they begin, or the level of a bucket.
    pub(super) fn restore_moving(&self, posted: &[(u64, u64)]) {
        match &self.counter {
            Counter::Sliding(sliding) => sliding.restore(posted),
            Counter::Bucket(bucket) => bucket.restore(posted),
            Counter::Windowed(_) | Counter::Open(_) => {}
        }
    }

    /// What its account has posted and pending over all time; none if it keeps one by windows, or none at all.
    pub(super) fn all_time(&self) -> Option<u64> {
        self.odometer().map(|odometer| odometer.used().1)
    }

    /// What a ledger must keep of a settled amount.
    pub(super) fn charge(&self, end: &Settlement) -> Charge {
        let (period, moving) = match &self.counter {
            Counter::Sliding(sliding) => (self.used_in_period().0, Some(Moving::Slot(sliding.slot_start(end.mark)))),
            Counter::Bucket(_) => {
                (self.used_in_period().0, Some(Moving::Bucket { at: end.at.steady, refill: end.terms.max }))
            }
            Counter::Windowed(_) | Counter::Open(_) => (end.mark, None),
        };
        Charge { account: Arc::clone(&self.account), period, amount: end.used, moving }
    }

    /// Whether it says the same as a new one.
    pub(super) fn is_fresh(&self, at: Moment) -> bool {
        let reading = self.read(Terms::max(1), at);
        reading.posted == 0 && reading.pending == 0
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load() == 1
    }

    pub(super) fn retire(&self, retired: bool) {
        self.retired.store(u64::from(retired));
    }
}

//! One counter, whatever its window.

use std::sync::Arc;

use super::ask::{Ask, Gate, Reading, Refusal, Settlement, Taken};
use super::atomic::Count;
use super::bell::Bell;
use super::bucket::Bucket;
use super::lease::{Lease, LeaseRequest};
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
        let lease = (key.is_durable() && bell.has_ledger()).then(Box::<Lease>::default);
        let counter = match (key.kind, key.window) {
            (Kind::Concurrent, _) | (_, Window::Open) => Counter::Open(Open::default()),
            (kind, Window::Sliding(length)) => Counter::Sliding(Sliding::new(length, kind)),
            (kind, Window::Bucket(length)) => Counter::Bucket(Bucket::new(length, kind)),
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

    fn lease(&self) -> Option<(&Windowed, &Lease)> {
        match &self.counter {
            Counter::Windowed(windowed) => Some((windowed, windowed.lease.as_deref()?)),
            _ => None,
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
        if wants_lease && ask.gate == Gate::Leased && self.lease().is_some_and(|(_, lease)| lease.ring()) {
            self.bell.ring(self);
        }
        taken
    }

    pub(super) fn give_back(&self, mark: u64, amount: u64, terms: Terms, at: Moment) {
        match &self.counter {
            Counter::Windowed(windowed) => windowed.give_back(mark, amount),
            Counter::Sliding(sliding) => sliding.give_back(mark, amount),
            Counter::Bucket(bucket) => bucket.give_back(mark, amount, terms.max, at),
            Counter::Open(open) => open.release(amount),
        }
    }

    pub(super) fn settle(&self, end: &Settlement) {
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
        let (windowed, lease) = self.lease()?;
        let (period, used) = windowed.used();
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
        let (windowed, lease) = self.lease()?;
        let (period, used) = windowed.used();
        let used_now = || match windowed.used() {
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

    pub(super) fn leased(&self, period: u64, ceiling: u64) {
        if let Some((windowed, lease)) = self.lease() {
            let (window, used) = windowed.used();
            lease.grant(period, ceiling, if window == period { used } else { 0 });
        }
    }

    pub(super) fn restore(&self, period: u64, posted: u64) {
        if let Counter::Windowed(windowed) = &self.counter {
            windowed.restore(period, posted);
        }
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

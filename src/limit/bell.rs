//! How meters reach the ledger's keeper.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_queue::ArrayQueue;

use super::atomic::Count;
use super::meter::Meter;
use super::rule::Kind;

/// Meters that wait for a lease. More are found by looking at all of them.
const WAITING_MAX: usize = 4_096;

/// The meters that want a lease, and what all meters count together.
#[derive(Debug)]
pub(super) struct Bell {
    waiting: Option<ArrayQueue<Arc<Meter>>>,
    rung: AtomicBool,
    /// Whether it rang since somebody last asked, so that one of those who wait wakes the keeper.
    unheard: AtomicBool,
    overflowed: AtomicBool,
    overshoot: [Count; Kind::ALL.len()],
}

impl Bell {
    /// A bell that a ledger answers.
    pub(super) fn of_ledger() -> Self {
        Self { waiting: Some(ArrayQueue::new(WAITING_MAX)), ..Self::of_nobody() }
    }

    /// Without a ledger there are no leases.
    pub(super) fn of_nobody() -> Self {
        Self {
            waiting: None,
            rung: AtomicBool::new(false),
            unheard: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            overshoot: Default::default(),
        }
    }

    pub(super) fn has_ledger(&self) -> bool {
        self.waiting.is_some()
    }

    pub(super) fn ring(&self, meter: &Arc<Meter>) {
        let Some(waiting) = &self.waiting else { return };
        if waiting.push(Arc::clone(meter)).is_err() {
            self.overflowed.store(true, Ordering::SeqCst);
        }
        self.rung.store(true, Ordering::SeqCst);
        self.unheard.store(true, Ordering::SeqCst);
    }

    /// Whether it rang since the last call; true for one caller.
    pub(super) fn is_news(&self) -> bool {
        self.unheard.load(Ordering::SeqCst) && self.unheard.swap(false, Ordering::SeqCst)
    }

    pub(super) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// Stops the bell; the meters that rang come from [`Bell::next`] from then on.
    pub(super) fn answer(&self) -> Overflow {
        self.rung.store(false, Ordering::SeqCst);
        if self.overflowed.swap(false, Ordering::SeqCst) { Overflow::Yes } else { Overflow::No }
    }

    pub(super) fn next(&self) -> Option<Arc<Meter>> {
        self.waiting.as_ref()?.pop()
    }

    pub(super) fn overshot(&self, kind: Kind, amount: u64) {
        if let Some(most) = self.overshoot.get(kind as usize)
            && amount > 0
        {
            most.raise_to(amount);
        }
    }

    pub(super) fn overshoot(&self, kind: Kind) -> u64 {
        self.overshoot.get(kind as usize).map_or(0, Count::load)
    }
}

/// Whether more meters rang than could wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// All must be looked at.
    Yes,
    /// The queue has them all.
    No,
}

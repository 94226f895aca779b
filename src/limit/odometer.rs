//! What a window that moves has spent in all, and its lease.
//!
//! A sliding window and a bucket forget with time; the book does not. So their account is one sum over all time, which only
//! refunds lower, and a lease is a height of that sum. How much may be leased follows from the room of the window: as with
//! other windows an eighth of it at most, or what one request needs.

use super::ask::{Ask, Gate, Reason, Refusal, Settlement};
use super::atomic::Count;
use super::lease::Lease;

/// The one period of such an account, as [`super::rule::Window::start`] has it.
const PERIOD: u64 = 1;

/// The sum of an account and its lease.
#[derive(Debug)]
pub(super) struct Odometer {
    /// Posted and pending, since the account began.
    used: Count,
    lease: Lease,
}

impl Odometer {
    pub(super) fn new() -> Self {
        Self { used: Count::default(), lease: Lease::rolling() }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The period of the account, and what is used in it.
    pub(super) fn used(&self) -> (u64, u64) {
        (PERIOD, self.used.load())
    }

    /// Sets what was posted before a restart; never lowers.
    pub(super) fn restore(&self, posted: u64) {
        self.used.raise_to(posted);
    }

    /// Takes an amount for which the window has `room`, if it is leased. Whether the lease comes to its end.
    ///
    /// # Errors
    /// What the lease still covers.
    fn take(&self, amount: u64, room: u64) -> Result<bool, u64> {
        let mut after = 0;
        let taken = self.used.update(|used| {
            after = used.saturating_add(amount);
            (after <= self.lease.ceiling(PERIOD)).then_some(after)
        });
        if taken.is_some() {
            if after <= self.lease.ceiling(PERIOD) {
                let left = room.saturating_sub(amount);
                return Ok(self.lease.is_low(after, amount, after.saturating_add(left)));
            }
            // The lease was returned in the same moment; see `Lease::shrink`.
            self.take_out(amount);
        }
        let used = self.used.load();
        self.lease.want(used.saturating_add(amount), used.saturating_add(room));
        Err(self.lease.ceiling(PERIOD).saturating_sub(used))
    }

    fn take_out(&self, amount: u64) {
        self.used.update(|used| Some(used.saturating_sub(amount)));
    }

    /// Ends a take: `used` counts instead of `reserved`. What was taken without a lease is not in it.
    pub(super) fn settle(&self, end: &Settlement) {
        if end.gate == Gate::Leased && end.used != end.reserved {
            self.used.update(|sum| Some(sum.saturating_sub(end.reserved).saturating_add(end.used)));
        }
    }
}

/// What one take pays before it takes from its window: once, however often it looks.
#[derive(Debug)]
pub(super) struct Toll<'a> {
    odometer: Option<&'a Odometer>,
    is_paid: bool,
    pub(super) lease_low: bool,
}

impl<'a> Toll<'a> {
    /// Nothing is to be paid where nothing is leased.
    pub(super) fn new(odometer: Option<&'a Odometer>, gate: Gate) -> Self {
        Self { odometer: odometer.filter(|_| gate == Gate::Leased), is_paid: false, lease_low: false }
    }

    /// Takes what the window has `room` for from the lease.
    ///
    /// # Errors
    /// [`Reason::Unleased`] when the lease does not cover it.
    pub(super) fn pay(&mut self, ask: &Ask, room: u64) -> Result<(), Refusal> {
        let Some(odometer) = self.odometer.filter(|_| !self.is_paid) else { return Ok(()) };
        match odometer.take(ask.amount, room) {
            Ok(low) => {
                (self.is_paid, self.lease_low) = (true, low);
                Ok(())
            }
            Err(free) => Err(Refusal { reason: Reason::Unleased, free: free.min(room), resets_in: None }),
        }
    }

    /// Gives back what was paid: the window refuses.
    pub(super) fn give_back(self, amount: u64) {
        if let Some(odometer) = self.odometer.filter(|_| self.is_paid) {
            odometer.take_out(amount);
        }
    }
}

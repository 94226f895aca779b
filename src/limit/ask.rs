//! What a counter is asked, and what it answers.

use std::time::Duration;

use super::rule::Terms;
use super::window::Moment;

/// One amount that a request wants to take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) amount: u64,
    pub(super) terms: Terms,
    pub(super) at: Moment,
    /// The caller's own open takes of the meter: 1 if it may still give back, else 0.
    pub(super) own: u64,
    pub(super) gate: Gate,
}

/// Whether a take needs a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Only below what is leased.
    Leased,
    /// Up to the maximum: what only counts spends nothing.
    Free,
}

impl Ask {
    /// Whether an amount on top of what is used stays within a maximum. 0 blocks everything, also what costs nothing.
    pub(super) fn fits(&self, used: u64, max: u64) -> Option<u64> {
        used.checked_add(self.amount).filter(|sum| *sum <= max && max > 0)
    }
}

/// A take that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// When it was taken, in the counter's own way: a window, a slot. Settling needs it.
    pub(super) mark: u64,
    /// Whether the lease comes to its end.
    pub(super) lease_low: bool,
}

/// Why an amount was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// What was used fills the limit alone.
    Reached,
    /// Only together with what other requests have reserved and may not use up.
    Reserved,
    /// The limit has room, but no lease for it is on disk yet: ask for one and try again.
    Unleased,
}

/// A take that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// What would still have been admitted.
    pub(super) free: u64,
    /// When the amount would fit if nobody else came; none if never.
    pub(super) resets_in: Option<Duration>,
}

/// What a counter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reading {
    pub(super) posted: u64,
    pub(super) pending: u64,
    /// Time until it is empty, if nobody comes; none if it never is.
    pub(super) empty_in: Option<Duration>,
}

/// One take at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settlement {
    pub(super) mark: u64,
    pub(super) reserved: u64,
    pub(super) used: u64,
    pub(super) terms: Terms,
    pub(super) at: Moment,
    pub(super) gate: Gate,
}

//! Two numbers that change in one step.
//!
//! The only file that names `portable-atomic`. A [`Pair`] is one 128-bit word: on x86-64 and aarch64 one processor
//! instruction compares and swaps it, so "is this still the same window, and does the amount fit" is asked and answered at
//! once. All operations are sequentially consistent: they are few, and the proofs beside them need it.
//!
//! Unit tests explore schedules: there, and nowhere else, each operation is also a point where another thread may run.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use portable_atomic::AtomicU128;

/// Two numbers of 64 bits.
#[derive(Debug, Default)]
pub(super) struct Pair(AtomicU128);

impl Pair {
    pub(super) fn load(&self) -> (u64, u64) {
        point();
        split(self.0.load(SeqCst))
    }

    /// Replaces `seen` by `next`.
    ///
    /// # Errors
    /// What stands there instead of `seen`.
    pub(super) fn swap(&self, seen: (u64, u64), next: (u64, u64)) -> Result<(), (u64, u64)> {
        point();
        let swapped = self.0.compare_exchange(join(seen.0, seen.1), join(next.0, next.1), SeqCst, SeqCst);
        swapped.map(|_| ()).map_err(split)
    }

    /// Replaces what stands there by what `change` makes of it, unless that is nothing. Returns what stood there.
    pub(super) fn update(&self, mut change: impl FnMut((u64, u64)) -> Option<(u64, u64)>) -> Option<(u64, u64)> {
        let mut seen = self.load();
        loop {
            let next = change(seen)?;
            match self.swap(seen, next) {
                Ok(()) => return Some(seen),
                Err(other) => seen = other,
            }
        }
    }
}

fn join(first: u64, second: u64) -> u128 {
    u128::from(first) << 64 | u128::from(second)
}

fn split(word: u128) -> (u64, u64) {
    let low = word & u128::from(u64::MAX);
    (u64::try_from(word >> 64).unwrap_or(u64::MAX), u64::try_from(low).unwrap_or(u64::MAX))
}

/// One number of 64 bits.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn load(&self) -> u64 {
        point();
        self.0.load(SeqCst)
    }

    pub(super) fn store(&self, value: u64) {
        point();
        self.0.store(value, SeqCst);
    }

    /// Adds, wrapping; returns the value before.
    pub(super) fn add(&self, amount: u64) -> u64 {
        point();
        self.0.fetch_add(amount, SeqCst)
    }

    /// Subtracts, wrapping; returns the value before.
    pub(super) fn subtract(&self, amount: u64) -> u64 {
        point();
        self.0.fetch_sub(amount, SeqCst)
    }

    pub(super) fn raise_to(&self, value: u64) {
        point();
        self.0.fetch_max(value, SeqCst);
    }

    /// Stores a value; returns the one before.
    pub(super) fn replace(&self, value: u64) -> u64 {
        point();
        self.0.swap(value, SeqCst)
    }

    /// Replaces what stands there by what `change` makes of it, unless that is nothing. Returns what stood there.
    pub(super) fn update(&self, mut change: impl FnMut(u64) -> Option<u64>) -> Option<u64> {
        let mut seen = self.load();
        loop {
            let next = change(seen)?;
            point();
            match self.0.compare_exchange(seen, next, SeqCst, SeqCst) {
                Ok(_) => return Some(seen),
                Err(other) => seen = other,
            }
        }
    }
}

#[cfg(not(test))]
#[inline(always)]
fn point() {}

#[cfg(test)]
use super::explore::point;

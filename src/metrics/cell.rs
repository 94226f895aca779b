//! Numbers with one writer and any number of readers.
//!
//! A cell is written by the one thread that owns it: a relaxed load and a relaxed store, never a locked instruction. A second
//! writer would lose counts, not memory safety, so ownership is a rule of this module and not of the type.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows. Wraps at 2^64.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the owning thread may call it.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Adds one. Only the owning thread may call it.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes over a total that something else counts, such as the kernel. Only the owning thread may call it.
    #[inline]
    pub fn set_total(&self, total: u64) {
        self.0.store(total, Relaxed);
    }

    /// Returns the count so far. Any thread may call it.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down and never below zero.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds one. Only the owning thread may call it.
    #[inline]
    pub fn inc(&self) {
        self.0.store(self.get().wrapping_add(1), Relaxed);
    }

    /// Takes one away; zero stays zero. Only the owning thread may call it.
    #[inline]
    pub fn dec(&self) {
        debug_assert!(self.get() > 0, "a gauge was lowered more than raised");
        self.0.store(self.get().saturating_sub(1), Relaxed);
    }

    /// Replaces the value. Only the owning thread may call it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Returns the value. Any thread may call it.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_adds_and_takes_over_totals() {
        let counter = Counter::default();
        counter.add(40);
        counter.inc();
        assert_eq!(counter.get(), 41);
        counter.set_total(50);
        assert_eq!(counter.get(), 50);
    }

    #[test]
    fn gauge_follows_its_moves() {
        let gauge = Gauge::default();
        gauge.inc();
        gauge.inc();
        gauge.dec();
        assert_eq!(gauge.get(), 1);
        gauge.set(7);
        assert_eq!(gauge.get(), 7);
    }
}

//! How long changes of the configuration and the disk take.
//!
//! Each block has one writer: the thread of the store that changes the file, and the admin thread.

use std::time::Duration;

use super::histogram::{DOUBLING_BOUNDS, Doubling, Total};

/// What the store's writing thread measures; only that thread writes it.
#[derive(Debug, Default)]
pub struct StoreBlock {
    wait: Doubling,
    commit: Doubling,
    checkpoint: Doubling,
}

impl StoreBlock {
    /// Counts the time that a change waited for its transaction to begin.
    pub fn waited(&self, time: Duration) {
        self.wait.record(time);
    }

    /// Counts the time from the last statement of a transaction until it was on disk, or had failed.
    pub fn committed(&self, time: Duration) {
        self.commit.record(time);
    }

    /// Counts the time that the log took to be written back into the file, or failed to be.
    pub fn wrote_back(&self, time: Duration) {
        self.checkpoint.record(time);
    }

    /// What was measured until now, to be shown.
    #[must_use]
    pub fn read(&self) -> StoreTimes {
        StoreTimes([&self.wait, &self.commit, &self.checkpoint].map(Times::of))
    }
}

/// What changes of the configuration took; only the admin thread writes it.
#[derive(Debug, Default)]
pub(super) struct ChangeBlock {
    compile: Doubling,
    publish: Doubling,
}

impl ChangeBlock {
    pub(super) fn compiled(&self, time: Duration) {
        self.compile.record(time);
    }

    pub(super) fn published(&self, time: Duration) {
        self.publish.record(time);
    }

    pub(super) fn read(&self) -> [Times; 2] {
        [&self.compile, &self.publish].map(Times::of)
    }
}

/// What a store's block held when it was read: waits, commits, checkpoints.
#[derive(Debug, Clone)]
pub struct StoreTimes(pub(super) [Times; 3]);

/// What one histogram held when it was read.
#[derive(Debug, Clone)]
pub(super) struct Times(pub(super) Total<{ DOUBLING_BOUNDS + 1 }>);

impl Times {
    fn of(histogram: &Doubling) -> Self {
        let mut total = Total::default();
        histogram.add_to(&mut total);
        Self(total)
    }
}

//! Lets tests try the orders in which threads may run.
//!
//! Each operation of `atomic.rs` calls [`point`]. Inside of an exploration that is a place where the scheduler of `shuttle`
//! may go on with another thread; everywhere else it is nothing.

use std::cell::Cell;

use shuttle::{
    Config, Runner,
    scheduler::{DfsScheduler, RandomScheduler},
};

use super::tentative::LOOKS_MAX;

thread_local! {
    /// How often a refusal looks again in the exploration that runs, if one does. All its threads run on one thread of the
    /// system.
    static LOOKS: Cell<Option<u32>> = const { Cell::new(None) };
}

/// A place between two steps of a thread.
pub(super) fn point() {
    if LOOKS.get().is_some() {
        shuttle::thread::yield_now();
    }
}

/// How often a refusal looks again; few times where the other thread may never come on.
pub(super) fn looks_max() -> u32 {
    LOOKS.get().unwrap_or(LOOKS_MAX)
}

/// Whether the other threads come on while one looks again.
pub(super) fn is_patient() -> bool {
    looks_max() == LOOKS_MAX
}

/// Runs `body` under so many random schedules. Its threads come from `shuttle::thread`.
pub(super) fn explore_at_random(schedules: usize, seed: u64, body: impl Fn() + Send + Sync + 'static) -> usize {
    Runner::new(RandomScheduler::new_from_seed(seed, schedules), Config::default()).run(explored(LOOKS_MAX, body))
}

/// Runs `body` under every schedule, one after the other, but at most so many; returns how many there were.
pub(super) fn explore_in_depth(schedules_max: usize, body: impl Fn() + Send + Sync + 'static) -> usize {
    Runner::new(DfsScheduler::new(Some(schedules_max), false), Config::default()).run(explored(3, body))
}

fn explored(looks: u32, body: impl Fn() + Send + Sync + 'static) -> impl Fn() + Send + Sync + 'static {
    move || {
        LOOKS.set(Some(looks));
        body();
        LOOKS.set(None);
    }
}

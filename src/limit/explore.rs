//! Lets tests try the orders in which threads may run.
//!
//! Each operation of `atomic.rs` calls [`point`]. Inside of [`explore`] that is a place where the scheduler of `shuttle` may
//! go on with another thread; everywhere else it is nothing.

use std::cell::Cell;

thread_local! {
    static EXPLORES: Cell<bool> = const { Cell::new(false) };
}

/// A place between two steps of a thread.
pub(super) fn point() {
    if EXPLORES.get() {
        shuttle::thread::yield_now();
    }
}

/// Runs `body` under many schedules; threads come from `shuttle::thread`.
pub(super) fn explore(schedules: usize, body: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(
        move || {
            EXPLORES.set(true);
            body();
            EXPLORES.set(false);
        },
        schedules,
    );
}

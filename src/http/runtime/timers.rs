//! Timers, in the order in which they end.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use crate::base::{Instant, now};

use super::local::Local;

/// The timers of one thread. They are few: deadlines of connections are none of them.
#[derive(Default)]
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    count: Cell<u64>,
}

impl Timers {
    /// When the next one ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes everyone whose time has come.
    pub(super) fn fire(&self, now: Instant) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.first_entry()
            && first.key().0 <= now
        {
            first.remove().wake();
        }
    }
}

/// Its place in the order; given up when the wait is.
struct Place {
    local: Rc<Local>,
    key: (Instant, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        self.local.timers.waiting.borrow_mut().remove(&self.key);
    }
}

/// Waits until this moment.
pub(super) async fn sleep(local: Rc<Local>, until: Instant) {
    let count = local.timers.count.get();
    local.timers.count.set(count.wrapping_add(1));
    let place = Place { local, key: (until, count) };
    poll_fn(|context| {
        if now() >= until {
            return Poll::Ready(());
        }
        let mut waiting = place.local.timers.waiting.borrow_mut();
        waiting
            .entry(place.key)
            .and_modify(|held| held.clone_from(context.waker()))
            .or_insert_with(|| context.waker().clone());
        Poll::Pending
    })
    .await;
}

//! A bounded queue between callers and a store thread.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a thread got.
pub(super) enum Taken<T> {
    /// At least one item, oldest first.
    Items(Vec<T>),
    /// Nothing came within the time.
    Nothing,
    /// The queue is closed and empty.
    Closed,
}

/// First in, first out; a full or closed queue refuses.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    items_max: usize,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(items_max: usize) -> Self {
        let state = State { items: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), items_max }
    }

    /// Puts an item behind the others; gives it back when there is no place.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.items.len() >= self.items_max {
            return Err(item);
        }
        state.items.push_back(item);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for items, for ever without `wait_max`, and takes up to `count_max`.
    pub(super) fn take(&self, count_max: usize, wait_max: Option<Duration>) -> Taken<T> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            let Some(wait_max) = wait_max else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (woken, timeout) = self.changed.wait_timeout(state, wait_max).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.items.is_empty() && !state.closed {
                return Taken::Nothing;
            }
        }
        let count = state.items.len().min(count_max);
        Taken::Items(state.items.drain(..count).collect())
    }

    /// Lets nothing more in. What waits can still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many wait now.
    pub(super) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// No code that can panic runs under the lock, so a poisoned one is as good as another.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items<T>(taken: Taken<T>) -> Vec<T> {
        match taken {
            Taken::Items(items) => items,
            Taken::Nothing | Taken::Closed => Vec::new(),
        }
    }

    #[test]
    fn full_queue_refuses_and_keeps_the_order() {
        let queue = Queue::new(3);
        for item in 0..3 {
            assert_eq!(queue.push(item), Ok(()));
        }
        assert_eq!(queue.push(3), Err(3));
        assert_eq!(items(queue.take(2, None)), [0, 1]);
        assert_eq!(queue.push(4), Ok(()));
        assert_eq!(items(queue.take(9, None)), [2, 4]);
    }

    #[test]
    fn closed_queue_refuses_but_gives_what_waits() {
        let queue = Queue::new(3);
        assert_eq!(queue.push(1), Ok(()));
        queue.close();
        assert_eq!(queue.push(2), Err(2));
        assert_eq!(items(queue.take(9, None)), [1]);
        assert!(matches!(queue.take(9, None), Taken::Closed));
    }

    #[test]
    fn empty_queue_gives_nothing_after_the_time() {
        let queue = Queue::<u8>::new(1);
        assert!(matches!(queue.take(1, Some(Duration::from_millis(1))), Taken::Nothing));
    }
}

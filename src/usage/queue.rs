//! The bounded queue of records to the admin thread.
//!
//! A request that may cost something reserves its place before it is admitted, so that its record can never be lost: when
//! no place is left, requests are refused and not records. Everything else takes a place only if there is one.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::SegQueue;

use super::record::Record;

/// Records that a queue holds by default.
pub const QUEUE_ROWS: usize = 65_536;

/// Takes records from any number of workers for one reader. Never blocks, and holds no more than it has places.
///
/// Its memory follows what waits, in blocks of 31 records: room for all of them would be megabytes that nearly never are
/// used, and a ring would write to all of it in turn.
pub struct Queue {
    waiting: SegQueue<Record>,
    /// Places that are neither reserved nor taken. A record holds its place until its reader gives it back.
    free: AtomicUsize,
}

/// A place in the queue for one record. Given to [`Queue::send`] or [`Queue::give_back`], never dropped.
#[derive(Debug)]
#[must_use = "a place that is dropped is lost for ever: send a record with it, or give it back"]
pub struct Slot(());

impl Queue {
    /// Creates a queue of `rows_max` records, at least 1.
    #[must_use]
    pub fn new(rows_max: usize) -> Self {
        Self { waiting: SegQueue::new(), free: AtomicUsize::new(rows_max.max(1)) }
    }

    /// Reserves a place; none if records wait or will come for every one of them. One atomic step.
    #[inline]
    pub fn reserve(&self) -> Option<Slot> {
        // Decided by the one counter: a reservation that would go below zero changes nothing.
        let taken = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1));
        taken.is_ok().then_some(Slot(()))
    }

    /// Puts a record into a reserved place. Cannot fail.
    #[inline]
    pub fn send(&self, Slot(()): Slot, record: Record) {
        self.waiting.push(record);
    }

    /// Gives a place back that no record will come for.
    #[inline]
    pub fn give_back(&self, Slot(()): Slot) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts a record in that has no place of its own; false if there is none and the record is lost, which the caller
    /// counts.
    #[inline]
    #[must_use]
    pub fn try_send(&self, record: Record) -> bool {
        let slot = self.reserve();
        let has_place = slot.is_some();
        if let Some(slot) = slot {
            self.send(slot, record);
        }
        has_place
    }

    /// Takes up to `rows_max` records out, oldest first, and returns how many there were. Their places are free again.
    pub fn drain(&self, rows_max: usize, mut take: impl FnMut(Record)) -> usize {
        let mut count = 0;
        while count < rows_max {
            let Some(record) = self.waiting.pop() else {
                break;
            };
            take(record);
            count += 1;
        }
        self.free.fetch_add(count, Ordering::Relaxed);
        count
    }

    /// How many records wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.waiting.len()
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(QUEUE_ROWS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn full_queue_refuses_and_keeps_what_it_has() {
        let queue = Queue::new(2);
        assert!(queue.try_send(record("a")));
        assert!(queue.try_send(record("b")));
        assert!(!queue.try_send(record("c")));
        let mut seen = Vec::new();
        assert_eq!(queue.drain(10, |r| seen.push(r.request_id.as_str().to_owned())), 2);
        assert_eq!(seen, ["a", "b"]);
        assert_eq!(queue.depth(), 0);
    }

    #[test]
    fn drain_stops_at_its_bound() {
        let queue = Queue::new(8);
        for id in ["a", "b", "c"] {
            assert!(queue.try_send(record(id)));
        }
        assert_eq!(queue.drain(2, drop), 2);
        assert_eq!(queue.depth(), 1);
    }

    #[test]
    fn reserved_place_is_kept_for_its_record() {
        let queue = Queue::new(2);
        let slot = queue.reserve().unwrap();
        assert!(queue.try_send(record("a")));
        assert!(!queue.try_send(record("b")), "the last place is reserved");
        assert!(queue.reserve().is_none());
        queue.send(slot, record("c"));
        assert_eq!(queue.depth(), 2);
        assert_eq!(queue.drain(10, drop), 2);
        let slots = [queue.reserve().unwrap(), queue.reserve().unwrap()];
        assert!(queue.reserve().is_none());
        slots.into_iter().for_each(|slot| queue.give_back(slot));
        assert!(queue.reserve().is_some_and(|slot| {
            queue.give_back(slot);
            true
        }));
    }

    #[test]
    fn reservations_of_many_threads_never_exceed_the_places() {
        let queue = Queue::new(64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Some(slot) = queue.reserve() {
                            queue.send(slot, record("a"));
                        }
                    }
                });
            }
            let mut seen = 0;
            for _ in 0..20_000 {
                seen += queue.drain(16, drop);
                assert!(queue.depth() <= 64);
            }
            assert!(seen > 0);
        });
        queue.drain(usize::MAX, drop);
        let all: Vec<_> = std::iter::from_fn(|| queue.reserve()).collect();
        assert_eq!(all.len(), 64, "no place is lost");
    }
}

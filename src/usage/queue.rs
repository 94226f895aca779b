//! The bounded queue of records to the admin thread.
//!
//! The record of an admitted request can never be lost: when records wait for the disk, requests are refused and not
//! records.

use crossbeam_queue::SegQueue;

use super::record::Record;

/// Records that a queue holds by default.
pub const QUEUE_ROWS: usize = 65_536;

/// Takes records from any number of workers for one reader. Never blocks.
///
/// What is in it is money, so a record of an admitted request is never refused: requests are, while there is no room. The
/// queue can pass its bound by the requests that were admitted before, so by the open connections at most.
pub struct Queue {
    rows: SegQueue<Record>,
    rows_max: usize,
}

impl Queue {
    /// Creates a queue that has room for `rows_max` records, at least 1. Memory is taken as records come.
    #[must_use]
    pub fn new(rows_max: usize) -> Self {
        Self { rows: SegQueue::new(), rows_max: rows_max.max(1) }
    }

    /// Whether another request may be admitted.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.rows.len() < self.rows_max
    }

    /// Puts the record of an admitted request in.
    #[inline]
    pub fn send(&self, record: Record) {
        self.rows.push(record);
    }

    /// Puts a record in that nobody pays for; false if there is no room and the record is lost, which the caller counts.
    #[inline]
    #[must_use]
    pub fn try_send(&self, record: Record) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.send(record);
        }
        has_room
    }

    /// Takes up to `rows_max` records out, oldest first, and returns how many there were.
    pub fn drain(&self, rows_max: usize, mut take: impl FnMut(Record)) -> usize {
        let mut count = 0;
        while count < rows_max {
            let Some(record) = self.rows.pop() else {
                break;
            };
            take(record);
            count += 1;
        }
        count
    }

    /// How many records wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.rows.len()
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
    fn record_of_an_admitted_request_is_kept_although_there_is_no_room() {
        let queue = Queue::new(1);
        assert!(queue.has_room() && queue.try_send(record("a")));
        assert!(!queue.has_room() && !queue.try_send(record("b")));
        queue.send(record("c"));
        let mut seen = Vec::new();
        queue.drain(10, |r| seen.push(r.request_id.as_str().to_owned()));
        assert_eq!(seen, ["a", "c"]);
        assert!(queue.has_room());
    }
}

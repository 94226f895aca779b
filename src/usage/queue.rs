//! The bounded queue of records to the admin thread.

use crossbeam_queue::SegQueue;

use super::record::Record;

/// Records that a queue holds by default.
pub const QUEUE_ROWS: usize = 65_536;

/// Takes records from any number of workers for one reader. Never blocks.
///
/// Its memory follows what waits, in blocks of 31 records: room for all of them would be megabytes that nearly never are
/// used, and a ring would write to all of it in turn.
pub struct Queue {
    waiting: SegQueue<Record>,
    rows_max: usize,
}

impl Queue {
    /// Creates a queue of `rows_max` records, at least 1. Writers that come at the same moment may each be one too many.
    #[must_use]
    pub fn new(rows_max: usize) -> Self {
        Self { waiting: SegQueue::new(), rows_max: rows_max.max(1) }
    }

    /// Puts a record in; false if the queue is full and the record is lost, which the caller counts.
    #[inline]
    #[must_use]
    pub fn try_send(&self, record: Record) -> bool {
        if self.depth() >= self.rows_max {
            return false;
        }
        self.waiting.push(record);
        true
    }

    /// Takes up to `rows_max` records out, oldest first, and returns how many there were.
    pub fn drain(&self, rows_max: usize, mut take: impl FnMut(Record)) -> usize {
        let mut count = 0;
        while count < rows_max {
            let Some(record) = self.waiting.pop() else {
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
}

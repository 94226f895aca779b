//! When requests start: as fast as answers come, or on a clock.
//!
//! In an open loop a request has its start from the clock, whether or not a connection is free. Its latency counts
//! from that start, so that a stalled server cannot hide the requests it kept waiting (coordinated omission).

use std::time::Duration;

/// Shape of the load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Loop {
    /// Each connection sends its next request when the last is answered.
    Closed,
    /// This many requests start each second, spread evenly.
    Open {
        /// Requests a second, above 0.
        rate: f64,
    },
}

/// Permission to send one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// Send now; latency counts from the sending.
    Now,
    /// Send at this time after the start of the run; latency counts from it.
    At(Duration),
}

/// Hands out a bounded number of tickets.
#[derive(Debug)]
pub(crate) struct Pace {
    shape: Loop,
    issued: u64,
    requests_max: u64,
    duration: Duration,
}

impl Pace {
    /// Makes a pace of at most `requests_max` requests, none of which starts later than `duration`.
    pub(crate) fn new(shape: Loop, requests_max: u64, duration: Duration) -> Self {
        Self { shape, issued: 0, requests_max, duration }
    }

    /// Takes the next ticket at `elapsed` after the start; `None` when the run is over.
    ///
    /// An open loop hands out overdue tickets until the end, so that lateness shows in the latencies. Once the time
    /// is over, the tickets that were due and never sent are left for [`Pace::missed`].
    pub(crate) fn take(&mut self, elapsed: Duration) -> Option<Ticket> {
        if self.issued >= self.requests_max || elapsed >= self.duration {
            return None;
        }
        let ticket = match self.shape {
            Loop::Closed => Ticket::Now,
            Loop::Open { rate } => {
                let at = start_of(self.issued, rate);
                if at >= self.duration {
                    return None;
                }
                Ticket::At(at)
            }
        };
        self.issued += 1;
        Some(ticket)
    }

    /// Tickets of an open loop that the clock wanted and nobody had a free connection for.
    pub(crate) fn missed(&self) -> u64 {
        let Loop::Open { rate } = self.shape else {
            return 0;
        };
        // Counted by halving: the last ticket that starts before the end.
        let (mut low, mut high) = (self.issued, self.requests_max);
        while low < high {
            let middle = low + (high - low) / 2;
            if start_of(middle, rate) < self.duration {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low - self.issued
    }
}

/// Start of request `index` after the start of the run. Exact to a nanosecond: no sum of rounded steps.
fn start_of(index: u64, rate: f64) -> Duration {
    Duration::try_from_secs_f64(index as f64 / rate).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn closed_loop_ends_by_count_or_time() {
        let mut pace = Pace::new(Loop::Closed, 2, SECOND);
        assert_eq!(pace.take(Duration::ZERO), Some(Ticket::Now));
        assert_eq!(pace.take(SECOND), None, "time is over");
        assert_eq!(pace.take(Duration::ZERO), Some(Ticket::Now));
        assert_eq!(pace.take(Duration::ZERO), None, "count is reached");
        assert_eq!(pace.missed(), 0);
    }

    #[test]
    fn open_loop_spreads_starts_evenly_and_does_not_drift() {
        let mut pace = Pace::new(Loop::Open { rate: 3.0 }, u64::MAX, 10 * SECOND);
        let starts: Vec<u128> = std::iter::from_fn(|| pace.take(Duration::ZERO))
            .map(|ticket| match ticket {
                Ticket::At(at) => at.as_millis(),
                Ticket::Now => panic!("an open loop has starts"),
            })
            .collect();
        assert_eq!(starts.len(), 30);
        assert_eq!(starts[..4], [0, 333, 666, 1000]);
        assert_eq!(starts[29], 9666);
    }

    #[test]
    fn open_loop_gives_overdue_starts_unchanged() {
        let mut pace = Pace::new(Loop::Open { rate: 1000.0 }, u64::MAX, SECOND);
        for index in 0..3 {
            assert_eq!(pace.take(Duration::from_millis(900)), Some(Ticket::At(Duration::from_millis(index))));
        }
    }

    #[test]
    fn tickets_nobody_took_are_counted() {
        for (rate, duration, taken, missed) in [(100.0, 1, 40, 60), (100.0, 1, 100, 0), (1.0, 10, 0, 10)] {
            let mut pace = Pace::new(Loop::Open { rate }, u64::MAX, SECOND * duration);
            for _ in 0..taken {
                assert!(pace.take(Duration::ZERO).is_some());
            }
            assert_eq!(pace.missed(), missed, "{rate} for {duration} s");
        }
    }
}

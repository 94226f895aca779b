//! Whether the workers' loops still turn.
//!
//! A worker whose loop stands still for ten seconds serves nobody and confirms nothing: the process ends instead (F-32).

use std::{sync::Arc, time::Duration};

use crate::{base::Instant, metrics::WorkerBlock};

/// How often it is looked. Older looks than a few of these mean that the whole process was stopped or starved.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
const LATE_MAX: Duration = Duration::from_secs(3);
/// Looks in which a worker may show the same heartbeat. Looks are counted, not seconds: where the whole machine is starved we look
/// seldom too, and workers that just wait for their turn are not blamed.
const LOOKS_MAX: u32 = 10;

/// Looks at heartbeats.
pub(super) struct Heartbeats {
    looked: Instant,
    /// Last heartbeat of each worker, and in how many looks it was the same.
    seen: Vec<(Duration, u32)>,
}

impl Heartbeats {
    /// Begins when the workers run. Their blocks are as old as the process, and what is served may have taken longer to read
    /// than a worker may stand still.
    pub(super) fn new(now: Instant) -> Self {
        Self { looked: now, seen: Vec::new() }
    }

    /// The workers that stand still, by their numbers.
    pub(super) fn missing(&mut self, now: Instant, workers: &[Arc<WorkerBlock>]) -> Vec<usize> {
        let counts = u32::from(now.saturating_duration_since(self.looked) <= LATE_MAX);
        self.looked = now;
        self.seen.resize(workers.len(), (Duration::MAX, 0));
        let mut missing = Vec::new();
        for (index, (worker, (beat, looks))) in workers.iter().zip(&mut self.seen).enumerate() {
            let last = worker.last_heartbeat();
            *looks = if last == *beat { *looks + counts } else { 0 };
            *beat = last;
            if *looks >= LOOKS_MAX {
                missing.push(index);
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use crate::{base::now, metrics::Registry};

    use super::*;

    #[test]
    fn f_32_worker_that_stands_still_is_found_and_a_starved_process_is_not_blamed() {
        let start = now();
        let registry = Registry::new(2);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heartbeats = Heartbeats::new(start);
        let beat = |worker: usize, seconds| registry.workers()[worker].beat(at(seconds), Duration::ZERO);
        let mut missing = |seconds| heartbeats.missing(at(seconds), registry.workers());
        for second in 1..=10 {
            beat(0, second);
            assert_eq!(missing(second), Vec::<usize>::new(), "{second} s");
        }
        beat(0, 11);
        assert_eq!(missing(11), [1]);
        beat(1, 12);
        assert_eq!(missing(12), Vec::<usize>::new());
        // The whole process stood still for a minute, and has so little time now that workers need many looks for a turn.
        for second in 72..=80 {
            assert_eq!(missing(second), Vec::<usize>::new(), "{second} s");
        }
        beat(1, 81);
        assert_eq!(missing(81), [0]);
        // It is seldom looked at all.
        for turn in 0..20 {
            assert!(!missing(100 + turn * 10).contains(&1), "turn {turn}");
        }
    }

    #[test]
    fn time_before_the_workers_run_is_not_held_against_them() {
        let start = now();
        let registry = Registry::new(2);
        let at = |seconds| start + Duration::from_secs(seconds);
        // A store with a million keys, or a slow disk: the first look comes before the first beat.
        let mut heartbeats = Heartbeats::new(at(60));
        let mut missing = |seconds| heartbeats.missing(at(seconds), registry.workers());
        assert_eq!(missing(60), Vec::<usize>::new());
        registry.workers()[0].beat(at(62), Duration::ZERO);
        for second in 61..70 {
            assert_eq!(missing(second), Vec::<usize>::new(), "{second} s");
        }
        assert_eq!(missing(70), [1], "it never began");
    }
}

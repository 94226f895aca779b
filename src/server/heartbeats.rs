//! Whether the workers' loops still turn.
//!
//! A worker whose loop stands still for ten seconds serves nobody and confirms nothing: the process ends instead (F-32).

use std::{sync::Arc, time::Duration};

use crate::{
    base::Instant,
    metrics::{HEARTBEAT_MAX, WorkerBlock},
};

/// How often it is looked. Older looks than a few of these mean that the whole process was stopped or starved.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
const LATE_MAX: Duration = Duration::from_secs(3);

/// Looks at heartbeats.
pub(super) struct Heartbeats {
    begun: Instant,
    looked: Instant,
}

impl Heartbeats {
    /// Begins when the workers run. Their blocks are as old as the process, and what is served may have taken longer to read
    /// than a worker may stand still.
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, looked: now }
    }

    /// The workers that stand still, by their numbers. None when we have not run either: then they get a second to go on.
    pub(super) fn missing(&mut self, now: Instant, workers: &[Arc<WorkerBlock>]) -> Vec<usize> {
        let since = now.saturating_duration_since(self.looked);
        self.looked = now;
        if since > LATE_MAX || now.saturating_duration_since(self.begun) < HEARTBEAT_MAX {
            return Vec::new();
        }
        let dead = workers.iter().enumerate().filter(|(_, worker)| !worker.is_alive(now));
        dead.map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{base::now, metrics::Registry};

    use super::*;

    #[test]
    fn worker_that_stands_still_is_found_and_a_stopped_process_is_not_blamed() {
        let start = now();
        let registry = Registry::new(2);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heartbeats = Heartbeats::new(start);
        let beat = |worker: usize, seconds| registry.workers()[worker].beat(at(seconds), Duration::ZERO);
        let mut missing = |seconds| heartbeats.missing(at(seconds), registry.workers());
        for second in 1..=9 {
            beat(0, second);
            assert_eq!(missing(second), Vec::<usize>::new(), "{second} s");
        }
        beat(0, 11);
        assert_eq!(missing(11), [1]);
        // The whole process stood still for a minute.
        assert_eq!(missing(71), Vec::<usize>::new());
        beat(0, 72);
        assert_eq!(missing(72), [1]);
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

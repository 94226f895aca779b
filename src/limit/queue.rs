//! Requests that wait for a place among the open ones.

use std::{sync::Arc, time::Duration};

use super::meter::Meter;

/// How many may wait, and how long each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Most that wait at the same time.
    pub max: u32,
    /// How long one waits.
    pub wait: Duration,
}

/// One request that waits. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Waiting {
    meter: Arc<Meter>,
}

impl Waiting {
    /// Joins the queue of a counter; none when it is full.
    pub(super) fn join(meter: &Arc<Meter>, queue: Queue) -> Option<Self> {
        let before = meter.waiting.update(|waiting| (waiting < u64::from(queue.max)).then_some(waiting + 1));
        before.map(|_| Self { meter: Arc::clone(meter) })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.meter.waiting.subtract(1);
    }
}

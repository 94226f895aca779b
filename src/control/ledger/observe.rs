//! What was stored of requests, for whoever watches it.
//!
//! Sums of one commit, by group: nothing is done for a single request, and nothing at all while nobody watches.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::{
    batch::{Batch, organization_of},
    group::Share,
};
use crate::usage::Tally;

/// Sums that wait at most; more are dropped, and a rule sees less than there was.
const WAITING_MAX: usize = 65_536;

/// The requests of one group in one commit.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The organization; empty when a request got to no route.
    pub organization: String,
    /// Id of the project; empty when a request got to none.
    pub project: String,
    /// Name of the route; empty when a request got to none.
    pub route: String,
    /// Id of the key; empty without one.
    pub key: String,
    /// Code of the error; empty when there was none.
    pub error: &'static str,
    /// Whether they failed or were refused.
    pub failed: bool,
    /// The sum.
    pub tally: Tally,
    /// How many had figures of a provider that could not be true.
    pub suspects: u64,
    /// How many the platform's credential had to serve, because the own one was refused.
    pub fallbacks: u64,
}

/// Where sums wait until somebody takes them.
#[derive(Debug, Default)]
pub struct Observations {
    watched: AtomicBool,
    waiting: Mutex<Vec<Observed>>,
}

impl Observations {
    /// Takes everything that came since the last time; from now on more is kept, or nothing.
    pub fn take(&self, next: Watching) -> Vec<Observed> {
        self.watched.store(next == Watching::Yes, Ordering::Relaxed);
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what a commit stored.
    pub(super) fn note(&self, batch: &Batch) {
        if !self.watched.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WAITING_MAX.saturating_sub(waiting.len());
        let shares = batch.shares.values().take(room);
        waiting.extend(shares.map(|share| share.observed()));
    }
}

/// Whether somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// Nobody does.
    No,
    /// Somebody does.
    Yes,
}

impl Share {
    fn observed(&self) -> Observed {
        let group = &self.group;
        Observed {
            organization: organization_of(group.labels()).to_owned(),
            project: group.project().to_owned(),
            route: group.labels().map(|labels| labels.route.to_string()).unwrap_or_default(),
            key: group.caller().map(|caller| caller.key.to_string()).unwrap_or_default(),
            error: group.error(),
            failed: group.is_error(),
            tally: self.tally.clone(),
            suspects: self.suspects,
            fallbacks: self.fallbacks,
        }
    }
}

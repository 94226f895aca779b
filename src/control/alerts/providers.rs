//! Attempts at providers since the last look.

use std::{collections::HashMap, sync::Arc};

use super::window::Counted;
use crate::{
    metrics::{Outcome, Series},
    snapshot::Snapshot,
};

/// Series of which the counts are kept at most.
const KEPT_MAX: usize = 100_000;

/// What attempts of one route came to.
pub(super) struct Attempted {
    pub(super) project: Arc<str>,
    pub(super) route: String,
    pub(super) counted: Counted,
}

/// Counts at the last look. Workers count in any case, so looking costs the data path nothing.
#[derive(Default)]
pub(super) struct Providers(HashMap<usize, (Arc<Series>, Seen)>);

#[derive(Clone, Copy, Default)]
struct Seen {
    attempts: u64,
    broken: u64,
    unauthorized: u64,
}

impl Seen {
    fn of(series: &Series) -> Self {
        let counts = series.attempts();
        let count = |outcome: Outcome| counts.get(usize::from(outcome as u8)).copied().unwrap_or(0);
        let broken = [
            Outcome::ServerError,
            Outcome::Connect,
            Outcome::Reset,
            Outcome::Truncated,
            Outcome::Timeout,
            Outcome::Invalid,
        ];
        Self {
            // A client that left says nothing about its provider.
            attempts: counts.iter().sum::<u64>().saturating_sub(count(Outcome::Cancelled)),
            broken: broken.into_iter().map(count).sum(),
            unauthorized: count(Outcome::Auth),
        }
    }
}

impl Providers {
    /// What was attempted since the last look, by route. What was counted before the first look does not count.
    pub(super) fn look(&mut self, snapshot: &Snapshot) -> Vec<Attempted> {
        let mut found = Vec::new();
        if self.0.len() >= KEPT_MAX {
            self.0.clear();
        }
        let mut looked_at = HashMap::new();
        for (project, part) in snapshot.projects() {
            for target in part.routes().iter().flat_map(|route| [&route.chat, &route.embedding]).flatten() {
                let place = Arc::as_ptr(&target.series).addr();
                let counted = *looked_at.entry(place).or_insert_with(|| self.since(place, &target.series));
                if counted.attempts > 0 {
                    let counted = Counted {
                        attempts: counted.attempts,
                        broken: counted.broken,
                        unauthorized: counted.unauthorized,
                        ..Counted::default()
                    };
                    found.push(Attempted {
                        project: Arc::clone(project),
                        route: target.labels.route.to_string(),
                        counted,
                    });
                    // Targets that share their counts are told once.
                    looked_at.insert(place, Seen::default());
                }
            }
        }
        found
    }

    fn since(&mut self, place: usize, series: &Arc<Series>) -> Seen {
        let now = Seen::of(series);
        let before = self.0.insert(place, (Arc::clone(series), now)).map_or(now, |(_, before)| before);
        Seen {
            attempts: now.attempts.saturating_sub(before.attempts),
            broken: now.broken.saturating_sub(before.broken),
            unauthorized: now.unauthorized.saturating_sub(before.unauthorized),
        }
    }
}

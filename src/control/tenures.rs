//! How many replaced configurations of a project may be in use.
//!
//! A stream finishes on the configuration that opened it. So that a client cannot keep any number of them in memory, those of
//! a project beyond the [`OLD_MAX`] that were replaced last get a time to finish; beyond [`OLD_CEILING`] there is none left.
//! Counted by project: what one tenant serves ends no stream of another. Changes of API keys replace no configuration.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use crate::base::{Instant, Tenure};

/// Replaced configurations of one project that may be in use for as long as their streams last.
const OLD_MAX: usize = 8;
/// Most replaced configurations of one project in use at all: the oldest beyond it end at the next look.
const OLD_CEILING: usize = 2 * OLD_MAX;

/// The replaced configurations that something still uses.
pub(super) struct Tenures {
    grace: Duration,
    by_project: HashMap<Arc<str>, VecDeque<Old>>,
}

struct Old {
    tenure: Weak<Tenure>,
    /// When its streams end; none while it is among the last.
    until: Option<Instant>,
}

/// What happened to configurations of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aged {
    pub(super) project: Arc<str>,
    pub(super) step: Step,
    /// How many configurations.
    pub(super) count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Their streams have been told a time.
    Given,
    /// Their time is over.
    Ended,
}

impl Tenures {
    /// Starts without any; `grace` is the time to finish.
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, by_project: HashMap::new() }
    }

    /// Takes note of a configuration that is not served any more.
    pub(super) fn replaced(&mut self, project: &Arc<str>, tenure: &Arc<Tenure>) {
        let old = Old { tenure: Arc::downgrade(tenure), until: None };
        self.by_project.entry(Arc::clone(project)).or_default().push_back(old);
    }

    /// Forgets those that nothing uses any more, gives the oldest of too many a time and ends those whose time is over.
    pub(super) fn age(&mut self, now: Instant) -> Vec<Aged> {
        let mut aged = Vec::new();
        for (project, olds) in &mut self.by_project {
            olds.retain(|old| old.tenure.strong_count() > 0);
            for (step, count) in age_one(olds, now, self.grace) {
                if count > 0 {
                    aged.push(Aged { project: Arc::clone(project), step, count });
                }
            }
        }
        self.by_project.retain(|_, olds| !olds.is_empty());
        aged
    }

    /// Whether a configuration is in use although its time is over.
    pub(super) fn any_over(&self) -> bool {
        let mut tenures = self.by_project.values().flatten().filter_map(|old| old.tenure.upgrade());
        tenures.any(|tenure| tenure.is_over())
    }
}

fn age_one(olds: &mut VecDeque<Old>, now: Instant, grace: Duration) -> [(Step, u64); 2] {
    let (mut given, mut ended) = (0, 0);
    let count = olds.len();
    for (index, old) in olds.iter_mut().enumerate() {
        let Some(tenure) = old.tenure.upgrade().filter(|tenure| !tenure.is_over()) else { continue };
        // How many were replaced after it.
        let later = count - 1 - index;
        if later < OLD_MAX {
            old.until = None;
            continue;
        }
        given += u64::from(old.until.is_none());
        let until = if later >= OLD_CEILING { now } else { *old.until.get_or_insert(now + grace) };
        if until <= now {
            tenure.end();
            ended += 1;
        }
    }
    [(Step::Given, given), (Step::Ended, ended)]
}

#[cfg(test)]
mod tests {
    use crate::base::now;

    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    /// Tenures of one project that streams hold, oldest first.
    fn held(tenures: &mut Tenures, project: &str, count: usize) -> Vec<Arc<Tenure>> {
        let held: Vec<_> = (0..count).map(|_| Arc::<Tenure>::default()).collect();
        held.iter().for_each(|tenure| tenures.replaced(&project.into(), tenure));
        held
    }

    fn over(held: &[Arc<Tenure>]) -> usize {
        held.iter().filter(|tenure| tenure.is_over()).count()
    }

    fn aged(project: &str, step: Step, count: u64) -> Aged {
        Aged { project: project.into(), step, count }
    }

    #[test]
    fn eight_stay_and_the_ninth_gets_a_time() {
        let start = now();
        let mut tenures = Tenures::new(GRACE);
        let mut olds = held(&mut tenures, "a", 8);
        let others = held(&mut tenures, "b", 8);
        assert_eq!(tenures.age(start), []);
        olds.extend(held(&mut tenures, "a", 2));
        assert_eq!(tenures.age(start), [aged("a", Step::Given, 2)]);
        assert_eq!(tenures.age(start + GRACE / 2), [], "told once");
        assert_eq!((over(&olds), tenures.any_over()), (0, false));
        assert_eq!(tenures.age(start + GRACE), [aged("a", Step::Ended, 2)]);
        assert!(olds[..2].iter().all(|tenure| tenure.is_over()) && over(&olds) == 2 && tenures.any_over());
        assert_eq!(over(&others), 0, "a neighbour's streams go on");
        drop(olds.drain(..2));
        assert_eq!(tenures.age(start + GRACE * 2), []);
        assert!(!tenures.any_over() && over(&olds) == 0);
    }

    #[test]
    fn those_that_nothing_uses_do_not_count() {
        let start = now();
        let mut tenures = Tenures::new(GRACE);
        let olds = held(&mut tenures, "a", 1);
        for _ in 0..100 {
            drop(held(&mut tenures, "a", 1));
            assert_eq!(tenures.age(start), []);
        }
        drop(olds);
        assert_eq!(tenures.age(start), []);
        assert!(tenures.by_project.is_empty(), "memory of what is gone");
    }

    #[test]
    fn time_is_taken_back_when_others_are_gone() {
        let start = now();
        let mut tenures = Tenures::new(GRACE);
        let mut olds = held(&mut tenures, "a", 9);
        assert_eq!(tenures.age(start), [aged("a", Step::Given, 1)]);
        drop(olds.pop());
        assert_eq!(tenures.age(start + GRACE * 2), []);
        assert_eq!(over(&olds), 0);
    }

    #[test]
    fn seventeenth_ends_the_oldest_at_once() {
        let start = now();
        let mut tenures = Tenures::new(GRACE);
        let olds = held(&mut tenures, "a", OLD_CEILING + 1);
        assert_eq!(tenures.age(start), [aged("a", Step::Given, 9), aged("a", Step::Ended, 1)]);
        assert!(olds[0].is_over() && over(&olds) == 1);
    }
}

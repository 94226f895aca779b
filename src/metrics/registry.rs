//! All series of the process, by the labels they have.
//!
//! Asked when a configuration is compiled, never per request; its locks are of the admin thread. A series outlives the
//! configuration that asked for it, because a counter must not go back: there is a bound, and beyond it one shared series.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::base::{Instant, Labels, UnixTime, now};

use super::scrape::{Outside, Scrape, Sources};
use super::series::Series;
use super::times::ChangeBlock;
use super::worker::WorkerBlock;

/// Most series of their own. Whoever asks for more shares one whose labels are all [`OVERFLOW_LABEL`].
pub const SERIES_MAX: usize = 100_000;
/// Label value of the series that is shared beyond [`SERIES_MAX`].
pub const OVERFLOW_LABEL: &str = "_overflow";

/// Hands out series and worker blocks, and reads them for a scrape.
pub struct Registry {
    workers: Arc<[Arc<WorkerBlock>]>,
    table: Mutex<Table>,
    config: Mutex<ConfigState>,
    changes: ChangeBlock,
    busy: Mutex<Busy>,
    series_max: usize,
}

struct Table {
    by_labels: HashMap<Shown, Arc<Series>>,
    order: Vec<Arc<Series>>,
    overflow: Option<Arc<Series>>,
    overflow_count: u64,
}

/// What the process knows about its configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigState {
    pub(super) generation: u64,
    pub(super) served: u64,
    pub(super) refused: u64,
    pub(super) last_serve: Option<UnixTime>,
    pub(super) broken: Vec<Box<str>>,
    replaced: Vec<Replaced>,
}

/// A configuration that is not current any more; what it is does not matter here.
type Replaced = Weak<dyn Any + Send + Sync>;

impl ConfigState {
    /// How many replaced configurations a request or a stream still uses.
    pub(super) fn old_generations(&self) -> usize {
        self.replaced.iter().filter(|old| old.strong_count() > 0).count()
    }
}

/// The last sample of the workers' busy time.
struct Busy {
    at: Instant,
    us: Vec<u64>,
    ppm: Vec<u64>,
}

/// Labels compared by what a scrape shows of them: not by `target`.
struct Shown(Arc<Labels>);

impl Registry {
    /// Creates the registry and the blocks of `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self::with_series_max(workers, SERIES_MAX)
    }

    /// As [`Registry::new`] with another bound on the number of series.
    pub(super) fn with_series_max(workers: usize, series_max: usize) -> Self {
        let started = now();
        Self {
            workers: (0..workers).map(|_| Arc::new(WorkerBlock::new(started))).collect(),
            table: Mutex::new(Table {
                by_labels: HashMap::new(),
                order: Vec::new(),
                overflow: None,
                overflow_count: 0,
            }),
            config: Mutex::default(),
            changes: ChangeBlock::default(),
            busy: Mutex::new(Busy { at: started, us: vec![0; workers], ppm: vec![0; workers] }),
            series_max,
        }
    }

    /// Returns the block of one worker; none if there is no such worker.
    #[must_use]
    pub fn worker(&self, index: usize) -> Option<Arc<WorkerBlock>> {
        self.workers.get(index).cloned()
    }

    /// Returns the blocks of all workers, by index.
    #[must_use]
    pub fn workers(&self) -> &[Arc<WorkerBlock>] {
        &self.workers
    }

    /// Whether every worker's last heartbeat is young enough: what `/livez` says. Takes no lock.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.workers.iter().all(|worker| worker.is_alive(now))
    }

    /// Returns the series with these labels, the same one each time.
    ///
    /// Two labels that differ only in `target` share a series. Beyond [`SERIES_MAX`] new labels share one overflow series.
    /// Takes a lock: never call it on the data path.
    pub fn series(&self, labels: Arc<Labels>) -> Arc<Series> {
        let mut table = locked(&self.table);
        let shown = Shown(labels);
        if let Some(series) = table.by_labels.get(&shown) {
            return Arc::clone(series);
        }
        if table.order.len() >= self.series_max {
            table.overflow_count += 1;
            let overflow = table
                .overflow
                .get_or_insert_with(|| Arc::new(Series::new(overflow_labels(), Arc::clone(&self.workers))));
            return Arc::clone(overflow);
        }
        let series = Arc::new(Series::new(Arc::clone(&shown.0), Arc::clone(&self.workers)));
        table.order.push(Arc::clone(&series));
        table.by_labels.insert(shown, Arc::clone(&series));
        series
    }

    /// Counts how long a configuration took to be checked and compiled. Only the admin thread may call it.
    pub fn config_compiled(&self, time: Duration) {
        self.changes.compiled(time);
    }

    /// Counts how long a change took from its publication until every worker showed it. Only the admin thread may call it.
    pub fn config_published(&self, time: Duration) {
        self.changes.published(time);
    }

    /// Notes the generation that is published, whatever changed.
    pub fn config_generation(&self, generation: u64) {
        locked(&self.config).generation = generation;
    }

    /// Notes that a configuration was served.
    pub fn config_served(&self, at: UnixTime) {
        let mut config = locked(&self.config);
        config.served += 1;
        config.last_serve = Some(at);
    }

    /// Takes note of a configuration that was replaced, to count those that are still in use.
    pub fn config_replaced(&self, old: Weak<dyn Any + Send + Sync>) {
        let mut config = locked(&self.config);
        config.replaced.retain(|old| old.strong_count() > 0);
        config.replaced.push(old);
    }

    /// How many replaced configurations a request or a stream still uses.
    #[must_use]
    pub fn old_generations(&self) -> usize {
        locked(&self.config).old_generations()
    }

    /// Notes that a configuration was refused and the old one kept.
    pub fn config_refused(&self) {
        locked(&self.config).refused += 1;
    }

    /// Replaces the list of projects whose stored configuration cannot be compiled.
    pub fn config_broken(&self, projects: Vec<Box<str>>) {
        locked(&self.config).broken = projects;
    }

    /// Measures how busy each worker was since the last call. Call it about once a second.
    pub fn sample(&self, now: Instant) {
        let mut busy = locked(&self.busy);
        let busy = &mut *busy;
        let wall_us = now.saturating_duration_since(busy.at).as_micros();
        if wall_us < Duration::from_millis(100).as_micros() {
            return;
        }
        busy.at = now;
        let slots = busy.us.iter_mut().zip(&mut busy.ppm);
        for (worker, (last_us, ppm)) in self.workers.iter().zip(slots) {
            let us = worker.busy_us.get();
            let spent = u128::from(us.saturating_sub(*last_us));
            *ppm = u64::try_from((spent * 1_000_000 / wall_us).min(1_000_000)).unwrap_or(0);
            *last_us = us;
        }
    }

    /// Starts a scrape of everything, with what the registry itself cannot know.
    #[must_use]
    pub fn scrape(&self, outside: Outside) -> Scrape {
        let table = locked(&self.table);
        let mut series = table.order.clone();
        series.extend(table.overflow.clone());
        let overflow_count = table.overflow_count;
        drop(table);
        Scrape::new(Sources {
            series,
            overflow_count,
            workers: Arc::clone(&self.workers),
            config: locked(&self.config).clone(),
            changes: self.changes.read(),
            busy_ppm: locked(&self.busy).ppm.clone(),
            outside,
        })
    }
}

impl Shown {
    fn parts(&self) -> [&str; 5] {
        let Self(labels) = self;
        [&labels.organization, &labels.project, &labels.route, &labels.provider, &labels.model]
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Shown {}

impl Hash for Shown {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

fn overflow_labels() -> Arc<Labels> {
    let name = || Box::from(OVERFLOW_LABEL);
    Arc::new(Labels {
        organization: name(),
        project: name(),
        route: name(),
        provider: name(),
        model: name(),
        target: name(),
    })
}

/// A panic while the lock was held leaves counters that are still worth showing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

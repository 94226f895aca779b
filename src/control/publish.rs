//! The last step of every change, and the only visible one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    base::{
        Instant,
        log::{Level, Value, emit},
        now, unix_time,
    },
    shared::Shared,
    snapshot::{Edit, Refusal, Registries, Snapshot, Sources, compile},
};

use super::tenures::{Aged, Step, Tenures};

/// How often the workers are asked whether they have seen a generation.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// Compiles the first snapshot of file mode, before any worker runs.
///
/// # Errors
/// Every problem.
pub fn first(sources: Sources, registries: &Registries) -> Result<Snapshot, Vec<Refusal>> {
    let (snapshot, warnings) = compile(sources, registries, 1)?;
    warn(&warnings);
    announce(&snapshot, registries);
    registries.metrics.config_served(unix_time());
    Ok(snapshot)
}

/// Says what deserves attention in configurations that are served.
pub fn warn(warnings: &[Refusal]) {
    for warning in warnings {
        let text = warning.problem.render(&warning.file);
        emit(Level::Warn, "configuration warning", &[("problem", Value::Text(&text))]);
    }
}

/// Makes the first snapshot of parts that were compiled one by one, before any worker runs.
#[must_use]
pub fn first_of(edit: Edit, registries: &Registries) -> Snapshot {
    let snapshot = edit.finish(1);
    announce(&snapshot, registries);
    snapshot
}

/// Replaces what is served. The only caller of [`Shared::publish`]: changes come one after the other.
pub struct Publisher {
    shared: Arc<Shared>,
    registries: Registries,
    /// Held from the reading of the present snapshot to its replacement, so that no change is lost. When the last one began,
    /// and its generation.
    changing: Mutex<(u64, Instant)>,
    /// Replaced configurations that streams still use.
    tenures: Mutex<Tenures>,
    /// Workers that were given up.
    lost: watch::Sender<Vec<usize>>,
}

/// Workers that have not confirmed a generation in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("workers {workers:?} have not confirmed generation {generation} in time")]
pub struct Unconfirmed {
    /// The generation.
    pub generation: u64,
    /// Numbers of the workers, from 0.
    pub workers: Vec<usize>,
}

impl Publisher {
    /// Starts behind the first snapshot.
    #[must_use]
    pub fn new(shared: Arc<Shared>, registries: Registries) -> Self {
        let tenures = Mutex::new(Tenures::new(shared.settings.replaced_grace));
        Self { shared, registries, changing: Mutex::new((0, now())), tenures, lost: watch::Sender::default() }
    }

    /// What outlives snapshots; compiling needs it.
    #[must_use]
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// What it publishes to.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The snapshot that is served now.
    #[must_use]
    pub fn served(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load()
    }

    /// Publishes a change of keys, secrets or the state of a project and returns the new generation. It cannot fail:
    /// `change` puts parts in that were compiled before.
    pub fn change(&self, change: impl FnOnce(&mut Edit)) -> u64 {
        let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let served = self.served();
        let generation = served.generation() + 1;
        *changing = (generation, now());
        let mut edit = served.edit();
        change(&mut edit);
        self.install(edit.finish(generation), &served);
        generation
    }

    /// As [`Self::change`], for a configuration that is served: counted and logged as that.
    pub fn serve(&self, change: impl FnOnce(&mut Edit)) -> u64 {
        let generation = self.change(change);
        self.report_serve(generation);
        generation
    }

    /// Compiles everything that file mode serves, replaces all by it and returns the new generation.
    ///
    /// # Errors
    /// Every problem; nothing has changed then.
    pub fn replace(&self, sources: Sources) -> Result<u64, Vec<Refusal>> {
        let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let served = self.served();
        let generation = served.generation() + 1;
        let begun = now();
        let compiled = compile(sources, &self.registries, generation);
        self.registries.metrics.config_compiled(begun.elapsed());
        match compiled {
            Ok((snapshot, warnings)) => {
                *changing = (generation, now());
                warn(&warnings);
                self.install(snapshot, &served);
                self.report_serve(generation);
                Ok(generation)
            }
            Err(refusals) => {
                self.refuse(&refusals);
                Err(refusals)
            }
        }
    }

    /// Whether every worker has seen this generation or a later one: each request that it takes from then on is served
    /// by it.
    #[must_use]
    pub fn acknowledged(&self, generation: u64) -> bool {
        self.worker_generations().iter().all(|seen| *seen >= generation)
    }

    /// Waits until every worker has seen this generation. Workers are rung when it is published and answer within a few
    /// milliseconds, unless they are held up.
    ///
    /// # Errors
    /// [`Unconfirmed`] after `within`. What was published stays published.
    pub async fn published_everywhere(&self, generation: u64, within: Duration) -> Result<(), Unconfirmed> {
        let confirmed = async {
            while !self.acknowledged(generation) {
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        if tokio::time::timeout(within, confirmed).await.is_ok() {
            self.count_published(generation);
            return Ok(());
        }
        let seen = self.worker_generations().into_iter().enumerate();
        Err(Unconfirmed {
            generation,
            workers: seen.filter(|(_, seen)| *seen < generation).map(|(at, _)| at).collect(),
        })
    }

    /// Counts how long a change took to be seen by all workers; one that a later change overtook counts with that.
    fn count_published(&self, generation: u64) {
        let (last, begun) = *self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if last == generation {
            self.registries.metrics.config_published(begun.elapsed());
        }
    }

    /// Gives up on workers that have not confirmed a change in time: whoever waits in [`Self::given_up`] ends the process.
    pub fn give_up(&self, late: &Unconfirmed) {
        self.lost.send_replace(late.workers.clone());
    }

    /// Waits until workers were given up, and returns their numbers.
    pub async fn given_up(&self) -> Vec<usize> {
        let mut lost = self.lost.subscribe();
        // The sender is ours, so it does not go while we wait.
        lost.wait_for(|workers| !workers.is_empty()).await.map(|workers| workers.clone()).unwrap_or_default()
    }

    /// The generation that each worker has seen, by its number; 0 before its first.
    #[must_use]
    pub fn worker_generations(&self) -> Vec<u64> {
        self.registries.metrics.workers().iter().map(|block| block.generation.get()).collect()
    }

    /// How many replaced configurations of projects still serve a request or a stream.
    #[must_use]
    pub fn old_generations(&self) -> usize {
        self.registries.metrics.old_generations()
    }

    /// Bounds how many replaced configurations of a project are in use: the oldest of too many get a time to finish, and
    /// then end. To be called about once a second.
    pub fn age_streams(&self) {
        let mut tenures = self.tenures.lock().unwrap_or_else(PoisonError::into_inner);
        let aged = tenures.age(now());
        self.shared.set_outdating(tenures.any_over());
        drop(tenures);
        for Aged { project, step, count } in aged {
            let text = match step {
                Step::Given => {
                    "more than 8 replaced configurations of a project are in use; streams of the oldest get a time to finish"
                }
                Step::Ended => "streams of replaced configurations are ended",
            };
            let grace_s = self.shared.settings.replaced_grace.as_secs();
            let fields = [
                ("project", Value::Text(&project)),
                ("configurations", Value::Uint(count)),
                ("grace_s", Value::Uint(grace_s)),
            ];
            emit(Level::Warn, text, &fields);
        }
    }

    /// Reports a change that was refused: one line a problem in the log, and in the metrics.
    pub fn refuse(&self, refusals: &[Refusal]) {
        self.registries.metrics.config_refused();
        let mut broken: Vec<Box<str>> = refusals.iter().map(|refusal| stem_of(&refusal.file)).collect();
        broken.dedup();
        self.registries.metrics.config_broken(broken);
        for refusal in refusals {
            let text = refusal.problem.render(&refusal.file);
            emit(
                Level::Error,
                "configuration refused; the one before goes on serving",
                &[("problem", Value::Text(&text))],
            );
        }
    }

    fn install(&self, next: Snapshot, served: &Arc<Snapshot>) {
        announce(&next, &self.registries);
        let mut tenures = self.tenures.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, part) in served.replaced_by(&next) {
            if let Some(tenure) = part.tenure() {
                tenures.replaced(id, tenure);
                let old = Arc::downgrade(tenure);
                self.registries.metrics.config_replaced(old);
            }
        }
        drop(tenures);
        self.shared.publish(next);
    }

    fn report_serve(&self, generation: u64) {
        self.registries.metrics.config_served(unix_time());
        emit(Level::Info, "configuration served", &[("generation", Value::Uint(generation))]);
    }
}

/// Tells the metrics what a snapshot is.
fn announce(snapshot: &Snapshot, registries: &Registries) {
    registries.metrics.config_generation(snapshot.generation());
    let broken = snapshot.projects().filter(|(_, part)| part.is_broken());
    let mut broken: Vec<Box<str>> = broken.map(|(_, part)| part.slug().into()).collect();
    // Slugs of two organizations may be the same, and a metric has each label once.
    broken.sort();
    broken.dedup();
    registries.metrics.config_broken(broken);
}

/// `support` for `projects/support.yaml`: the project, as far as a file has one.
fn stem_of(file: &str) -> Box<str> {
    let stem = std::path::Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use tokio::runtime::Builder;

    use crate::{
        base::{Digest, KeyHasher},
        metrics::{Outside, Registry},
        shared::tests::shared,
        snapshot::{Grant, ProjectPart, Scope},
        upstream::{Guard, Origins, Resolver, Rules, TtlBounds},
    };

    use super::*;

    fn publisher() -> (Publisher, Vec<UnixDatagram>) {
        let guard = Arc::new(Guard::new(Rules::default(), Vec::new()));
        let second = Duration::from_secs(1);
        let resolver = Resolver::new(Arc::clone(&guard), Vec::new(), TtlBounds { min: second, max: second }, |_| {});
        let metrics = Arc::new(Registry::new(2));
        let registries = Registries::new(Arc::clone(&metrics), Arc::new(Origins::new(guard, resolver)));
        let first = first_of(Edit::empty(KeyHasher::Plain), &registries);
        let (shared, ears) = shared(2, first, metrics);
        (Publisher::new(shared, registries), ears)
    }

    fn put_key(edit: &mut Edit, key: &[u8]) {
        let scope = Scope::Project("prj_1".into());
        let grant = Grant {
            caller: Arc::new(crate::base::Caller::of_key("k")),
            limits: crate::limit::LimitSet::default(),
            scope,
            routes: None,
            enabled: true,
            expires: None,
            policy: None,
        };
        edit.put_grant(Digest::of(key), grant);
    }

    #[test]
    fn changes_follow_each_other_and_none_is_lost() {
        let (publisher, _ears) = publisher();
        assert_eq!(publisher.change(|edit| put_key(edit, b"one")), 2);
        assert_eq!(publisher.serve(|edit| edit.put_project("prj_1".into(), ProjectPart::broken("p"))), 3);
        assert_eq!(publisher.change(|edit| put_key(edit, b"two")), 4);
        let served = publisher.served();
        assert!(served.grant(b"one").is_some() && served.grant(b"two").is_some() && served.project("prj_1").is_some());
        assert_eq!(served.generation(), 4);
    }

    #[test]
    fn publish_is_confirmed_when_the_last_worker_has_seen_it() {
        let (publisher, _ears) = publisher();
        let generation = publisher.change(|edit| put_key(edit, b"one"));
        let workers = publisher.registries().metrics.workers();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let ask = |within| runtime.block_on(publisher.published_everywhere(generation, within));
        assert_eq!(ask(Duration::ZERO), Err(Unconfirmed { generation, workers: vec![0, 1] }));
        workers[0].generation.set(generation);
        assert_eq!(ask(Duration::ZERO), Err(Unconfirmed { generation, workers: vec![1] }));
        assert!(!publisher.acknowledged(generation));
        workers[1].generation.set(generation + 1);
        assert_eq!(ask(Duration::ZERO), Ok(()));
        assert_eq!(publisher.worker_generations(), [2, 3]);
        let counted = |publisher: &Publisher| {
            let mut text = String::new();
            publisher.registries().metrics.scrape(Outside::default()).write(&mut text, usize::MAX);
            text.contains("millrace_config_publish_seconds_count 1\n")
        };
        assert!(counted(&publisher));
        publisher.change(|edit| put_key(edit, b"two"));
        assert_eq!(ask(Duration::ZERO), Ok(()), "another has followed");
        assert!(counted(&publisher), "one that a later change overtook is not counted by itself");
    }

    #[test]
    fn confirmation_that_comes_while_waiting_ends_the_wait() {
        let (publisher, _ears) = publisher();
        let generation = publisher.change(|_| {});
        let workers = publisher.registries().metrics.workers();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let confirm = async {
            tokio::task::yield_now().await;
            workers.iter().for_each(|worker| worker.generation.set(generation));
        };
        let both = async { tokio::join!(publisher.published_everywhere(generation, Duration::from_secs(60)), confirm) };
        assert_eq!(runtime.block_on(both).0, Ok(()));
    }

    /// A part of which streams hold what its targets would hold.
    fn part(publisher: &Publisher) -> ProjectPart {
        let source = crate::snapshot::tests::mock_project("prj_1", "p", &["chat"]);
        crate::snapshot::compile_project(&source, publisher.registries()).ok().unwrap()
    }

    #[test]
    fn old_configurations_are_counted_until_their_last_request_ends() {
        let (publisher, _ears) = publisher();
        let put = |publisher: &Publisher| publisher.serve(|edit| edit.put_project("prj_1".into(), part(publisher)));
        put(&publisher);
        let streams: Vec<_> = (0..3)
            .map(|number: u8| {
                let held = Arc::clone(publisher.served().project("prj_1").unwrap().tenure().unwrap());
                put(&publisher);
                put(&publisher);
                publisher.change(|edit| put_key(edit, &[number]));
                held
            })
            .collect();
        assert_eq!(publisher.old_generations(), 3, "those that nobody uses do not count, keys neither");
        drop(streams);
        assert_eq!(publisher.old_generations(), 0);
    }

    #[test]
    fn changes_of_keys_end_no_stream() {
        let (publisher, _ears) = publisher();
        publisher.serve(|edit| edit.put_project("prj_1".into(), part(&publisher)));
        let held: Vec<_> = (0..200_u8)
            .map(|number| {
                publisher.change(|edit| put_key(edit, &[number]));
                publisher.age_streams();
                publisher.served()
            })
            .collect();
        let tenure = held[0].project("prj_1").unwrap().tenure().unwrap();
        assert_eq!((publisher.old_generations(), tenure.is_over()), (0, false));
        assert!(!publisher.shared().is_outdating());
    }
}

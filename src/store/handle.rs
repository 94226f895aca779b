//! The handle of the store: closures go in, answers come out.
//!
//! One thread changes the database, two others read it beside. Changes that wait together share one transaction and one
//! sync of the disk; each can still fail alone. A caller is answered after the commit, never before.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    engine::{Job, Reader, Verdict, Writer},
    error::StoreError,
    health::{Health, HealthCell, Part},
    queue::{Queue, Taken},
    sqlite,
    tx::{Outcome, Tx},
};
use crate::{
    base::{
        Instant, Settler,
        log::{Level, Value, emit},
        now,
    },
    metrics::StoreBlock,
};

/// Changes, and reads, that wait at most; more are refused.
const WAITING_MAX: usize = 1_024;
/// Changes in one transaction at most.
const BATCH_MAX: usize = 128;
/// How often a store that cannot be written is tried again when nobody asks.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// How long nobody asks for anything before memory is given back, once.
const REST_AFTER: Duration = Duration::from_secs(1);

/// What the control plane keeps. Cheap to clone; the last clone that goes ends the threads, after what waits was done.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    writes: Arc<Queue<Change>>,
    block: Arc<StoreBlock>,
    reads: Arc<Queue<Reading>>,
    health: Arc<HealthCell>,
    writer: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

/// A change, and since when it waits.
type Change = (Instant, Box<dyn Job>);

/// What a reading thread is asked for.
enum Reading {
    Job(Box<dyn Job>, Option<Duration>),
    Backup(PathBuf, oneshot::Sender<Outcome<()>>),
    Check,
}

impl Store {
    /// Opens the database file, makes it with its folder if it is not there, brings its schema up to date and checks it.
    ///
    /// Files up to what can be read in about a quarter of a second are checked now; the rest of larger ones is checked
    /// beside the work, and damage then shows in [`Store::health`].
    ///
    /// # Errors
    /// Another process uses the file, it cannot be made, read or written, it is damaged, or of a newer version.
    pub fn open(path: &Path) -> Outcome<Self> {
        let block = Arc::<StoreBlock>::default();
        let engine = sqlite::open(path, Arc::clone(&block))?;
        let mut shared = Shared {
            writes: Arc::new(Queue::new(WAITING_MAX)),
            block,
            reads: Arc::new(Queue::new(WAITING_MAX)),
            health: Arc::default(),
            writer: Vec::new(),
            readers: Vec::new(),
        };
        let mut keeping = Keeping {
            writer: engine.writer,
            queue: Arc::clone(&shared.writes),
            health: Arc::clone(&shared.health),
            block: Arc::clone(&shared.block),
            log_stays: false,
        };
        shared.writer.push(start("store-write", move || keeping.run())?);
        for (index, mut reader) in engine.readers.into_iter().enumerate() {
            let (queue, health) = (Arc::clone(&shared.reads), Arc::clone(&shared.health));
            let work = move || read_loop(reader.as_mut(), &queue, &health);
            shared.readers.push(start(&format!("store-read-{index}"), work)?);
        }
        let store = Self(Arc::new(shared));
        store.0.read(Reading::Check)?;
        Ok(store)
    }

    /// Copies one state of a database file into a new file, also while another process owns it. Waits on the calling
    /// thread.
    ///
    /// # Errors
    /// The new file exists, the old one does not or is damaged, or reading or writing failed; then no file is left behind.
    pub fn copy(from: &Path, to: &Path) -> Outcome<()> {
        sqlite::copy(from, to)
    }

    /// Runs a closure over one state of the store; it sees every change that was answered before.
    ///
    /// # Errors
    /// That of the closure, or the store cannot be read.
    pub async fn read<T, E>(&self, work: impl FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.read_at_most(None, work).await
    }

    /// As [`Self::read`], for a question that a caller makes as large as it likes: what takes longer is stopped.
    ///
    /// # Errors
    /// As [`Self::read`]; [`StoreError::TooLong`].
    pub async fn read_within<T, E>(
        &self,
        time_max: Duration,
        work: impl FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.read_at_most(Some(time_max), work).await
    }

    async fn read_at_most<T, E>(
        &self,
        time_max: Option<Duration>,
        work: impl FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = Closure::boxed(|tx: &mut dyn Tx| work(tx));
        self.0.read(Reading::Job(job, time_max))?;
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Runs a closure that changes the store. An error undoes what this closure did, and only that; a success is durable.
    ///
    /// The closure runs even when the caller stops waiting. It must not wait for anything: all other changes wait for it.
    ///
    /// # Errors
    /// That of the closure, or the store cannot be written; then nothing is stored.
    pub async fn write<T, E>(&self, work: impl FnOnce(&mut dyn Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = Closure::boxed(work);
        self.0.writes.push((now(), job)).map_err(|_| busy())?;
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Writes one state of the store into a new file, while the work goes on. The file is readable by its owner only.
    ///
    /// # Errors
    /// The file exists, or reading or writing failed; then no file is left behind.
    pub async fn backup(&self, to: PathBuf) -> Outcome<()> {
        let (sender, answer) = oneshot::channel();
        self.0.read(Reading::Backup(to, sender))?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// How long changes and the disk took.
    #[must_use]
    pub fn block(&self) -> &StoreBlock {
        &self.0.block
    }

    /// Tells whether the store works, or since when and why it does not.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.health.health()
    }
}

#[cfg(test)]
impl Store {
    /// Changes that wait now.
    pub(super) fn waiting_writes(&self) -> usize {
        self.0.writes.len()
    }
}

impl Shared {
    fn read(&self, reading: Reading) -> Outcome<()> {
        self.reads.push(reading).map_err(|_| busy())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Readers first: the writer, as the last one on the file, then leaves it without a log.
        self.reads.close();
        join(&mut self.readers);
        self.writes.close();
        join(&mut self.writer);
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Outcome<JoinHandle<()>> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))
}

fn join(threads: &mut Vec<JoinHandle<()>>) {
    for thread in threads.drain(..) {
        // The last handle may go inside a closure, on a thread of the store.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

fn busy() -> StoreError {
    StoreError::Unavailable("too many changes wait for the disk; repeat the request in a moment".to_owned())
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is being closed".to_owned())
}

/// The thread that changes the database.
struct Keeping {
    writer: Box<dyn Writer>,
    queue: Arc<Queue<Change>>,
    health: Arc<HealthCell>,
    block: Arc<StoreBlock>,
    /// Whether the log could not be written back the last time.
    log_stays: bool,
}

impl Keeping {
    fn run(&mut self) {
        let (settler, mut is_resting) = (Settler::default(), false);
        loop {
            let fails = self.health.write_fails();
            let wait_max = if fails { Some(PROBE_PERIOD) } else { (!is_resting).then_some(REST_AFTER) };
            match self.queue.take(BATCH_MAX, wait_max) {
                Taken::Items(changes) => {
                    changes.iter().for_each(|(since, _)| self.block.waited(since.elapsed()));
                    self.write_batch(changes.into_iter().map(|(_, job)| job).collect());
                    self.shorten_log();
                    is_resting = false;
                }
                Taken::Nothing if fails => self.health.note(Part::Write, &self.writer.probe()),
                Taken::Nothing => {
                    self.writer.rest();
                    settler.settle();
                    is_resting = true;
                }
                Taken::Closed => return,
            }
        }
    }

    /// Runs jobs in as few transactions as it can. One that breaks its transaction takes those before it along, not those
    /// after.
    fn write_batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        while !jobs.is_empty() {
            let end = self.writer.write(&mut jobs);
            self.health.note(Part::Write, &end);
            let (ran, left): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.has_run());
            // Without any that ran, the database is out of reach for all of them.
            let (answered, left) = if ran.is_empty() { (left, ran) } else { (ran, left) };
            for job in answered {
                job.answer(end.clone());
            }
            jobs = left;
        }
    }

    /// What would have made callers wait is done when they have gone. A failure is theirs no more; it is tried again.
    fn shorten_log(&mut self) {
        let begun = now();
        let Some(end) = self.writer.shorten_log(self.queue.len()) else { return };
        self.block.wrote_back(begun.elapsed());
        if let Err(why) = &end
            && !self.log_stays
        {
            let said = "the log of the store cannot be written back into its file and grows";
            emit(Level::Error, said, &[("why", Value::Text(&why.to_string()))]);
        }
        self.log_stays = end.is_err();
    }
}

fn read_loop(reader: &mut dyn Reader, queue: &Queue<Reading>, health: &HealthCell) {
    let (settler, mut is_resting) = (Settler::default(), false);
    loop {
        let items = match queue.take(1, (!is_resting).then_some(REST_AFTER)) {
            Taken::Items(items) => items,
            Taken::Nothing => {
                reader.rest();
                settler.settle();
                is_resting = true;
                continue;
            }
            Taken::Closed => return,
        };
        is_resting = false;
        for reading in items {
            match reading {
                Reading::Job(mut job, time_max) => {
                    let end = reader.read(job.as_mut(), time_max);
                    health.note(Part::Read, &end);
                    job.answer(end);
                }
                // It fails for reasons of the target too, so it says nothing about the store.
                Reading::Backup(to, answer) => {
                    let _ = answer.send(reader.backup(&to));
                }
                Reading::Check => health.note(Part::Check, &reader.check()),
            }
        }
    }
}

/// A closure, what it returned, and who waits for that.
struct Closure<W, T, E> {
    work: Option<W>,
    returned: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

impl<W, T, E> Closure<W, T, E>
where
    W: FnOnce(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    fn boxed(work: W) -> (Box<dyn Job>, oneshot::Receiver<Result<T, E>>) {
        let (caller, answer) = oneshot::channel();
        (Box::new(Self { work: Some(work), returned: None, caller }), answer)
    }
}

impl<W, T, E> Job for Closure<W, T, E>
where
    W: FnOnce(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    fn has_run(&self) -> bool {
        self.work.is_none()
    }

    fn run(&mut self, tx: &mut dyn Tx) -> Verdict {
        let Some(work) = self.work.take() else {
            return Verdict::Undo;
        };
        // What the closure changed is undone, so nothing half-done can be seen after a panic.
        let returned = catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|_| {
            emit(Level::Error, "a panic in a closure of the store; its changes were undone", &[]);
            Err(StoreError::Internal("a panic stopped it, the log has the details".to_owned()).into())
        });
        let verdict = if returned.is_ok() { Verdict::Keep } else { Verdict::Undo };
        self.returned = Some(returned);
        verdict
    }

    fn answer(self: Box<Self>, end: Outcome<()>) {
        let answer = match (self.returned, end) {
            (Some(Ok(_)) | None, Err(error)) => Err(error.into()),
            (Some(returned), _) => returned,
            (None, Ok(())) => Err(closed().into()),
        };
        // A caller that has gone does not want to know.
        let _ = self.caller.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A connection that tells what it is asked for.
    struct Told(Sender<&'static str>);

    impl Told {
        fn tell(&self, what: &'static str) {
            self.0.send(what).unwrap();
        }
    }

    impl Writer for Told {
        fn write(&mut self, _: &mut [Box<dyn Job>]) -> Outcome<()> {
            self.tell("work");
            Ok(())
        }

        fn probe(&mut self) -> Outcome<()> {
            self.tell("probe");
            Ok(())
        }

        fn shorten_log(&mut self, _: usize) -> Option<Outcome<()>> {
            None
        }

        fn rest(&mut self) {
            self.tell("rest");
        }
    }

    impl Reader for Told {
        fn read(&mut self, _: &mut dyn Job, _: Option<Duration>) -> Outcome<()> {
            Ok(())
        }

        fn backup(&mut self, _: &Path) -> Outcome<()> {
            Ok(())
        }

        fn check(&mut self) -> Outcome<()> {
            self.tell("work");
            Ok(())
        }

        fn rest(&mut self) {
            self.tell("rest");
        }
    }

    /// Gives work twice, each time when the thread rests.
    fn check_rests(name: &str, told: &Receiver<&'static str>, mut give: impl FnMut()) {
        for round in 0..2 {
            give();
            for want in ["work", "rest"] {
                assert_eq!(told.recv_timeout(REST_AFTER * 30), Ok(want), "{name}, round {round}");
            }
        }
    }

    #[test]
    fn threads_rest_once_after_work_and_not_because_they_rested() {
        let health = HealthCell::default();
        let (reads, writes) = (Queue::new(1), Arc::new(Queue::new(1)));
        let ((reader, of_reader), (writer, of_writer)) = (channel(), channel());
        let mut keeping = Keeping {
            writer: Box::new(Told(writer)),
            queue: Arc::clone(&writes),
            health: Arc::default(),
            block: Arc::default(),
            log_stays: false,
        };
        thread::scope(|scope| {
            scope.spawn(|| read_loop(&mut Told(reader), &reads, &health));
            scope.spawn(move || keeping.run());
            check_rests("reader", &of_reader, || assert!(reads.push(Reading::Check).is_ok()));
            let job = || Closure::<_, (), StoreError>::boxed(|_: &mut dyn Tx| Ok(())).0;
            // It rested once already, while the reader was looked at.
            assert_eq!(of_writer.recv_timeout(REST_AFTER * 30), Ok("rest"));
            check_rests("writer", &of_writer, || assert!(writes.push((now(), job())).is_ok()));
            reads.close();
            writes.close();
        });
        assert_eq!((of_reader.try_iter().count(), of_writer.try_iter().count()), (0, 0), "rests without work");
    }
}

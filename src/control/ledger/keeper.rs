//! Takes records, stores them in batches, hands out leases.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::super::error::ControlError;
use super::{
    batch::{Batch, COST, FEE},
    commit::{Commit, close_leases, nanos},
    group::Known,
    leases::{Leases, WantedLease},
    moving::restored,
    observe::Observations,
};
use crate::{
    base::{
        Instant,
        log::{Level, Value, emit},
        now, push_random, unix_time,
    },
    store::{Store, StoreError},
    usage::Record,
};

/// How often the keeper looks whether there is something to store.
const TICK: Duration = Duration::from_millis(20);
/// Shortest time from one commit to the next, unless a limit waits for a lease.
const PACE: Duration = Duration::from_millis(50);
/// Commits take at most this part of the time of the store's writer: others change things too.
const SHARE: u32 = 4;
/// Records that wait for one commit at most; then they stay in their queue.
const RECORDS_MAX: u64 = 16_384;
/// How long the keeper waits before it tries a failed commit again.
const RETRY: Duration = Duration::from_millis(250);
/// How long the last commits may take at a stop.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// How often leases that nobody uses are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Most of them that go back in one commit, so that others get their turn.
const IDLE_MAX: usize = 1_000;
/// Characters that tell one run of the process from another.
const RUN_LEN: usize = 12;
/// How long commits of earlier runs are remembered.
const COMMITS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps the book. One in a process.
pub struct Keeper {
    store: Store,
    leases: Arc<dyn Leases>,
    run: Arc<str>,
    known: Arc<Mutex<Known>>,
    collecting: Mutex<Collecting>,
    bell: Notify,
    failing: AtomicBool,
    stored: AtomicU64,
    /// How far the books were apart when they were compared last.
    apart: AtomicU64,
    observations: Observations,
}

/// Records that are in no commit yet.
#[derive(Default)]
struct Collecting {
    batch: Batch,
    /// When the oldest record that is not stored came in.
    oldest: Option<Instant>,
}

impl Keeper {
    /// Takes over from the process before: what that one had leased and not spent counts as spent, unless it returned it;
    /// every account is given to its meter.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(store: Store, leases: Arc<dyn Leases>) -> Result<Self, ControlError> {
        let mut run = String::new();
        push_random(&mut run, RUN_LEN)?;
        let run: Arc<str> = run.into();
        let named = Arc::clone(&run);
        let (reserved, accounts, moving) = store
            .write(move |tx| {
                let reserved = close_leases(tx, &named)?;
                let old = unix_time().0.saturating_sub(COMMITS_KEPT);
                tx.forget_commits(&named, crate::base::UnixTime(old))?;
                let mut accounts = Vec::new();
                tx.each_account(&mut |account| accounts.push(account))?;
                Ok::<_, StoreError>((reserved, accounts, restored(tx, nanos(unix_time()))?))
            })
            .await?;
        if reserved > 0 {
            let count = Value::Uint(u64::try_from(reserved).unwrap_or(u64::MAX));
            emit(Level::Warn, "leases of a process that did not end cleanly count as spent", &[("leases", count)]);
        }
        for account in accounts {
            // Those of projects are no limits.
            if !account.account.starts_with(COST) && !account.account.starts_with(FEE) {
                leases.restore(&account.account, account.period, account.posted);
            }
        }
        for (account, posted) in moving {
            leases.restore_moving(&account, &posted);
        }
        Ok(Self {
            store,
            leases,
            run,
            known: Arc::default(),
            collecting: Mutex::default(),
            bell: Notify::new(),
            failing: AtomicBool::new(false),
            stored: AtomicU64::new(0),
            apart: AtomicU64::new(0),
            observations: Observations::default(),
        })
    }

    /// Takes a record. Never waits for the store.
    pub fn note(&self, record: Record) {
        let mut collecting = self.collecting();
        collecting.oldest.get_or_insert_with(now);
        collecting.batch.add(record);
    }

    /// Whether more records may come; else they stay where they are, until a commit went through.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.collecting().batch.records < RECORDS_MAX
    }

    /// Makes the keeper look for wanted leases at once. May be called by any thread.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Whether the last commit failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Records in all commits of this process.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Records that are in no commit yet.
    #[must_use]
    pub fn collected(&self) -> u64 {
        self.collecting().batch.records
    }

    /// How far the books were apart when they were compared last; anything but 0 is a fault of ours.
    #[must_use]
    pub fn apart(&self) -> u64 {
        self.apart.load(Ordering::Relaxed)
    }

    pub(super) fn note_difference(&self, apart: u64) {
        if self.apart.swap(apart, Ordering::Relaxed) == 0 && apart > 0 {
            emit(
                Level::Error,
                "the books of usage are apart; keep a backup and report this",
                &[("nanousd", Value::Uint(apart))],
            );
        }
    }

    /// What was stored since somebody last asked.
    #[must_use]
    pub fn observations(&self) -> &Observations {
        &self.observations
    }

    pub(super) fn book(&self) -> &Store {
        &self.store
    }

    /// How long the oldest record waits to be stored; zero if none does.
    #[must_use]
    pub fn unstored_age(&self) -> Duration {
        let oldest = self.collecting().oldest;
        oldest.map_or(Duration::ZERO, |oldest| now().saturating_duration_since(oldest))
    }

    /// Takes what was collected and what is asked for; none if there is nothing.
    fn next_commit(&self, sequence: u64, leases: Vec<WantedLease>) -> Option<Arc<Commit>> {
        let batch = std::mem::take(&mut self.collecting().batch);
        if batch.is_empty() && leases.is_empty() {
            return None;
        }
        Some(Arc::new(Commit { run: Arc::clone(&self.run), sequence, batch, leases }))
    }

    /// Stores a commit and tells the limits of their leases.
    async fn store(&self, commit: &Arc<Commit>) -> Result<(), StoreError> {
        let (shared, known) = (Arc::clone(commit), Arc::clone(&self.known));
        let outcome = self.store.write(move |tx| shared.store(tx, &known)).await;
        let outcome = outcome.map(|learned| self.known().learn(learned.into_iter()));
        self.note_outcome(&outcome);
        if outcome.is_ok() {
            self.stored.fetch_add(commit.batch.records, Ordering::Relaxed);
            self.observations.note(&commit.batch);
            commit.leases.iter().for_each(|lease| self.leases.leased(lease));
            let mut collecting = self.collecting();
            collecting.oldest = if collecting.batch.is_empty() { None } else { Some(now()) };
        }
        outcome
    }

    fn note_outcome(&self, outcome: &Result<(), StoreError>) {
        let failed = outcome.is_err();
        if self.failing.swap(failed, Ordering::Relaxed) == failed {
            return;
        }
        match outcome {
            Ok(()) => emit(Level::Info, "usage is stored again", &[]),
            Err(error) => {
                let text = error.to_string();
                let why = [("reason", Value::Text(&text))];
                emit(
                    Level::Error,
                    "usage cannot be stored; it is kept, and requests are refused when it is full",
                    &why,
                );
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collecting(&self) -> MutexGuard<'_, Collecting> {
        self.collecting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what comes until `shutdown` says so; then what is left, and gives the leases back.
///
/// Tell it to stop when nothing will be noted any more.
pub async fn keep(keeper: Arc<Keeper>, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = Turn::new(&keeper);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = keeper.bell.notified() => {}
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
        if turn.run().await.is_err() {
            tokio::select! {
                () = sleep(RETRY) => {}
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
        }
    }
    if timeout(CLOSE_MAX, turn.close()).await.is_err() {
        let count = turn.open.as_ref().map_or(0, |commit| commit.batch.records);
        emit(Level::Error, "usage was lost at shutdown: the store takes nothing", &[("records", Value::Uint(count))]);
    }
}

/// The one that commits.
pub(super) struct Turn<'a> {
    keeper: &'a Keeper,
    /// Number of the last commit that was begun.
    sequence: u64,
    /// The commit of which it is not known whether it is stored.
    pub(super) open: Option<Arc<Commit>>,
    not_before: Instant,
    /// When to look for leases that nobody uses.
    look_at: Instant,
}

impl<'a> Turn<'a> {
    pub(super) fn new(keeper: &'a Keeper) -> Self {
        Self { keeper, sequence: 0, open: None, not_before: now(), look_at: now() }
    }

    /// Stores what there is, if it is time.
    async fn run(&mut self) -> Result<(), StoreError> {
        if self.open.is_none() {
            let mut leases = self.keeper.leases.wanted();
            leases.extend(self.idle());
            if leases.is_empty() && now() < self.not_before && self.keeper.has_room() {
                return Ok(());
            }
            self.begin(leases);
        }
        self.finish().await
    }

    /// Leases that go back, once in a while.
    pub(super) fn idle(&mut self) -> Vec<WantedLease> {
        if now() < self.look_at {
            return Vec::new();
        }
        self.look_at = now() + LOOK_EVERY;
        self.keeper.leases.idle(IDLE_MAX)
    }

    pub(super) fn begin(&mut self, leases: Vec<WantedLease>) {
        self.open = self.keeper.next_commit(self.sequence + 1, leases);
        self.sequence += u64::from(self.open.is_some());
    }

    /// Stores the open commit; it stays open when that fails.
    pub(super) async fn finish(&mut self) -> Result<(), StoreError> {
        let Some(commit) = &self.open else { return Ok(()) };
        let begun = now();
        self.keeper.store(commit).await?;
        self.open = None;
        self.not_before = begun + PACE.max(begun.elapsed() * SHARE);
        Ok(())
    }

    /// Stores everything and returns the leases; tries again until that is done.
    pub(super) async fn close(&mut self) {
        loop {
            let mut outcome = self.finish().await;
            if outcome.is_ok() {
                self.begin(Vec::new());
                outcome = self.finish().await;
            }
            if outcome.is_ok() && self.keeper.store.write(|tx| tx.return_leases()).await.is_ok() {
                return;
            }
            sleep(RETRY).await;
        }
    }
}

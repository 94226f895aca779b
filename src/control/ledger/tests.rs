//! Nothing is lost, nothing counts twice, leases come first.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    base::{Caller, Charge, Labels, NanoUsd, RequestId, UnixTime},
    store::{LedgerFilter, LedgerKind, Order, PageRequest, Store, StoreError, Tx},
    usage::Record,
};
use std::sync::Arc;

/// Meters that ask for what they are told to, and note what they hear.
#[derive(Default)]
pub(super) struct Meters {
    wants: Mutex<Vec<WantedLease>>,
    idle: Mutex<Vec<WantedLease>>,
    leased: Mutex<Vec<WantedLease>>,
    restored: Mutex<Vec<(String, u64, u64)>>,
    moving: Mutex<BTreeMap<String, Vec<(u64, u64)>>>,
}

impl Leases for Meters {
    fn wanted(&self) -> Vec<WantedLease> {
        std::mem::take(&mut *self.wants.lock().unwrap())
    }

    fn idle(&self, accounts_max: usize) -> Vec<WantedLease> {
        let mut idle = self.idle.lock().unwrap();
        let count = idle.len().min(accounts_max);
        idle.drain(..count).collect()
    }

    fn leased(&self, lease: &WantedLease) {
        self.leased.lock().unwrap().push(lease.clone());
    }

    fn restore(&self, account: &str, period: u64, posted: u64) {
        self.restored.lock().unwrap().push((account.to_owned(), period, posted));
    }

    fn restore_moving(&self, account: &str, posted: &[(u64, u64)]) {
        self.moving.lock().unwrap().insert(account.to_owned(), posted.to_vec());
    }
}

pub(super) fn lease(account: &str, ceiling: u64) -> WantedLease {
    WantedLease { account: account.into(), period: 1, ceiling }
}

/// A request of a project that costs something and counts on an account.
pub(super) fn spent(number: u128, account: &str, amount: u64) -> Record {
    let at = UnixTime(Duration::from_secs(1_700_000_000));
    Record {
        status: 200,
        attempts: 1,
        labels: Some(Arc::new(Labels { organization: "org_a".into(), route: "chat".into(), ..Labels::default() })),
        caller: Some(Arc::new(Caller { project: Some("prj_a".into()), ..Caller::of_key("key_a") })),
        cost: Some(NanoUsd(i64::try_from(amount).unwrap())),
        fee: NanoUsd(1),
        charges: Some(Box::new([Charge { account: account.into(), period: 1, amount, moving: None }])),
        is_sampled: true,
        ..Record::begun(at, RequestId::made(number), "chat")
    }
}

pub(super) struct Book {
    pub(super) folder: TempDir,
    pub(super) store: Store,
    pub(super) meters: Arc<Meters>,
    pub(super) keeper: Arc<Keeper>,
}

impl Book {
    pub(super) async fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap()).await
    }

    /// What the next process finds.
    pub(super) async fn over(folder: TempDir) -> Self {
        let store = Store::open(&folder.path().join("millrace.db")).unwrap();
        let meters = Arc::new(Meters::default());
        let keeper = Arc::new(Keeper::open(store.clone(), Arc::clone(&meters) as Arc<dyn Leases>).await.unwrap());
        Self { folder, store, meters, keeper }
    }

    /// Stores everything and ends cleanly.
    pub(super) async fn close(&self) {
        let (stop, stopped) = tokio::sync::watch::channel(true);
        keep(Arc::clone(&self.keeper), stopped).await;
        drop(stop);
    }

    /// Posted and leased by account.
    pub(super) async fn accounts(&self) -> BTreeMap<String, (u64, u64)> {
        let read = |tx: &dyn Tx| {
            let mut found = BTreeMap::new();
            tx.each_account(&mut |account| {
                found.insert(account.account, (account.posted, account.leased));
            })?;
            Ok::<_, StoreError>(found)
        };
        self.store.read(read).await.unwrap()
    }

    pub(super) async fn entries(&self, kind: LedgerKind) -> usize {
        let filter = LedgerFilter { kind: Some(kind), ..LedgerFilter::default() };
        let page = PageRequest { limit: 100, after: None, order: Order::Ascending };
        self.store.read(move |tx| tx.ledger(&filter, &page)).await.unwrap().rows.len()
    }
}

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    runtime.block_on(bounded).unwrap()
}

#[test]
fn lease_that_nobody_uses_goes_back_on_disk_too() {
    run(async {
        let book = Book::new().await;
        book.store.write(|tx| tx.lease("key:a", 1, 900).and_then(|()| tx.lease("key:b", 1, 900))).await.unwrap();
        book.meters.idle.lock().unwrap().push(lease("key:a", 300));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let keeping = tokio::spawn(keep(Arc::clone(&book.keeper), stopped));
        while book.meters.leased.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let want = [("key:a", (0, 300)), ("key:b", (0, 900))].map(|(account, sums)| (account.to_owned(), sums));
        assert_eq!(book.accounts().await, BTreeMap::from(want));
        stop.send(true).unwrap();
        keeping.await.unwrap();
    });
}

#[test]
fn requests_of_one_commit_are_one_entry_an_account() {
    run(async {
        let book = Book::new().await;
        for number in 0..100 {
            book.keeper.note(spent(number, if number < 60 { "key:a" } else { "key:b" }, 10));
        }
        assert!(book.keeper.unstored_age() > Duration::ZERO);
        book.close().await;
        let want = [("cost:prj_a", 1_000), ("fee:prj_a", 100), ("key:a", 600), ("key:b", 400)];
        let want = want.map(|(account, posted)| (account.to_owned(), (posted, posted)));
        assert_eq!(book.accounts().await, BTreeMap::from(want));
        assert_eq!(book.entries(LedgerKind::Requests).await, 3);
        assert_eq!(book.entries(LedgerKind::Fee).await, 1);
        assert_eq!(book.keeper.stored(), 100);
        assert_eq!(book.keeper.unstored_age(), Duration::ZERO);
        let (apart, more) = book.store.read(|tx| tx.unposted(None, 100)).await.unwrap();
        assert_eq!((apart, more), (0, None));
    });
}

#[test]
fn commit_that_is_repeated_changes_nothing() {
    run(async {
        let book = Book::new().await;
        let mut batch = batch::Batch::default();
        batch.add(spent(1, "key:a", 7));
        let commit =
            Arc::new(commit::Commit { run: "run".into(), sequence: 1, batch, leases: vec![lease("key:a", 50)] });
        for _ in 0..3 {
            let commit = Arc::clone(&commit);
            book.store.write(move |tx| commit.store(tx, &Mutex::default())).await.unwrap();
        }
        assert_eq!(book.accounts().await["key:a"], (7, 50));
        assert_eq!(book.accounts().await["cost:prj_a"], (7, 7));
        assert_eq!(book.entries(LedgerKind::Requests).await, 2);
    });
}

#[test]
fn lease_of_a_process_that_was_killed_counts_as_spent_once() {
    run(async {
        let book = Book::new().await;
        book.meters.wants.lock().unwrap().push(lease("key:a", 50));
        book.keeper.note(spent(1, "key:a", 7));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let keeping = tokio::spawn(keep(Arc::clone(&book.keeper), stopped));
        while book.meters.leased.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*book.meters.leased.lock().unwrap(), [lease("key:a", 50)]);
        assert_eq!(book.accounts().await["key:a"], (7, 50), "on disk before the meter hears of it");
        keeping.abort();
        let _ = keeping.await;
        drop(stop);
        let Book { folder, store, meters, keeper } = book;
        drop((store, meters, keeper));

        let book = Book::over(folder).await;
        assert_eq!(book.accounts().await["key:a"], (50, 50));
        assert_eq!(*book.meters.restored.lock().unwrap(), [("key:a".to_owned(), 1, 50)], "no account of a project");
        assert_eq!(book.entries(LedgerKind::CrashReserve).await, 1);
        let Book { folder, store, meters, keeper } = book;
        drop((store, meters, keeper));
        let book = Book::over(folder).await;
        assert_eq!(book.accounts().await["key:a"], (50, 50));
        assert_eq!(book.entries(LedgerKind::CrashReserve).await, 1);
    });
}

#[test]
fn clean_end_returns_what_was_not_spent() {
    run(async {
        let book = Book::new().await;
        book.meters.wants.lock().unwrap().push(lease("key:a", 50));
        book.keeper.note(spent(1, "key:a", 7));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let keeping = tokio::spawn(keep(Arc::clone(&book.keeper), stopped));
        while book.meters.leased.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        book.keeper.note(spent(2, "key:a", 5));
        stop.send(true).unwrap();
        keeping.await.unwrap();
        assert_eq!(book.accounts().await["key:a"], (12, 12));
    });
}

#[test]
fn store_that_fails_and_heals_loses_nothing_and_doubles_nothing() {
    run(async {
        let book = Book::new().await;
        let path = book.folder.path().join("millrace.db");
        let away = book.folder.path().join("away.db");
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let keeping = tokio::spawn(keep(Arc::clone(&book.keeper), stopped));
        // The writer refuses a file that is not where it was.
        std::fs::rename(&path, &away).unwrap();
        for number in 0..20_000 {
            book.keeper.note(spent(number, "key:a", 3));
        }
        while !book.keeper.is_failing() {
            tokio::task::yield_now().await;
        }
        for number in 0..20_000 {
            book.keeper.note(spent(number, "key:a", 3));
        }
        assert!(!book.keeper.has_room(), "what cannot be stored is bounded");
        assert_eq!(book.keeper.stored(), 0);
        std::fs::rename(&away, &path).unwrap();
        while book.keeper.stored() < 40_000 {
            tokio::task::yield_now().await;
        }
        assert!(book.keeper.has_room() && !book.keeper.is_failing());
        stop.send(true).unwrap();
        keeping.await.unwrap();
        assert_eq!(book.accounts().await["key:a"], (120_000, 120_000));
    });
}

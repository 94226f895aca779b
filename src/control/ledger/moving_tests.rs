//! Sliding windows and buckets go on after a restart.

use std::{path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::{JoinHandle, yield_now},
};

use super::tests::run;
use super::*;
use crate::{
    base::{RequestId, UnixTime, unix_time},
    limit::{Claim, Held, Kind, Kinds, Limit, LimitSet, MeterKey, Meters, Mode, Moment, Reason, Scope, Terms, Window},
    store::Store,
    usage::Record,
};

const HOUR: Duration = Duration::from_secs(3_600);
const WINDOWS: [Window; 2] = [Window::Sliding(HOUR), Window::Bucket(HOUR)];
const MAX: u64 = 10_000;
/// What requests reserve; they use less.
const RESERVED: u64 = 100;

/// A process: meters, and who keeps their book.
struct Life {
    meters: Arc<Meters>,
    keeper: Arc<Keeper>,
    keeping: JoinHandle<()>,
    stop: watch::Sender<bool>,
    set: LimitSet,
    noted: u64,
}

impl Life {
    async fn begin(folder: &Path, window: Window) -> Self {
        let store = Store::open(&folder.join("millrace.db")).unwrap();
        let meters = Arc::new(Meters::with_ledger());
        let leases = Arc::clone(&meters) as Arc<dyn Leases>;
        let keeper = Arc::new(Keeper::open(store, leases, RequestRows::Errors).await.unwrap());
        let (stop, stopped) = watch::channel(false);
        let keeping = tokio::spawn(keep(Arc::clone(&keeper), stopped));
        let meter = meters.meter(&MeterKey { owner: "key:k".into(), kind: Kind::Money, window });
        let limit = Limit { meter, terms: Terms::max(MAX), scope: Scope::Key, mode: Mode::Enforce, queue: None };
        Self { meters, keeper, keeping, stop, set: LimitSet::new(vec![limit]), noted: 0 }
    }

    /// A request that uses so much of what it reserves; whether it was admitted.
    async fn spend(&mut self, used: u64, at: Moment) -> bool {
        let claim = |money_nano| Claim { money_nano, ..Claim::request() };
        let mut held = Held::default();
        loop {
            match self.set.take(Kinds::ALL, &claim(RESERVED), at, &mut held) {
                Ok(()) => break,
                Err(refused) if refused.reason == Reason::Unleased => {
                    self.keeper.ring();
                    yield_now().await;
                }
                Err(_) => return false,
            }
        }
        let mut charges = Vec::new();
        self.set.settle(&mut held, &claim(used), at, |charge| charges.push(charge));
        let record = Record::begun(unix_time(), RequestId::made(fastrand::u128(..)), "chat");
        self.keeper.note(Record { status: 200, charges: Some(charges.into()), ..record });
        self.noted += 1;
        true
    }

    async fn stored(&self) {
        while self.keeper.stored() < self.noted {
            yield_now().await;
        }
    }

    /// What counts at these times.
    fn used(&self, at: &[Moment]) -> Vec<u64> {
        at.iter().map(|at| self.set.states(*at).map(|state| state.posted + state.pending).sum()).collect()
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.keeping.await.unwrap();
        assert_eq!(self.keeper.compare().await.unwrap(), 0, "the books are apart");
    }

    async fn kill(self) {
        self.keeping.abort();
        let _ = self.keeping.await;
    }
}

fn minutes_from(now: UnixTime, minutes: i64) -> Moment {
    let length = Duration::from_secs(60 * minutes.unsigned_abs());
    UnixTime(if minutes < 0 { now.0 - length } else { now.0 + length }).into()
}

#[test]
fn i_10_windows_that_move_are_after_a_clean_restart_what_they_were() {
    run(async {
        for window in WINDOWS {
            let folder = TempDir::new().unwrap();
            let mut life = Life::begin(folder.path(), window).await;
            let now = unix_time();
            for minutes in [-50, -49, -30, -30, -12, -1, 0] {
                assert!(life.spend(97, minutes_from(now, minutes)).await);
                life.stored().await;
            }
            let looks = [0, 5, 20, 40, 58, 62].map(|minutes| minutes_from(now, minutes));
            let before = life.used(&looks);
            assert!(before[0] > before[2] && before[5] == 0, "{window}: {before:?}");
            life.end().await;
            for _ in 0..2 {
                let life = Life::begin(folder.path(), window).await;
                assert_eq!(life.used(&looks), before, "{window}");
                life.end().await;
            }
        }
    });
}

#[test]
fn i_12_what_was_leased_of_a_window_that_moves_counts_from_the_restart_on() {
    run(async {
        for window in WINDOWS {
            let mut reserves = 0;
            for _ in 0..2 {
                let folder = TempDir::new().unwrap();
                let mut acknowledged = 0;
                for _ in 0..2 {
                    let mut life = Life::begin(folder.path(), window).await;
                    for _ in 0..fastrand::usize(1..12) {
                        let used = fastrand::u64(1..RESERVED);
                        let is_admitted = life.spend(used, life.meters.now()).await;
                        acknowledged += if is_admitted { used } else { 0 };
                    }
                    life.kill().await;
                }
                let life = Life::begin(folder.path(), window).await;
                let now = unix_time();
                let [counts, again] = life.used(&[now, UnixTime(now.0 + HOUR + HOUR / 30)].map(Moment::from))[..]
                else {
                    panic!("two looks")
                };
                // Each life leases an eighth of what is left at most, or what one request needs.
                let leased_most = acknowledged + 2 * (MAX / 8 + 2 * RESERVED);
                // A bucket refills a little while this runs.
                assert!(
                    (acknowledged.saturating_sub(20)..=leased_most).contains(&counts),
                    "{window}: {counts} of {acknowledged}"
                );
                assert_eq!(again, 0, "{window}: all of it leaves the window");
                reserves += counts.saturating_sub(acknowledged);
                life.kill().await;
                // Another start without a request changes nothing.
                let life = Life::begin(folder.path(), window).await;
                let found = life.used(&[unix_time().into()])[0];
                assert!(found <= counts && found + 20 >= counts, "{window}: {found} after {counts}");
                life.end().await;
            }
            assert!(reserves > 0, "{window}: no kill met an open lease: the test shows nothing");
        }
    });
}

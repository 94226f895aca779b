//! Taking records into the book, and storing them.
//!
//! `note` is what the admin thread does for one record, with few groups and with 10,000 keys; the rival is a map whose key is
//! made of the record's texts. The last lines tell how long a million records take to the disk, and how much they need there.

#![allow(clippy::expect_used, reason = "a bench that cannot begin has nothing to measure")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use millrace::base::{Caller, Charge, Labels, NanoUsd, RequestId, TokenCounts, unix_time};
use millrace::control::{Keeper, RequestRows, keep};
use millrace::limit::Meters;
use millrace::store::Store;
use millrace::usage::{Credential, Record, Tally};
use tokio::sync::watch;

const MILLION: u32 = 1_000_000;

struct Names {
    labels: Vec<Arc<Labels>>,
    callers: Vec<Arc<Caller>>,
    accounts: Vec<Arc<str>>,
}

impl Names {
    fn new(keys: usize) -> Self {
        let label = |route: usize| {
            Arc::new(Labels {
                organization: "org_0123456789abcdefghij".into(),
                project: "support".into(),
                route: format!("route-{route}").into(),
                provider: "openai".into(),
                model: "gpt-4o".into(),
                target: "main".into(),
            })
        };
        let caller = |key: usize| {
            Arc::new(Caller {
                project: Some("prj_0123456789abcdefghij".into()),
                ..Caller::of_key(&format!("key_{key:020}"))
            })
        };
        Self {
            labels: (0..4).map(label).collect(),
            callers: (0..keys).map(caller).collect(),
            accounts: (0..keys.min(100)).map(|key| format!("key:key_{key:020}/usd/calendar:1month").into()).collect(),
        }
    }

    fn record(&self, number: u32) -> Record {
        let index = usize::try_from(number).unwrap_or(0);
        let labels = self.labels.get(index % self.labels.len()).cloned();
        let account = self.accounts.get(index % self.accounts.len()).cloned();
        let charge = account.map(|account| Charge { account, period: 1, amount: 1_000, moving: None });
        Record {
            status: 200,
            attempts: 1,
            labels,
            caller: self.callers.get(index % self.callers.len()).cloned(),
            credential: Credential::Own,
            cost: Some(NanoUsd(1_000)),
            duration: Duration::from_micros(400_000 + u64::from(number % 977) * 731),
            ttft: Some(Duration::from_micros(90_000 + u64::from(number % 577) * 331)),
            overhead: Duration::from_micros(20 + u64::from(number % 37)),
            tokens: TokenCounts { input: 800, output: 120, ..TokenCounts::default() },
            charges: charge.map(|charge| Box::from([charge])),
            ..Record::begun(unix_time(), RequestId::made(fastrand::u128(..)), "chat")
        }
    }
}

struct Book {
    folder: tempfile::TempDir,
    keeper: Arc<Keeper>,
}

async fn book() -> Book {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("millrace.db")).expect("a store");
    let keeper = Keeper::open(store, Arc::new(Meters::in_memory()), RequestRows::Sampled(5)).await.expect("a book");
    Book { folder, keeper: Arc::new(keeper) }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn note(c: &mut Criterion) {
    let mut group = c.benchmark_group("note");
    for keys in [10, 10_000] {
        let (names, book) = (Names::new(keys), runtime().block_on(book()));
        let mut number = 0;
        group.bench_function(format!("keeper, {keys} keys"), |b| {
            b.iter(|| {
                number += 1;
                book.keeper.note(black_box(names.record(number)));
            });
        });
        let mut map: HashMap<(String, String, u16), Tally> = HashMap::new();
        group.bench_function(format!("map of texts, {keys} keys"), |b| {
            b.iter(|| {
                number += 1;
                let record = black_box(names.record(number));
                let route = record.labels.as_ref().map(|labels| labels.route.to_string()).unwrap_or_default();
                let key = record.caller.as_ref().map(|caller| caller.key.to_string()).unwrap_or_default();
                map.entry((route, key, record.status)).or_default().add(&record);
            });
        });
        group.bench_function(format!("only the record, {keys} keys"), |b| {
            b.iter(|| {
                number += 1;
                black_box(names.record(number));
            });
        });
    }
    group.finish();
}

fn million(_: &mut Criterion) {
    for keys in [10, 1_000, 10_000] {
        runtime().block_on(async {
            let (names, book) = (Names::new(keys), book().await);
            let (stop, stopped) = watch::channel(false);
            let keeping = tokio::spawn(keep(Arc::clone(&book.keeper), stopped));
            let begun = Instant::now();
            for number in 0..MILLION {
                while !book.keeper.has_room() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                book.keeper.note(names.record(number));
                if number % 512 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            let _ = stop.send(true);
            let _ = keeping.await;
            let took = begun.elapsed();
            let bytes = std::fs::metadata(book.folder.path().join("millrace.db")).map_or(0, |file| file.len());
            let rate = f64::from(MILLION) / took.as_secs_f64();
            println!("{keys} keys: a million records in {took:.1?} ({rate:.0}/s), database {} KiB", bytes / 1_024);
        });
    }
}

criterion_group!(benches, note, million);
criterion_main!(benches);

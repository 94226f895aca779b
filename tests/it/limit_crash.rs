//! Limits hold although the gateway is killed under load.
//!
//! F-34: clients spend limits of money, over fixed and sliding windows and in buckets, and one of requests; the gateway is killed and
//! started again until all are reached. What clients were given never exceeds a limit over all lives together, nothing that
//! a client has seen is forgiven, and what is charged beyond it stands in the ledger as `crash_reserve`.
//! `MILLRACE_CRASH_ROUNDS` sets the kills, 10 unless told.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use millrace::store::{Account, LedgerEntry, LedgerFilter, LedgerKind, Order, PageRequest, Store, Tx};
use serde_json::json;

use crate::harness::{DEADLINE, Gateway, chat, eventually};
use crate::keys::{Project, text, with_key};

const REQUESTS_MAX: u64 = 2_000;
const MONEY_MAX: u64 = 200_000_000;
/// Fresh limits for the kills after the first ones are reached.
const EPOCHS: usize = 60;
/// So long that a bucket refills by next to nothing in a test.
const WINDOW: Duration = Duration::from_secs(31 * 86_400);
/// Of a route: what it is called, what it allows, and its algorithm.
const KINDS: [(&str, u64, &str); 4] = [
    ("requests", REQUESTS_MAX, "fixed_window"),
    ("money", MONEY_MAX, "fixed_window"),
    ("sliding", MONEY_MAX, "sliding_window"),
    ("bucket", MONEY_MAX, "token_bucket"),
];
const CLIENTS: usize = 4;

/// What clients know of one limit, in requests or nano-USD.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// In answers of status 200.
    given: u64,
    /// Requests that were sent, and those of them that were answered in any way.
    sent: u64,
    answered: u64,
    /// Refusals since the last start.
    refused: u64,
    /// Dearest single answer.
    dearest: u64,
}

type Book = Mutex<BTreeMap<String, Seen>>;

fn project() -> String {
    let mut text = "chat_models:\n  - model_id: m\n    model: mock/m\n    max_output_tokens: 64\n    \
                    input_cost_per_million_tokens: \"1.234567\"\n    output_cost_per_million_tokens: \"3.141593\"\nroutes:\n"
        .to_owned();
    for epoch in 0..EPOCHS {
        for (name, max, algorithm) in KINDS {
            let limit = match name {
                "requests" => format!("rate_limiting: {{max_requests: {max}"),
                _ => format!("budget_limiting: {{max_budget: \"{}\"", decimal(max)),
            };
            writeln!(
                text,
                "  {name}-{epoch}: {{chat_models: [m], {limit}, algorithm: {algorithm}, window_size: 31 days}}}}"
            )
            .unwrap();
        }
    }
    text
}

/// USD of whole micro-USD.
fn decimal(nano: u64) -> String {
    format!("{}.{:06}", nano / 1_000_000_000, nano % 1_000_000_000 / 1_000)
}

/// Most that a limit allows in the time of the test.
fn most(name: &str, since: Instant) -> u64 {
    let (_, max, algorithm) = KINDS.into_iter().find(|(kind, ..)| name.starts_with(kind)).unwrap();
    let refilled = u128::from(max) * since.elapsed().as_millis() / WINDOW.as_millis();
    if algorithm == "token_bucket" { max + u64::try_from(refilled).unwrap() } else { max }
}

/// Asks all limits of an epoch in turn until it is told to stop or nobody answers.
fn spend(gateway: &Gateway, key: &str, epoch: usize, book: &Book, stop: &AtomicBool) {
    let mut client = gateway.client();
    while !stop.load(Ordering::Relaxed) {
        for (kind, ..) in KINDS {
            let name = format!("{kind}-{epoch}");
            let note = |change: &dyn Fn(&mut Seen)| change(book.lock().unwrap().entry(name.clone()).or_default());
            note(&|seen| seen.sent += 1);
            client.send(&with_key(&chat(&format!("demo/{name}")), key));
            let Some(reply) = client.read() else { return };
            if reply.cut && reply.status != 200 {
                return;
            }
            // A lease that a busy disk keeps waiting is refused, and nothing is spent.
            let is_late = reply.status == 503 && reply.json()["error"]["code"] == "ledger_unavailable";
            assert!(is_late || matches!(reply.status, 200 | 429), "{name}: {}", reply.text());
            let cost = reply.header("x-millrace-cost-usd").map_or(0, |cost| cost.replace('.', "").parse().unwrap());
            let amount = if kind == "requests" { 1 } else { cost };
            note(&|seen| {
                seen.answered += 1;
                seen.refused += u64::from(reply.status == 429);
                if reply.status == 200 {
                    seen.given += amount;
                    seen.dearest = seen.dearest.max(amount);
                }
            });
            if reply.closes() {
                client = gateway.client();
            }
        }
    }
}

/// One life of the gateway: clients ask until `ends` is over.
fn live(gateway: &Gateway, key: &str, epoch: usize, book: &Book, ends: impl FnOnce(&Gateway)) {
    book.lock().unwrap().values_mut().for_each(|seen| seen.refused = 0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| spend(gateway, key, epoch, book, &stop));
        }
        ends(gateway);
        stop.store(true, Ordering::Relaxed);
    });
}

/// What a process that has ended leaves: accounts, entries, and how far they are apart.
fn left(folder: &Path) -> (Vec<Account>, Vec<LedgerEntry>, u64) {
    let path = folder.join("stored/millrace.db");
    let mut store = None;
    let opens = eventually(DEADLINE, || {
        store = Store::open(&path).ok();
        store.is_some()
    });
    assert!(opens, "the store cannot be opened: {:?}", Store::open(&path).err());
    let store = store.unwrap();
    let read = store.read(|tx: &dyn Tx| {
        let mut accounts = Vec::new();
        tx.each_account(&mut |account| accounts.push(account))?;
        let mut page = PageRequest { limit: 1_000, after: None, order: Order::Ascending };
        let mut entries: Vec<LedgerEntry> = Vec::new();
        loop {
            let found = tx.ledger(&LedgerFilter::default(), &page)?;
            entries.extend(found.rows);
            let Some(last) = entries.last().filter(|_| found.has_more) else { break };
            page.after = Some((i64::try_from(last.at.0.as_millis()).unwrap(), last.id.to_string()));
        }
        Ok::<_, millrace::store::StoreError>((accounts, entries, tx.unposted(None, 10_000)?.0))
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(read).unwrap()
}

/// What a crash has charged beyond what clients saw.
#[derive(Default)]
struct Overcharge {
    reserves: u64,
    largest: u64,
    largest_of_an_account: u64,
}

fn check(folder: &Path, (book, since): (&Book, Instant), when: &str) -> BTreeMap<&'static str, Overcharge> {
    let (accounts, entries, apart) = left(folder);
    assert_eq!(apart, 0, "{when}: accounts are not the sums of their entries");
    let mut found: BTreeMap<&str, Overcharge> = BTreeMap::new();
    for (name, seen) in &*book.lock().unwrap() {
        let (kind, ..) = KINDS.into_iter().find(|(kind, ..)| name.starts_with(kind)).unwrap();
        let max = most(name, since);
        assert!(seen.given <= max, "{when}: {name} gave {} of {max}", seen.given);
        let mine: Vec<_> = accounts.iter().filter(|one| one.account.contains(&format!("/{name}/"))).collect();
        if seen.given == 0 && mine.is_empty() {
            continue;
        }
        assert_eq!(mine.len(), 1, "{when}: {name} has another period or none: {mine:?}");
        let account = mine[0];
        assert!(account.leased <= max, "{when}: {account:?} is leased beyond {max}");
        assert!(seen.given <= account.leased, "{when}: {} seen of {account:?}: a crash would forgive", seen.given);
        let sum = |kind| -> u64 {
            let of = entries.iter().filter(|entry| entry.account == account.account && entry.kind == kind);
            of.map(|entry| u64::try_from(entry.amount).unwrap()).sum()
        };
        // Requests without an answer may have been served: the process ended behind their settlement.
        let unseen = (seen.sent - seen.answered) * if kind == "requests" { 1 } else { seen.dearest };
        let (posted, reserved) = (sum(LedgerKind::Requests), sum(LedgerKind::CrashReserve));
        assert!(posted <= seen.given + unseen, "{when}: {name} has {posted} posted, {} seen", seen.given);
        assert_eq!(posted + reserved, account.posted, "{when}: {name} has entries of other kinds");
        let overcharge = found.entry(kind).or_default();
        let of = entries.iter().filter(|one| one.account == account.account && one.kind == LedgerKind::CrashReserve);
        for entry in of {
            overcharge.reserves += 1;
            overcharge.largest = overcharge.largest.max(u64::try_from(entry.amount).unwrap());
        }
        let beyond = (posted + reserved).saturating_sub(seen.given);
        overcharge.largest_of_an_account = overcharge.largest_of_an_account.max(beyond);
    }
    found
}

#[test]
fn i_1_i_12_limits_hold_over_kills_at_any_moment_under_load() {
    let rounds: u32 = env::var("MILLRACE_CRASH_ROUNDS").map_or(10, |text| text.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let since = Instant::now();
    let mut random = fastrand::Rng::with_seed(seed);
    let first = Project::on(Gateway::stored(tempfile::tempdir().unwrap(), 2));
    first.serve(&project());
    let made = first.call(("POST", &first.path("/keys")), &[], &json!({"description": "load"}), 201);
    let key = text(&made, "key");
    let book = Book::default();
    let (mut gateway, mut epoch) = (first.gateway, 0);
    for round in 0..rounds {
        // The moment of the kill is what this test varies: so many answers, and some time.
        let (answers, life) = (random.u64(0..100), Duration::from_millis(random.u64(0..50)));
        let answered = || book.lock().unwrap().values().map(|seen| seen.answered).sum::<u64>();
        let wanted = answered() + answers;
        live(&gateway, &key, epoch, &book, |gateway| {
            eventually(DEADLINE, || answered() >= wanted);
            thread::sleep(life);
            gateway.signal(nix::sys::signal::Signal::SIGKILL);
        });
        let folder = gateway.killed();
        check(folder.path(), (&book, since), &format!("kill {round}"));
        let reached = KINDS.iter().all(|(kind, ..)| {
            let book = book.lock().unwrap();
            book.get(&format!("{kind}-{epoch}")).is_some_and(|seen| seen.refused > 0)
        });
        epoch += usize::from(reached && epoch + 1 < EPOCHS);
        gateway = Gateway::stored(folder, 2);
    }
    let refused =
        |kind: &str| book.lock().unwrap().get(&format!("{kind}-{epoch}")).is_some_and(|seen| seen.refused > 0);
    live(&gateway, &key, epoch, &book, |_| {
        assert!(eventually(6 * DEADLINE, || KINDS.iter().all(|(kind, ..)| refused(kind))), "a limit is not reached");
    });
    let folder = gateway.ended();
    let found = check(folder.path(), (&book, since), "the end");
    let (accounts, ..) = left(folder.path());
    let open: Vec<_> = accounts.iter().filter(|account| account.leased != account.posted).collect();
    assert!(open.is_empty(), "leases are open although nobody spends: {open:?}");
    let book = book.into_inner().unwrap();
    let asked: u64 = book.values().map(|seen| seen.sent).sum();
    println!("{rounds} kills, {asked} requests, {} sets of limits reached", epoch + 1);
    for (kind, max, _) in KINDS {
        let Some(of) = found.get(kind) else { continue };
        let given: u64 = book.iter().filter(|(name, _)| name.starts_with(kind)).map(|(_, seen)| seen.given).sum();
        println!(
            "{kind}, limit {max}: {given} given in all; {} crash reserves, largest {}; largest charged beyond what clients saw {}",
            of.reserves, of.largest, of.largest_of_an_account
        );
    }
    assert!(found.values().any(|of| of.reserves > 0), "no kill met an open lease: the test shows nothing");
}

//! Killed at any moment, the book forgets no lease.
//!
//! F-34; I-13: nothing counts as spent that was not asked for before the kill.
//! A child process spends within its leases and says which lease it was told is on disk. After each kill, what was leased
//! counts as spent, once, and the books agree. `MILLRACE_CRASH_ROUNDS` sets how often, 30 unless told.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use millrace::{
    base::{Caller, Charge, NanoUsd, RequestId, unix_time},
    control::{Keeper, Leases, WantedLease, keep},
    store::{Store, Tx},
    usage::Record,
};
use tokio::sync::watch;

use crate::harness::{DEADLINE, eventually};

pub(crate) const FOLDER: &str = "MILLRACE_LEDGER_FOLDER";
/// So many leases are told, then the child ends; without end where it is not set.
pub(crate) const LEASES_MAX: &str = "MILLRACE_LEDGER_LEASES";
const ACCOUNTS: [&str; 4] = ["key:a/usd/total", "key:b/usd/total", "key:c/usd/total", "key:d/usd/total"];
const PERIOD: u64 = 1;
/// What one lease adds.
const LEASE: u64 = 40;

#[derive(Default)]
struct Meter {
    used: u64,
    ceiling: u64,
    asked: u64,
}

/// Meters that say aloud what they ask for and what they are told.
#[derive(Default)]
struct Meters(Mutex<BTreeMap<String, Meter>>);

impl Leases for Meters {
    fn wanted(&self) -> Vec<WantedLease> {
        let mut wanted = Vec::new();
        let mut meters = self.0.lock().unwrap();
        for account in ACCOUNTS {
            let meter = meters.entry(account.to_owned()).or_default();
            if meter.used + LEASE / 2 > meter.ceiling && meter.asked <= meter.ceiling {
                meter.asked = meter.ceiling + LEASE;
                say(&format!("want {account} {}\n", meter.asked));
                wanted.push(WantedLease { account: account.into(), period: PERIOD, ceiling: meter.asked });
            }
        }
        wanted
    }

    fn idle(&self, _: usize) -> Vec<WantedLease> {
        Vec::new()
    }

    fn leased(&self, lease: &WantedLease) {
        say(&format!("lease {} {}\n", lease.account, lease.ceiling));
        self.0.lock().unwrap().entry(lease.account.as_ref().to_owned()).or_default().ceiling = lease.ceiling;
    }

    fn restore(&self, account: &str, period: u64, posted: u64) {
        // Nobody spends in another one, so it is another account to whoever compares.
        let name = if period == PERIOD { account.to_owned() } else { format!("{account} of period {period}") };
        let meter = Meter { used: posted, ceiling: posted, asked: posted };
        self.0.lock().unwrap().insert(name, meter);
    }

    fn restore_moving(&self, account: &str, _: &[(u64, u64)]) {
        panic!("no window of {account} moves");
    }
}

/// One write call, so that a line is whole or not there.
fn say(line: &str) {
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn spent(number: u128, account: &str) -> Record {
    let charge = Charge { account: account.into(), period: PERIOD, amount: 1, moving: None };
    Record {
        status: 200,
        attempts: 1,
        caller: Some(Arc::new(Caller { project: Some("prj_a".into()), ..Caller::of_key(account) })),
        cost: Some(NanoUsd(1)),
        charges: Some(Box::new([charge])),
        ..Record::begun(unix_time(), RequestId::made(number), "chat")
    }
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Spends what is leased until it is killed.
#[test]
fn child_that_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    // The test's own name is printed before, without an end of its line.
    say("\n");
    run(async {
        let store = Store::open(&Path::new(&folder).join("millrace.db")).unwrap();
        let meters = Arc::new(Meters::default());
        let keeper = Keeper::open(store, Arc::clone(&meters) as Arc<dyn Leases>).await.unwrap();
        let keeper = Arc::new(keeper);
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(keep(Arc::clone(&keeper), stopped));
        let leases_max: u64 = env::var(LEASES_MAX).map_or(u64::MAX, |text| text.parse().unwrap());
        while meters.0.lock().unwrap().values().map(|meter| meter.ceiling / LEASE).sum::<u64>() < leases_max {
            for account in ACCOUNTS {
                let mut meters = meters.0.lock().unwrap();
                let meter = meters.entry(account.to_owned()).or_default();
                if meter.used < meter.ceiling {
                    meter.used += 1;
                    keeper.note(spent(fastrand::u128(..), account));
                }
            }
            keeper.ring();
            tokio::task::yield_now().await;
        }
    });
}

/// The highest lease that was told, and the highest that was asked for, by account.
#[derive(Default)]
pub(crate) struct Heard {
    told: BTreeMap<String, u64>,
    asked: BTreeMap<String, u64>,
}

/// Kills it after so many lines of it, and some time.
fn run_and_kill(folder: &Path, (wanted, life): (usize, Duration), heard: &mut Heard) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "ledger_crash::child_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let count_one = move |_: &String| {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let reader = thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).inspect(count_one).collect::<Vec<_>>()
    });
    eventually(DEADLINE, || count.load(Ordering::Relaxed) >= wanted);
    // Not a wait for something to happen: the moment of the kill is what this test varies.
    thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in reader.join().unwrap() {
        assert!(!line.contains("panicked"), "{line}");
        heard.hear(&line);
    }
}

impl Heard {
    /// Notes a line of the child.
    pub(crate) fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(word), Some(account), Some(ceiling)) = (words.next(), words.next(), words.next()) else { return };
        let Ok(ceiling) = ceiling.parse() else { return };
        match word {
            "lease" => self.told.insert(account.to_owned(), ceiling),
            "want" => self.asked.insert(account.to_owned(), ceiling),
            _ => return,
        };
    }

    /// No lease that was told is forgotten, and nothing counts as spent that was not asked for.
    pub(crate) fn check(&self, found: &BTreeMap<String, u64>, place: &str) {
        for (account, told) in &self.told {
            let found = found.get(account).copied().unwrap_or_default();
            assert!(found >= *told, "{place}: {account} was leased up to {told}, {found} counts as spent");
        }
        for (account, found) in found {
            let asked = self.asked.get(account).copied().unwrap_or_default();
            assert!(*found <= asked, "{place}: {account} was asked up to {asked}, {found} counts as spent");
        }
    }
}

/// Opens the store. Another test that starts a process at this moment holds a copy of our lock until that process runs.
pub(crate) fn opened(path: &Path) -> Store {
    let mut store = None;
    eventually(DEADLINE, || {
        store = Store::open(path).ok();
        store.is_some()
    });
    store.unwrap_or_else(|| Store::open(path).unwrap())
}

/// What the next process finds: how far its books are apart, and posted by account, after what was leased counts as spent.
pub(crate) async fn books(store: Store) -> Result<(u64, BTreeMap<String, u64>), String> {
    let meters = Arc::new(Meters::default());
    let leases = Arc::clone(&meters) as Arc<dyn Leases>;
    let keeper = Keeper::open(store.clone(), leases).await.map_err(|error| error.to_string())?;
    let apart = keeper.compare().await.map_err(|error| error.to_string())?;
    let open = store.read(|tx: &dyn Tx| tx.open_leases()).await.map_err(|error| error.to_string())?;
    assert_eq!(open, [], "a lease is open although nobody spends");
    let meters = meters.0.lock().unwrap();
    Ok((apart, meters.iter().map(|(account, meter)| (account.clone(), meter.used)).collect()))
}

pub(crate) fn posted(folder: &Path) -> BTreeMap<String, u64> {
    let (apart, posted) = run(books(opened(&folder.join("millrace.db")))).unwrap();
    assert_eq!(apart, 0, "the books are apart");
    posted
}

#[test]
fn i_12_killed_at_any_moment_the_book_forgets_no_lease_and_invents_no_spending() {
    let rounds: u32 = env::var("MILLRACE_CRASH_ROUNDS").map_or(30, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut heard = Heard::default();
    for round in 0..rounds {
        // Some while it starts, most while it spends.
        let wanted = if round % 5 == 0 { 0 } else { random.usize(4..60) };
        run_and_kill(folder.path(), (wanted, Duration::from_millis(random.u64(0..50))), &mut heard);
        let found = posted(folder.path());
        heard.check(&found, &format!("round {round}"));
        assert_eq!(posted(folder.path()), found, "round {round}: a second start changed something");
    }
    let leases = heard.told.values().sum::<u64>() / LEASE;
    println!("{rounds} kills, {leases} leases, none lost");
    assert!(leases > 0, "no lease was told before a kill: the test shows nothing");
}

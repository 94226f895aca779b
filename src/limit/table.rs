//! Every counter of the process.
//!
//! Configurations come and go, counters stay: a limit finds its counter by its key. Reading takes no lock. Meters that a
//! ledger keeps ask here for leases, and get here what was posted before a restart.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::bell::{Bell, Overflow};
use super::lease::LeaseRequest;
use super::meter::Meter;
use super::rule::{Kind, MeterKey, Window};
use super::window::{Clock, Moment};

/// The counters of all limits, by their keys.
pub struct Meters {
    meters: papaya::HashMap<Arc<str>, Arc<Meter>>,
    bell: Arc<Bell>,
    clock: Clock,
    /// What was posted before a restart, of accounts that no limit has asked for yet.
    restored: Mutex<HashMap<Arc<str>, Restored>>,
}

/// What an account had posted before a restart.
#[derive(Debug, Default)]
struct Restored {
    /// Its last period, and what it had posted in it.
    last: (u64, u64),
    /// Where it lies in a window that moves.
    moving: Vec<(u64, u64)>,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").field("count", &self.meters.len()).finish_non_exhaustive()
    }
}

impl Meters {
    /// Counters in memory only: nothing waits for a lease, and a restart begins at zero.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with(Bell::of_nobody())
    }

    /// Durable counters spend nothing that is not leased: somebody must answer [`Meters::lease_requests`].
    #[must_use]
    pub fn with_ledger() -> Self {
        Self::with(Bell::of_ledger())
    }

    fn with(bell: Bell) -> Self {
        Self { meters: papaya::HashMap::new(), bell: Arc::new(bell), clock: Clock::start(), restored: Mutex::default() }
    }

    /// The clocks that all counters go by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Reads the clocks.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.moment()
    }

    /// The counter of a key; made at zero, or as it was before the restart, when nobody had it yet.
    #[must_use]
    pub fn meter(&self, key: &MeterKey) -> Arc<Meter> {
        let account: Arc<str> = key.to_string().into();
        let map = self.meters.pin();
        loop {
            let meter = map.get_or_insert_with(Arc::clone(&account), || self.create(key));
            let meter = Arc::clone(meter);
            // The sweep looks at the count of owners after it has retired a meter, so one of both sees the other.
            if !meter.is_retired() {
                return meter;
            }
            std::thread::yield_now();
        }
    }

    fn create(&self, key: &MeterKey) -> Arc<Meter> {
        let meter = Arc::new(Meter::new(key.clone(), Arc::clone(&self.bell)));
        let restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Restored { last: (period, posted), moving }) = restored.get(meter.account()) {
            meter.restore(*period, *posted);
            meter.restore_moving(moving);
        }
        meter
    }

    /// How many counters there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.meters.len()
    }

    /// The largest amount by which a settlement has passed a limit, in the unit of the kind. Zero where the answer is
    /// capped at what was reserved.
    #[must_use]
    pub fn overshoot(&self, kind: Kind) -> u64 {
        self.bell.overshoot(kind)
    }

    /// Whether a meter waits for a lease: [`Meters::lease_requests`] has something to say.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.bell.is_rung()
    }

    /// Whether a meter rang since the last call: then the ledger's keeper is to be woken, by this caller alone. A thousand
    /// requests may wait for one lease.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.bell.is_news()
    }

    /// Calls `each` for every meter that asks for a lease. The lease must be durable before [`Meters::leased`] is called.
    /// A request that is not answered is made again by the next request that needs it.
    pub fn lease_requests(&self, at: Moment, mut each: impl FnMut(LeaseRequest)) {
        let overflow = self.bell.answer();
        while let Some(meter) = self.bell.next() {
            meter.lease_request(at.steady).into_iter().for_each(&mut each);
        }
        if overflow == Overflow::Yes {
            for meter in self.meters.pin().values() {
                meter.lease_request(at.steady).into_iter().for_each(&mut each);
            }
        }
    }

    /// A lease is durable: the account may be used up to the ceiling in this period. Never lowers one.
    pub fn leased(&self, account: &str, period: u64, ceiling: u64) {
        if let Some(meter) = self.meters.pin().get(account) {
            meter.leased(period, ceiling);
        }
    }

    /// Gives back what is leased and not used, for meters of these accounts: `each` gets the lower ceilings, which hold
    /// already. For a process that ends, and for accounts that nobody used for a while.
    pub fn return_leases<'a>(&self, accounts: impl IntoIterator<Item = &'a str>, mut each: impl FnMut(LeaseRequest)) {
        let map = self.meters.pin();
        for meter in accounts.into_iter().filter_map(|account| map.get(account)) {
            meter.lease_return().into_iter().for_each(&mut each);
        }
    }

    /// Gives back what is leased and not used of meters that have asked for nothing for five minutes, of at most so many:
    /// as [`Meters::return_leases`]. Call it only while no lease is on its way to the disk.
    pub fn return_idle(&self, at: Moment, meters_max: usize, each: impl FnMut(LeaseRequest)) {
        let map = self.meters.pin();
        map.values().filter_map(|meter| meter.idle_return(at.steady)).take(meters_max).for_each(each);
    }

    /// Sets what an account had posted in its last period before the restart. Twice is as once.
    pub fn restore(&self, account: &str, period: u64, posted: u64) {
        {
            let mut restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
            let last = &mut restored.entry(account.into()).or_default().last;
            *last = (*last).max((period, posted));
        }
        if let Some(meter) = self.meters.pin().get(account) {
            meter.restore(period, posted);
        }
    }

    /// Sets where the posted amounts of an account lie in its sliding window: when their slots begin, in nanoseconds since
    /// 1970, and how much each holds; of a bucket one level: as of when, and what is missing. Twice is as once.
    pub fn restore_moving(&self, account: &str, posted: &[(u64, u64)]) {
        {
            let mut restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
            restored.entry(account.into()).or_default().moving = posted.to_vec();
        }
        if let Some(meter) = self.meters.pin().get(account) {
            meter.restore_moving(posted);
        }
    }

    /// Lets go of counters that no limit holds and that say the same as new ones. Returns how many.
    pub fn idle_sweep(&self, at: Moment) -> usize {
        let map = self.meters.pin();
        let mut swept = 0;
        for (account, meter) in &map {
            if Arc::strong_count(meter) > 1 || !meter.is_fresh(at) {
                continue;
            }
            meter.retire(true);
            if Arc::strong_count(meter) > 1 || !meter.is_fresh(at) {
                meter.retire(false);
                continue;
            }
            self.forget(account, meter);
            map.remove(account);
            swept += 1;
        }
        swept
    }

    /// What a meter was restored with goes with it; but an account over all time goes on from its sum.
    fn forget(&self, account: &Arc<str>, meter: &Meter) {
        let mut restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
        match meter.all_time().filter(|posted| *posted > 0) {
            Some(posted) => {
                let last = Restored { last: (Window::Total.start(0, self.now()), posted), moving: Vec::new() };
                restored.insert(Arc::clone(account), last);
            }
            None => drop(restored.remove(account)),
        }
    }
}

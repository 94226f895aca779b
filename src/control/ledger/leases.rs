//! What the keeper and the meters of limits say to each other.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::interval};

use super::keeper::Keeper;
use crate::{
    limit::{LeaseRequest, Meters},
    shared::Shared,
};

/// A meter that may be spent up to a ceiling once the disk knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLease {
    /// The account, by the stable text of its meter.
    pub account: Arc<str>,
    /// The period of the account.
    pub period: u64,
    /// Up to where it is to be spent. Lower than before when the meter gives something back, never below what it used.
    pub ceiling: u64,
}

/// The durable meters, as the keeper sees them.
pub trait Leases: Send + Sync {
    /// What is asked for since the last time.
    fn wanted(&self) -> Vec<WantedLease>;
    /// What goes back of leases that nobody uses, of at most so many accounts. Asked while no lease is on its way to the disk.
    fn idle(&self, accounts_max: usize) -> Vec<WantedLease>;
    /// A lease is on disk.
    fn leased(&self, lease: &WantedLease);
    /// Before the first request: what an account has posted in a period. Called with older periods first.
    fn restore(&self, account: &str, period: u64, posted: u64);
    /// Before the first request: where the posted amounts of an account lie in its window that moves, as
    /// [`Meters::restore_moving`] takes it.
    fn restore_moving(&self, account: &str, posted: &[(u64, u64)]);
}

impl From<LeaseRequest> for WantedLease {
    fn from(request: LeaseRequest) -> Self {
        Self { account: request.account, period: request.period, ceiling: request.wanted_ceiling }
    }
}

impl Leases for Meters {
    fn wanted(&self) -> Vec<WantedLease> {
        let mut wanted = Vec::new();
        if self.is_rung() {
            self.lease_requests(self.now(), |request| wanted.push(request.into()));
        }
        wanted
    }

    fn idle(&self, accounts_max: usize) -> Vec<WantedLease> {
        let mut idle = Vec::new();
        self.return_idle(self.now(), accounts_max, |request| idle.push(request.into()));
        idle
    }

    fn leased(&self, lease: &WantedLease) {
        self.leased(&lease.account, lease.period, lease.ceiling);
    }

    fn restore(&self, account: &str, period: u64, posted: u64) {
        self.restore(account, period, posted);
    }

    fn restore_moving(&self, account: &str, posted: &[(u64, u64)]) {
        self.restore_moving(account, posted);
    }
}

/// How often counters that no limit holds are let go.
const SWEEP: Duration = Duration::from_secs(60);

/// Passes the bell of workers whose requests wait for a lease on to the keeper, and lets go of counters that nobody uses,
/// until `shutdown` says so.
pub async fn ring_keeper(shared: Arc<Shared>, keeper: Arc<Keeper>, mut shutdown: watch::Receiver<bool>) {
    let mut sweeps = interval(SWEEP);
    loop {
        tokio::select! {
            _ = sweeps.tick() => drop(shared.meters.idle_sweep(shared.meters.now())),
            () = shared.ledger_bell.notified() => keeper.ring(),
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

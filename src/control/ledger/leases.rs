//! What the keeper and the meters of limits say to each other.

use std::sync::Arc;

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
    /// A lease is on disk.
    fn leased(&self, lease: &WantedLease);
    /// Before the first request: what an account has posted in a period. Called with older periods first.
    fn restore(&self, account: &str, period: u64, posted: u64);
}

/// Where there are no limits.
#[derive(Debug, Clone, Copy)]
pub struct NoLeases;

impl Leases for NoLeases {
    fn wanted(&self) -> Vec<WantedLease> {
        Vec::new()
    }

    fn leased(&self, _: &WantedLease) {}

    fn restore(&self, _: &str, _: u64, _: u64) {}
}

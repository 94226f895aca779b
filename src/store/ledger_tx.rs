//! What a transaction can do with accounts and entries.
//!
//! The sum of an account's entries is what it has posted, always: both change in one call and nowhere else.

use super::{
    query::{Page, PageRequest},
    record::{Account, BucketLevel, LedgerEntry, LedgerFilter, SlotLevel},
    tx::Outcome,
};
use crate::base::UnixTime;

/// An account and its period.
pub type Place = (String, u64);

/// Accounts, leases, entries.
pub trait Ledger {
    /// Notes a commit of usage by its run and number; false when it is stored already, so that nothing of it may be
    /// stored again. Numbers of one run rise.
    fn begin_commit(&mut self, run: &str, sequence: u64, at: UnixTime) -> Outcome<bool>;
    /// Forgets commits of other runs from before a time: nobody will repeat them.
    fn forget_commits(&mut self, but_run: &str, before: UnixTime) -> Outcome<()>;
    /// Appends an entry and adds its amount to the account; [`crate::store::StoreError::Taken`] for an operation that is
    /// there. A lease never stays below what is posted.
    fn post(&mut self, entry: &LedgerEntry) -> Outcome<()>;
    /// Sets up to where an account may be spent; what is posted already is the least.
    fn lease(&mut self, account: &str, period: u64, ceiling: u64) -> Outcome<()>;
    /// Accounts of which more is leased than posted.
    fn open_leases(&self) -> Outcome<Vec<Account>>;
    /// Takes every lease back: nobody spends any more.
    fn return_leases(&mut self) -> Outcome<()>;
    /// One period of an account.
    fn account(&self, account: &str, period: u64) -> Outcome<Option<Account>>;
    /// Calls `each` with the two newest periods of every account, older ones first.
    fn each_account(&self, each: &mut dyn FnMut(Account)) -> Outcome<()>;
    /// Adds to a slot of a sliding window, and forgets those of its account that begin before a time.
    fn add_to_slot(&mut self, slot: &SlotLevel, forget_before: u64) -> Outcome<()>;
    /// Calls `each` with every slot, by account and time.
    fn each_slot(&self, each: &mut dyn FnMut(SlotLevel)) -> Outcome<()>;
    /// The level of a bucket; none of one that was never used.
    fn bucket(&self, account: &str) -> Outcome<Option<BucketLevel>>;
    /// Sets the level of a bucket.
    fn set_bucket(&mut self, level: &BucketLevel) -> Outcome<()>;
    /// Calls `each` with the level of every bucket.
    fn each_bucket(&self, each: &mut dyn FnMut(BucketLevel)) -> Outcome<()>;
    /// Entries, by time.
    fn ledger(&self, filter: &LedgerFilter, page: &PageRequest) -> Outcome<Page<LedgerEntry>>;
    /// How far accounts are from the sum of their entries, all differences together without their signs. Looks at up to
    /// `count` accounts and periods behind `after`; returns the last one too, if there may be more behind it.
    fn unposted(&self, after: Option<&Place>, count: u32) -> Outcome<(u64, Option<Place>)>;
}

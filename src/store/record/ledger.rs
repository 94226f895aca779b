//! Accounts of limits and the entries of the ledger.

use super::text_enum::text_enum;
use crate::base::UnixTime;

text_enum! {
    /// What an entry of the ledger stands for.
    LedgerKind {
        /// Finished requests, all those of one commit.
        Requests = "requests",
        /// Fees of finished requests.
        Fee = "fee",
        /// Money that was paid in.
        Topup = "topup",
        /// A correction by an administrator.
        Adjustment = "adjustment",
        /// Something given back.
        Refund = "refund",
        /// What was leased and not posted when a process ended without saying so: it counts as spent.
        CrashReserve = "crash_reserve",
        /// What requests cost more or less since they were priced again.
        Reprice = "reprice",
    }
}

/// What is known of one period of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account, by the stable text of its meter, or `cost:` or `fee:` and a project.
    pub account: String,
    /// The period: when it begins, in nanoseconds since 1970; 0 for all time.
    pub period: u64,
    /// The sum of its entries, in the unit of the account.
    pub posted: u64,
    /// Up to where it may be spent without asking again; never below `posted`.
    pub leased: u64,
}

/// What one slot of a sliding window holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLevel {
    /// The account.
    pub account: String,
    /// When the slot begins, in nanoseconds since 1970.
    pub begins: u64,
    /// What is posted in it, in the unit of the account.
    pub posted: u64,
}

/// How full a bucket is by what is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketLevel {
    /// The account.
    pub account: String,
    /// As of when, in nanoseconds since 1970.
    pub as_of: u64,
    /// What is missing from the full bucket, in the unit of the account.
    pub missing: u64,
    /// What refills in one window; 0 where that is not known yet.
    pub refill: u64,
}

/// One entry of the ledger. Never changed: a correction is a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// 1, 2, 3, ...; 0 in an entry that is not stored yet.
    pub id: u64,
    /// When it was made.
    pub at: UnixTime,
    /// What it stands for.
    pub kind: LedgerKind,
    /// The account.
    pub account: String,
    /// The period of the account.
    pub period: u64,
    /// What it adds to the account, in its unit.
    pub amount: i64,
    /// How many requests it sums up.
    pub requests: u64,
    /// The organization; empty if there is none.
    pub organization: String,
    /// The project; empty if there is none.
    pub project: String,
    /// Id of the first request; empty if there is none.
    pub first_request: String,
    /// Id of the last request; empty if there is none.
    pub last_request: String,
    /// What whoever made it says.
    pub comment: String,
    /// Unique together with account, period and kind: the same operation is never posted twice.
    pub operation: String,
}

/// Which entries are listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LedgerFilter {
    /// Only of this organization.
    pub organization: Option<String>,
    /// Only of this project.
    pub project: Option<String>,
    /// Only this kind.
    pub kind: Option<LedgerKind>,
    /// Only of this account.
    pub account: Option<String>,
    /// Only from then on.
    pub since: Option<UnixTime>,
    /// Only before.
    pub until: Option<UnixTime>,
}

//! Accounts and entries of the ledger in SQLite.

use rusqlite::params;

use super::{
    columns::Columns,
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::UnixTime,
    store::{
        ledger_tx::{Ledger, Place},
        query::{Page, PageRequest},
        record::{Account, BucketLevel, LedgerEntry, LedgerFilter, SlotLevel},
        tx::Outcome,
    },
};

const ENTRY: &str = "SELECT id, at, kind, account, period, amount, requests, organization, project, first_request, \
    last_request, comment, operation FROM ledger";

impl Ledger for SqliteTx<'_> {
    fn begin_commit(&mut self, run: &str, sequence: u64, at: UnixTime) -> Outcome<bool> {
        let changed = self.run(
            "INSERT INTO usage_commits (run, sequence, at) VALUES (?, ?, ?) ON CONFLICT (run) DO UPDATE \
             SET sequence = excluded.sequence, at = excluded.at WHERE excluded.sequence > sequence",
            params![run, signed(sequence), at],
        )?;
        Ok(changed > 0)
    }

    fn forget_commits(&mut self, but_run: &str, before: UnixTime) -> Outcome<()> {
        self.run("DELETE FROM usage_commits WHERE run <> ? AND at < ?", params![but_run, before]).map(drop)
    }

    fn post(&mut self, entry: &LedgerEntry) -> Outcome<()> {
        self.change(
            "INSERT INTO ledger (at, kind, account, period, amount, requests, organization, project, first_request, \
             last_request, comment, operation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                entry.at,
                entry.kind,
                entry.account,
                signed(entry.period),
                entry.amount,
                signed(entry.requests),
                entry.organization,
                entry.project,
                entry.first_request,
                entry.last_request,
                entry.comment,
                entry.operation,
            ],
        )?;
        self.change(
            "INSERT INTO accounts (account, period, posted, leased) VALUES (?1, ?2, ?3, ?3) \
             ON CONFLICT (account, period) DO UPDATE SET posted = posted + excluded.posted, \
             leased = max(leased, posted + excluded.posted)",
            params![entry.account, signed(entry.period), entry.amount],
        )
    }

    fn lease(&mut self, account: &str, period: u64, ceiling: u64) -> Outcome<()> {
        self.change(
            "INSERT INTO accounts (account, period, posted, leased) VALUES (?, ?, 0, ?) \
             ON CONFLICT (account, period) DO UPDATE SET leased = max(posted, excluded.leased)",
            params![account, signed(period), signed(ceiling)],
        )
    }

    fn open_leases(&self) -> Outcome<Vec<Account>> {
        let sql = "SELECT account, period, posted, leased FROM accounts WHERE leased > posted ORDER BY account, period";
        self.all(sql, [], account)
    }

    fn return_leases(&mut self) -> Outcome<()> {
        self.run("UPDATE accounts SET leased = posted WHERE leased > posted", []).map(drop)
    }

    fn account(&self, name: &str, period: u64) -> Outcome<Option<Account>> {
        let sql = "SELECT account, period, posted, leased FROM accounts WHERE account = ? AND period = ?";
        self.first(sql, params![name, signed(period)], account)
    }

    fn each_account(&self, each: &mut dyn FnMut(Account)) -> Outcome<()> {
        let sql = "SELECT account, period, posted, leased FROM (SELECT *, row_number() OVER (PARTITION BY account \
             ORDER BY period DESC) AS age FROM accounts) WHERE age <= 2 ORDER BY account, period";
        self.each(sql, [], account, each)
    }

    fn add_to_slot(&mut self, slot: &SlotLevel, forget_before: u64) -> Outcome<()> {
        self.run(
            "DELETE FROM account_slots WHERE account = ? AND begins < ?",
            params![slot.account, signed(forget_before)],
        )?;
        self.change(
            "INSERT INTO account_slots (account, begins, posted) VALUES (?, ?, ?) \
             ON CONFLICT (account, begins) DO UPDATE SET posted = posted + excluded.posted",
            params![slot.account, signed(slot.begins), signed(slot.posted)],
        )
    }

    fn each_slot(&self, each: &mut dyn FnMut(SlotLevel)) -> Outcome<()> {
        let slot = |columns: &mut Columns<'_, '_>| {
            Ok(SlotLevel { account: columns.take()?, begins: columns.take()?, posted: columns.take()? })
        };
        self.each("SELECT account, begins, posted FROM account_slots ORDER BY account, begins", [], slot, each)
    }

    fn bucket(&self, account: &str) -> Outcome<Option<BucketLevel>> {
        let sql = "SELECT account, as_of, missing, refill FROM account_buckets WHERE account = ?";
        self.first(sql, params![account], bucket)
    }

    fn set_bucket(&mut self, level: &BucketLevel) -> Outcome<()> {
        self.change(
            "INSERT OR REPLACE INTO account_buckets (account, as_of, missing, refill) VALUES (?, ?, ?, ?)",
            params![level.account, signed(level.as_of), signed(level.missing), signed(level.refill)],
        )
    }

    fn each_bucket(&self, each: &mut dyn FnMut(BucketLevel)) -> Outcome<()> {
        self.each("SELECT account, as_of, missing, refill FROM account_buckets ORDER BY account", [], bucket, each)
    }

    fn ledger(&self, filter: &LedgerFilter, page: &PageRequest) -> Outcome<Page<LedgerEntry>> {
        let mut select = Select::from(ENTRY.to_owned());
        select.with_some("organization = ?", &filter.organization);
        select.with_some("project = ?", &filter.project);
        select.with_some("kind = ?", &filter.kind);
        select.with_some("account = ?", &filter.account);
        select.with_some("at >= ?", &filter.since);
        select.with_some("at < ?", &filter.until);
        select.page(By::TimeAndId("at", "id"), page);
        self.page(&select, page, entry)
    }

    fn unposted(&self, after: Option<&Place>, count: u32) -> Outcome<(u64, Option<Place>)> {
        let (account, period) = after.map_or(("", 0), |(account, period)| (account.as_str(), *period));
        let sql = "SELECT account, period, posted - coalesce((SELECT sum(amount) FROM ledger WHERE ledger.account = \
             accounts.account AND ledger.period = accounts.period), 0) FROM accounts WHERE (account, period) > (?, ?) \
             ORDER BY account, period LIMIT ?";
        let found: Vec<(Place, i64)> = self.all(sql, params![account, signed(period), count], |columns| {
            Ok(((columns.take()?, columns.take()?), columns.take()?))
        })?;
        let apart = found.iter().fold(0u64, |sum, (_, difference)| sum.saturating_add(difference.unsigned_abs()));
        let may_be_more = u32::try_from(found.len()).is_ok_and(|length| length == count);
        Ok((apart, found.into_iter().last().map(|(place, _)| place).filter(|_| may_be_more)))
    }
}

/// SQLite knows no unsigned numbers; what cannot be held becomes the largest that can.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn account(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Account> {
    Ok(Account { account: columns.take()?, period: columns.take()?, posted: columns.take()?, leased: columns.take()? })
}

fn bucket(columns: &mut Columns<'_, '_>) -> rusqlite::Result<BucketLevel> {
    Ok(BucketLevel {
        account: columns.take()?,
        as_of: columns.take()?,
        missing: columns.take()?,
        refill: columns.take()?,
    })
}

fn entry(columns: &mut Columns<'_, '_>) -> rusqlite::Result<LedgerEntry> {
    Ok(LedgerEntry {
        id: columns.take()?,
        at: columns.take()?,
        kind: columns.take()?,
        account: columns.take()?,
        period: columns.take()?,
        amount: columns.take()?,
        requests: columns.take()?,
        organization: columns.take()?,
        project: columns.take()?,
        first_request: columns.take()?,
        last_request: columns.take()?,
        comment: columns.take()?,
        operation: columns.take()?,
    })
}

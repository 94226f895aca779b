//! One batch in one transaction, once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    batch::{Batch, COST, FEE, Posting, organization_of_credits, project_of},
    group::{Group, GroupKey, Known},
    leases::WantedLease,
    moving,
};
use crate::{
    base::{UnixTime, unix_time},
    store::{LedgerEntry, LedgerKind, Outcome, Rollup, Tx},
};

/// The number of a group's dimension.
pub(super) type Learned = (GroupKey, i64, Group);

/// What is stored together.
pub(super) struct Commit {
    /// The run of the process.
    pub(super) run: Arc<str>,
    /// The number of the batch in this run; the same when it is tried again.
    pub(super) sequence: u64,
    /// The records.
    pub(super) batch: Batch,
    /// The leases.
    pub(super) leases: Vec<WantedLease>,
}

impl Commit {
    /// Stores everything, or knows that it is stored already; returns the numbers of dimensions that were looked up.
    pub(super) fn store(&self, tx: &mut dyn Tx, known: &Mutex<Known>) -> Outcome<Vec<Learned>> {
        let at = unix_time();
        if !tx.begin_commit(&self.run, self.sequence, at)? {
            return Ok(Vec::new());
        }
        self.store_entries(tx, at)?;
        self.batch.moved.store(tx)?;
        for lease in &self.leases {
            tx.lease(&lease.account, lease.period, lease.ceiling)?;
        }
        for (place, (organization, tally)) in &self.batch.tags {
            tx.add_tag(organization, place, tally)?;
        }
        self.store_requests(tx, known)
    }

    fn store_entries(&self, tx: &mut dyn Tx, at: UnixTime) -> Outcome<()> {
        let operation = format!("{}.{}", self.run, self.sequence);
        for ((account, period), posting) in &self.batch.charges {
            let requests = entry(at, &operation, (account, *period), posting);
            tx.post(&requests)?;
            if posting.fee > 0 {
                tx.post(&LedgerEntry { kind: LedgerKind::Fee, amount: signed(posting.fee), ..requests })?;
            }
        }
        for (project, of_project) in &self.batch.costs {
            let posting = &of_project.cost;
            tx.post(&entry(at, &operation, (&format!("{COST}{project}"), 0), posting))?;
            if of_project.fee > 0 {
                let fee = entry(at, &operation, (&format!("{FEE}{project}"), 0), posting);
                tx.post(&LedgerEntry { kind: LedgerKind::Fee, amount: signed(of_project.fee), ..fee })?;
            }
        }
        Ok(())
    }

    fn store_requests(&self, tx: &mut dyn Tx, known: &Mutex<Known>) -> Outcome<Vec<Learned>> {
        let mut learned = HashMap::new();
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        for ((minute, key), share) in &self.batch.shares {
            let dimension = match known.get(key).or_else(|| learned.get(key).map(|(number, _)| *number)) {
                Some(number) => number,
                None => {
                    let number = tx.dimension(&share.group.dimension())?;
                    learned.insert(*key, (number, share.group.clone()));
                    number
                }
            };
            let rollup = Rollup { bucket: *minute, dimension, tally: share.tally.clone() };
            tx.add_rollup(share.group.project(), &rollup)?;
        }
        for record in &self.batch.rows {
            let key = GroupKey::of(record);
            let project = project_of(record.caller.as_deref(), record.labels.as_deref());
            let number = known.get(&key).or_else(|| learned.get(&key).map(|(number, _)| *number));
            tx.insert_request(project, number.unwrap_or_default(), record)?;
        }
        Ok(learned.into_iter().map(|(key, (number, group))| (key, number, group)).collect())
    }
}

/// Counts as spent what was leased when the last process ended without saying so; returns how many leases those were.
pub(super) fn close_leases(tx: &mut dyn Tx, run: &str) -> Outcome<usize> {
    let open = tx.open_leases()?;
    let at = unix_time();
    for account in &open {
        let amount = account.leased.saturating_sub(account.posted);
        moving::reserve(tx, &account.account, amount, nanos(at))?;
        tx.post(&LedgerEntry {
            id: 0,
            at,
            kind: LedgerKind::CrashReserve,
            account: account.account.clone(),
            period: account.period,
            amount: signed(amount),
            requests: 0,
            organization: organization_of_credits(&account.account).to_owned(),
            project: String::new(),
            first_request: String::new(),
            last_request: String::new(),
            comment: "leased when the process ended".to_owned(),
            operation: format!("{run}.0"),
        })?;
    }
    Ok(open.len())
}

fn entry(at: UnixTime, operation: &str, (account, period): (&str, u64), posting: &Posting) -> LedgerEntry {
    LedgerEntry {
        id: 0,
        at,
        kind: LedgerKind::Requests,
        account: account.to_owned(),
        period,
        amount: signed(posting.amount),
        requests: posting.requests,
        organization: posting.organization.as_ref().to_owned(),
        project: posting.project.as_ref().to_owned(),
        first_request: posting.first.as_str().to_owned(),
        last_request: posting.last.as_str().to_owned(),
        comment: String::new(),
        operation: operation.to_owned(),
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanos(at: UnixTime) -> u64 {
    u64::try_from(at.0.as_nanos()).unwrap_or(u64::MAX)
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

//! Where in windows that move the posted amounts lie.
//!
//! The account of a sliding window or a bucket is one sum over all time. Beside it stands what each slot holds, or what is
//! missing from the bucket: changed in the transaction that posts, so that a restart finds as much as was posted. What a
//! crash leaves leased counts as of the restart: it may have been spent at the last moment.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    base::{Charge, FastMap, Moving},
    limit::{Refill, Window},
    store::{BucketLevel, Outcome, SlotLevel, Tx},
};

/// What a batch adds to windows that move.
#[derive(Default)]
pub(super) struct Moved {
    /// By account and when the slot begins.
    slots: FastMap<(Arc<str>, u64), u64>,
    buckets: FastMap<Arc<str>, Taken>,
}

/// What a batch takes from one bucket.
struct Taken {
    amount: u64,
    at: u64,
    refill: u64,
}

impl Moved {
    pub(super) fn add(&mut self, charge: &Charge) {
        let account = || Arc::clone(&charge.account);
        match charge.moving {
            None => {}
            Some(Moving::Slot(begins)) => {
                let posted = self.slots.entry((account(), begins)).or_default();
                *posted = posted.saturating_add(charge.amount);
            }
            Some(Moving::Bucket { at, refill }) => {
                let taken = self.buckets.entry(account()).or_insert(Taken { amount: 0, at, refill });
                taken.amount = taken.amount.saturating_add(charge.amount);
                // As of the last: what was taken earlier has refilled a little more than this says.
                (taken.at, taken.refill) = (taken.at.max(at), refill);
            }
        }
    }

    pub(super) fn store(&self, tx: &mut dyn Tx) -> Outcome<()> {
        for ((account, begins), posted) in &self.slots {
            add_to_slot(tx, account, *begins, *posted)?;
        }
        for (account, taken) in &self.buckets {
            take_from_bucket(tx, account, taken)?;
        }
        Ok(())
    }
}

/// Counts what was leased when a process ended as spent at a time, in nanoseconds since 1970.
pub(super) fn reserve(tx: &mut dyn Tx, account: &str, amount: u64, at: u64) -> Outcome<()> {
    match Window::moving(account) {
        Some(Window::Sliding(_)) => add_to_slot(tx, account, at, amount),
        Some(_) => {
            let refill = tx.bucket(account)?.map_or(0, |level| level.refill);
            take_from_bucket(tx, account, &Taken { amount, at, refill })
        }
        None => Ok(()),
    }
}

/// Where the posted amounts of all accounts lie, for their meters. A clock that was ahead before the restart keeps nothing
/// beyond `now`.
pub(super) fn restored(tx: &dyn Tx, now: u64) -> Outcome<BTreeMap<String, Vec<(u64, u64)>>> {
    let mut found: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    tx.each_slot(&mut |slot| found.entry(slot.account).or_default().push((slot.begins.min(now), slot.posted)))?;
    tx.each_bucket(&mut |level| found.entry(level.account).or_default().push((level.as_of.min(now), level.missing)))?;
    Ok(found)
}

fn add_to_slot(tx: &mut dyn Tx, account: &str, begins: u64, posted: u64) -> Outcome<()> {
    let window = length(account);
    // A window, the slot that is partly outside, and one more.
    let kept = window.saturating_add(window / 30);
    let forget_before = begins.saturating_sub(u64::try_from(kept.as_nanos()).unwrap_or(u64::MAX));
    tx.add_to_slot(&SlotLevel { account: account.to_owned(), begins, posted }, forget_before)
}

fn take_from_bucket(tx: &mut dyn Tx, account: &str, taken: &Taken) -> Outcome<()> {
    let old = tx.bucket(account)?.map_or((0, 0), |level| (level.as_of, level.missing));
    let (as_of, missing) = match taken.refill {
        // How fast it refills is not known: it did not.
        0 => (old.0.max(taken.at), old.1),
        refill => Refill::new(length(account), refill).level(old, taken.at),
    };
    let missing = missing.saturating_add(taken.amount);
    tx.set_bucket(&BucketLevel { account: account.to_owned(), as_of, missing, refill: taken.refill })
}

fn length(account: &str) -> Duration {
    Window::moving(account).and_then(Window::length).unwrap_or_default()
}

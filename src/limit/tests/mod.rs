//! Tests of limits: tables, a model, real threads, orders of threads.

mod algorithms;
mod leases;
mod model;
mod orders;
mod threads;

use std::{sync::Arc, time::Duration};

use super::{Claim, Held, Kind, Kinds, Limit, LimitSet, MeterKey, Meters, Mode, Moment, Refused, Scope, Terms, Window};
use crate::base::UnixTime;

/// A moment, in milliseconds after one that no window begins at.
fn at(ms: u64) -> Moment {
    UnixTime(Duration::from_millis(1_800_000_012_345 + ms)).into()
}

/// The steady clock of a moment.
fn nanos(moment: Moment) -> u64 {
    moment.steady
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn limit(meters: &Meters, owner: &str, kind: Kind, window: Window, max: u64) -> Limit {
    let meter = meters.meter(&MeterKey { owner: owner.into(), kind, window });
    Limit { meter, terms: Terms::max(max), scope: Scope::Key, mode: Mode::Enforce, queue: None }
}

fn set_of(kind: Kind, window: Window, max: u64) -> Arc<LimitSet> {
    Arc::new(LimitSet::new(vec![limit(&Meters::in_memory(), "key:k", kind, window, max)]))
}

/// The same figure for whatever is counted.
fn claim(amount: u64) -> Claim {
    Claim {
        requests: amount,
        concurrent: amount,
        input_tokens: amount,
        output_tokens: amount,
        money_nano: amount,
        audio_millis: amount,
    }
}

fn take(set: &LimitSet, amount: u64, now: Moment) -> Result<Held, Refused> {
    let mut held = Held::default();
    set.take(Kinds::ALL, &claim(amount), now, &mut held).map(|()| held)
}

fn settle(set: &LimitSet, held: &mut Held, amount: u64, now: Moment) {
    set.settle(held, &claim(amount), now, |_| {});
}

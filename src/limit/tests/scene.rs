//! Limits, amounts and moments of the tests.

use std::{sync::Arc, time::Duration};

use super::super::{
    Claim, Held, Kind, Kinds, Limit, LimitSet, MeterKey, Meters, Mode, Moment, Refused, Scope, Terms, Window,
};
use crate::base::UnixTime;

/// A moment, in milliseconds after one that no window begins at.
pub(super) fn at(ms: u64) -> Moment {
    UnixTime(Duration::from_millis(1_800_000_012_345 + ms)).into()
}

/// The steady clock of a moment.
pub(super) fn nanos(moment: Moment) -> u64 {
    moment.steady
}

pub(super) fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

pub(super) fn limit(meters: &Meters, owner: &str, kind: Kind, window: Window, max: u64) -> Limit {
    let meter = meters.meter(&MeterKey { owner: owner.into(), kind, window });
    Limit { meter, terms: Terms::max(max), scope: Scope::Key, mode: Mode::Enforce, queue: None }
}

pub(super) fn set_of(kind: Kind, window: Window, max: u64) -> Arc<LimitSet> {
    Arc::new(LimitSet::new(vec![limit(&Meters::in_memory(), "key:k", kind, window, max)]))
}

/// The same figure for whatever is counted.
pub(super) fn claim(amount: u64) -> Claim {
    Claim {
        requests: amount,
        concurrent: amount,
        input_tokens: amount,
        output_tokens: amount,
        money_nano: amount,
        audio_millis: amount,
    }
}

pub(super) fn take(set: &LimitSet, amount: u64, now: Moment) -> Result<Held, Refused> {
    let mut held = Held::default();
    set.take(Kinds::ALL, &claim(amount), now, &mut held).map(|()| held)
}

pub(super) fn settle(set: &LimitSet, held: &mut Held, amount: u64, now: Moment) {
    set.settle(held, &claim(amount), now, |_| {});
}

//! Refusals and parts of a cost as JSON in their row.

use std::time::Duration;

use super::requests::micros;
use crate::{
    base::NanoUsd,
    store::record::{RefusalRow, kept_costs},
    usage::{CostParts, Phases, RefusedBy},
};

/// Writes what refused a request.
pub(super) fn refusal_json(refused: Option<&RefusedBy>) -> Option<String> {
    let refused = refused?;
    let rules: Vec<&str> = refused.rules.iter().map(AsRef::as_ref).collect();
    serde_json::to_string(&(refused.scope, refused.what, rules, &refused.said)).ok()
}

/// Reads it. What cannot be read is as good as not stored.
pub(super) fn refusal_of(json: &str) -> Option<RefusalRow> {
    let (scope, what, rules, said) = serde_json::from_str(json).ok()?;
    Some(RefusalRow { scope, what, rules, said })
}

/// Writes where the time went.
pub(super) fn phases_json(phases: Option<Phases>) -> Option<String> {
    serde_json::to_string(&phases?.list().map(micros)).ok()
}

/// Reads it. A version that knew fewer phases has 0 for the others.
pub(super) fn phases_of(json: &str) -> Option<Phases> {
    let kept: Vec<u64> = serde_json::from_str(json).ok()?;
    let mut list = [Duration::ZERO; Phases::COUNT];
    list.iter_mut().zip(kept).for_each(|(place, time)| *place = Duration::from_micros(time));
    Some(Phases::of_list(list))
}

/// Writes the parts of a cost.
pub(super) fn costs_json(costs: Option<CostParts>) -> Option<String> {
    let list = kept_costs(costs)?.list();
    serde_json::to_string(&list.map(|part| part.0)).ok()
}

/// Reads them. A version that knew fewer parts has 0 for the others.
pub(super) fn costs_of(json: &str) -> Option<CostParts> {
    let kept: Vec<i64> = serde_json::from_str(json).ok()?;
    let mut list = [NanoUsd::ZERO; CostParts::COUNT];
    list.iter_mut().zip(kept).for_each(|(place, part)| *place = NanoUsd(part));
    Some(CostParts::of_list(list))
}

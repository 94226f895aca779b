//! Refusals and parts of a cost as JSON in their row.

use crate::{
    base::NanoUsd,
    store::record::{RefusalRow, kept_costs},
    usage::{CostParts, RefusedBy},
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

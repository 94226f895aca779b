//! Why a request went the way it did, as its row shows it.

use serde::Serialize;
use utoipa::ToSchema;

use super::usage::Money;
use crate::store::DecisionRow;
use crate::usage::{CostParts, Phases};

/// One step of the way from a request to what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestDecision)]
pub(super) struct DecisionView {
    /// `key`, `route`, `rules`, `target`, `limits`, `credential`, `fallback`: in this order, as far as the request got.
    step: &'static str,
    /// `key`: `accepted`, `refused`. `route`: `found`, `not_found`. `rules`: `none`, `allowed`, `denied`. `target`: `only` of its
    /// route, `first_allowed` of several. `limits`: `none`, `admitted`, `refused`. `credential`: `own`, `platform`. `fallback`,
    /// after the provider refused the own credential: `platform`, or `forbidden` by the client.
    outcome: &'static str,
    /// What it was decided on: id of the key, the requested model, the target. Of a refusal the scope of the rule or limit. Of
    /// `credential`: `only_own`, `only_platform`, `own_first`.
    subject: String,
    /// What the client was told, for a refusal by rules or limits.
    reason: String,
    /// Ids of the rules that refused.
    rules: Vec<String>,
}

impl From<DecisionRow> for DecisionView {
    fn from(row: DecisionRow) -> Self {
        Self { step: row.step, outcome: row.outcome, subject: row.subject, reason: row.reason, rules: row.rules }
    }
}

/// Where the time of a request went, in milliseconds. Waiting for its body is in none of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestPhases)]
pub(super) struct PhasesView {
    /// Finding the key.
    auth_ms: f64,
    /// Checking the body.
    parse_ms: f64,
    /// Finding route and target, and asking the rules.
    route_ms: f64,
    /// Taking from limits, with waits for a lease or in a queue.
    limit_ms: f64,
    /// Making the request ready, and finding or opening a connection.
    connect_ms: f64,
    /// From then to the first byte of the answer.
    upstream_ms: f64,
    /// From the first byte of the answer to the last.
    write_ms: f64,
}

impl From<Phases> for PhasesView {
    fn from(phases: Phases) -> Self {
        let [auth_ms, parse_ms, route_ms, limit_ms, connect_ms, upstream_ms, write_ms] =
            phases.list().map(|time| time.as_secs_f64() * 1_000.0);
        Self { auth_ms, parse_ms, route_ms, limit_ms, connect_ms, upstream_ms, write_ms }
    }
}

/// A cost by what was paid for, in USD. The parts add up to it exactly.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CostParts)]
pub(super) struct CostPartsView {
    /// Plain tokens of the prompt.
    input: Money,
    /// Tokens read from the provider's cache.
    cache_read: Money,
    /// Tokens written to it.
    cache_write: Money,
    /// Sound, in and out.
    audio: Money,
    /// Plain tokens of the answer.
    output: Money,
    /// Tokens of the answer that were thought.
    reasoning: Money,
    /// The fee of the request itself.
    request: Money,
    /// Pictures: their tokens, and what each one costs beside them.
    image: Money,
    /// Searches of the provider.
    search: Money,
}

impl From<CostParts> for CostPartsView {
    fn from(parts: CostParts) -> Self {
        let [input, cache_read, cache_write, audio, output, reasoning, request, image, search] =
            parts.list().map(Money);
        Self { input, cache_read, cache_write, audio, output, reasoning, request, image, search }
    }
}

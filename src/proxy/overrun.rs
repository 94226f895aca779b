//! Streams beyond their reservation, and without a client.

use std::ops::ControlFlow;

use crate::{
    base::{Instant, now},
    http::Downstream,
    limit::{Claim, Held, Kind, Kinds, take_all},
    snapshot::{OnCancel, OnExhausted},
    wire::{Splitter, StreamWatch},
};

use super::{
    attempt::Answer,
    exchange::Exchange,
    refused::refusal_of,
    reply::Refusal,
    settle::TOKEN_BYTES,
    stream::{Plan, take_events},
};

/// Tokens that a stream takes from its limits at a time once it is longer than what was reserved.
const STEP_TOKENS: u64 = 256;

/// What a stream takes from its limits beyond its reservation.
#[derive(Default)]
pub(super) struct Overrun {
    grant: Held,
    route: Held,
    keyed: Held,
}

/// From how many bytes of content on a stream must look at its limits; none where it may go on in any case.
pub(super) fn bound_of(exchange: &Exchange<'_>) -> Option<u64> {
    let (target, holds) = (exchange.target.as_ref()?, exchange.holds.as_ref()?);
    let cuts = target.bounds.on_exhausted == OnExhausted::Cut && !exchange.is_capped && holds.claim.output_tokens > 0;
    cuts.then(|| holds.claim.output_tokens.saturating_mul(TOKEN_BYTES))
}

/// Takes another piece from the limits for a stream that has come to its bound; returns the next bound.
///
/// # Errors
/// The refusal with which the stream is cut.
pub(super) fn go_on(exchange: &mut Exchange<'_>, bound: u64) -> Result<u64, Refusal> {
    let at = exchange.limit_moment(now());
    let (Some(grant), Some(target), Some(holds)) = (&exchange.grant, &exchange.target, &mut exchange.holds) else {
        return Ok(u64::MAX);
    };
    let (route, price) = (&target.bounds.limits, &target.price);
    let money = price.as_ref().map_or(0, |price| price.upper_bound(0, STEP_TOKENS).units());
    let claim = Claim { output_tokens: STEP_TOKENS, money_nano: money, ..Claim::default() };
    let kinds = Kinds::of(Kind::OutputTokens).and(Kind::TotalTokens).and(Kind::Money);
    let mut more = Overrun::default();
    let empty = Default::default();
    let keyed = holds.keyed_set.as_deref().unwrap_or(&empty);
    let mut sets = [(&grant.limits, &mut more.grant), (route, &mut more.route), (keyed, &mut more.keyed)];
    let taken = take_all(&mut sets, kinds, &claim, at);
    holds.overruns.push(more);
    taken.map(|()| bound.saturating_add(STEP_TOKENS * TOKEN_BYTES)).map_err(|refused| {
        let mut refusal = refusal_of(&refused);
        // A stream has begun: nobody can try the same again.
        refusal.retry_after = None;
        refusal
    })
}

impl Exchange<'_> {
    /// Gives back what a stream took beyond its reservation: what it used is settled with the reservation.
    pub(super) fn end_overruns(&mut self, ended: Instant) {
        let at = self.limit_moment(ended);
        let (Some(grant), Some(target), Some(holds)) = (&self.grant, &self.target, &mut self.holds) else { return };
        for mut more in std::mem::take(&mut holds.overruns) {
            grant.limits.give_back(&mut more.grant, at);
            target.bounds.limits.give_back(&mut more.route, at);
            if let Some(keyed) = &holds.keyed_set {
                keyed.give_back(&mut more.keyed, at);
            }
        }
    }

    /// Whether a stream is to be read to its end although its client has left.
    pub(super) fn drains(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.on_cancel == OnCancel::Drain)
    }
}

/// Reads a stream to its end although nobody is there any more, so that its tokens are known exactly.
pub(super) async fn drain_stream(
    exchange: &Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    (plan, watch): (&Plan, &mut StreamWatch),
    splitter: &mut Splitter,
) {
    down.forget_client();
    while !watch.is_done() && !answer.connection.upstream.is_ended() && !exchange.must_end() {
        down.deadline.set(plan.idle.min(plan.total_until.saturating_duration_since(now())));
        if answer.connection.upstream.read_body(down).await.is_err() {
            return;
        }
        let (count, flow) = take_events(answer, splitter, watch);
        answer.connection.upstream.consume(count);
        if let ControlFlow::Break(_) = flow {
            return;
        }
    }
}

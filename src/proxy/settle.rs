//! What a request has used: counted, priced, given back.
//!
//! Runs once a request, in the drop of its exchange: so also after an error, for a client that left, and after a panic.

use std::sync::Arc;

use crate::{
    base::{Charge, Instant, NanoUsd, TokenCounts, now},
    limit::{Claim, Held, LimitSet, Moment},
    snapshot::OnCancel,
    usage::Credential,
};

use super::{admit::Holds, exchange::Exchange};

/// Bytes of text that make a token, about.
pub(super) const TOKEN_BYTES: u64 = 4;

impl Exchange<'_> {
    /// Prices what the answer used, as far as it is known. Call it when the tokens are: the price then stands in the head
    /// of an answer that is no stream.
    pub(super) fn price(&mut self) {
        if self.attempts == 0 || self.cost.is_some() {
            return;
        }
        self.check_usage();
        let Some(target) = &self.target else { return };
        let is_free = self.cancelled && self.stream && target.on_cancel == OnCancel::Free;
        let paid = target.paid.as_ref().filter(|_| self.credential == Credential::Platform);
        // What a customer writes does not make free what the platform pays.
        let is_free = is_free && paid.is_none();
        let price = paid.map(|paid| &paid.price).or(target.price.as_ref());
        self.cost = price.map(|price| match is_free || self.tokens == TokenCounts::default() {
            true => NanoUsd::ZERO,
            false => price.cost(&self.tokens),
        });
        if let (Some(paid), Some(cost)) = (paid, self.cost) {
            // The fee that was reserved, also when the operator has changed it since.
            let terms = self.holds.as_ref().and_then(|holds| holds.credit_terms.as_ref());
            self.fee = terms.map_or_else(|| paid.credit.fee_on(cost), |terms| terms.fee.of(cost));
        }
        if !self.estimated && self.tokens.output > 0 {
            target.learned.observe(self.tokens.output);
        }
    }

    /// Estimates the tokens of a request that was sent and not answered as it should: the provider may bill it. What is known
    /// of them already stays.
    pub(super) fn may_be_billed(&mut self) {
        if self.is_sent && self.tokens == TokenCounts::default() {
            self.estimate_input();
        }
    }

    /// Estimates the tokens of a request whose provider states none.
    pub(super) fn estimate_input(&mut self) {
        self.estimated = true;
        self.tokens.input = self.input_estimate();
    }

    /// About how many tokens the request has.
    pub(super) fn input_estimate(&self) -> u64 {
        self.body_bytes.div_ceil(TOKEN_BYTES)
    }

    /// Figures above what was reserved, and sent as a cap, cannot be true: the reservation is billed instead. Input that is
    /// open is billed as stated; what it has above its reservation is the overshoot that `/metrics` shows.
    fn check_usage(&mut self) {
        let Some(holds) = &self.holds else { return };
        let claim = holds.claim;
        if !holds.is_open && claim.input_tokens > 0 && self.tokens.input > claim.input_tokens {
            self.usage_suspect = true;
            self.tokens.input = claim.input_tokens;
        }
        if self.is_capped && self.tokens.output > claim.output_tokens {
            self.usage_suspect = true;
            self.tokens.output = claim.output_tokens;
            self.tokens.reasoning = self.tokens.reasoning.min(claim.output_tokens);
        }
    }

    /// Gives everything back: a request that a limit refuses has used nothing.
    pub(super) fn give_back(&mut self) {
        self.end_holds(now(), |set, held, at| set.give_back(held, at));
        self.holds = None;
    }

    /// Puts the true figures in the place of the reserved ones; returns what durable accounts must keep.
    pub(super) fn settle(&mut self, ended: Instant) -> Option<Box<[Charge]>> {
        self.holds.as_ref()?;
        let used = Claim {
            requests: 1,
            concurrent: 0,
            input_tokens: self.tokens.input,
            output_tokens: self.tokens.output,
            money_nano: self.cost.unwrap_or_default().saturating_add(self.fee).units(),
            audio_millis: 0,
        };
        let mut charges = Vec::new();
        let block = Arc::clone(&self.context.block);
        self.end_holds(ended, |set, held, at| {
            for limit in set.would_refuse(held) {
                block.limit_refusals.count_shadow(limit.scope as usize, limit.kind() as usize);
            }
            set.settle(held, &used, at, |charge| charges.push(charge));
        });
        // Behind the settlement, so that nobody takes what was used already.
        self.end_overruns(ended);
        (!charges.is_empty()).then(|| charges.into())
    }

    fn end_holds(&mut self, ended: Instant, mut end: impl FnMut(&LimitSet, &mut Held, Moment)) {
        let at = self.limit_moment(ended);
        let Some(holds) = &mut self.holds else { return };
        let Holds { grant, route, keyed, keyed_set, credits, credit_terms, .. } = &mut **holds;
        if let Some(of_grant) = &self.grant {
            end(&of_grant.limits, grant, at);
        }
        if let Some(target) = &self.target {
            end(&target.bounds.limits, route, at);
        }
        if let Some(set) = keyed_set {
            end(set, keyed, at);
        }
        if let Some(terms) = credit_terms {
            end(&terms.limits, credits, at);
        }
    }
}

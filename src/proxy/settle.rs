//! What a request has used: counted, priced, given back.
//!
//! Runs once a request, in the drop of its exchange: so also after an error, for a client that left, and after a panic.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    base::{Charge, Instant, NanoUsd, TokenCounts, now},
    limit::{Claim, Held, LimitSet, Moment},
    snapshot::OnCancel,
    usage::{Credential, Price},
    wire::{Endpoint, StreamWatch, images_in_answer, said_in_answer, tell_cost},
};

use super::{
    admit::{Holds, input_bound},
    exchange::Exchange,
};

/// Bytes of text that make a token, about.
pub(super) const TOKEN_BYTES: u64 = 4;
/// Characters of text that a token has at most on average: twice as many as usual.
const TOKEN_CHARS_MAX: u64 = 2 * TOKEN_BYTES;
/// Tokens by which short answers may be below that.
const TOKENS_SLACK: u64 = 16;
/// Bytes of a whole answer that are not its text, mostly.
const ANSWER_FRAME_BYTES: u64 = 2_048;
/// More tokens than any model reads or writes at once.
const TOKENS_MAX: u64 = 10_000_000;
/// More searches, and more pictures, than any provider makes for one answer: no more are billed.
const MADE_MAX: u32 = 1_000;

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
        let price = target.price_for(self.credential);
        self.priced_by = price.map(|price| price.mark());
        self.cost = price.map(|price| match is_free || self.tokens == TokenCounts::default() {
            true => NanoUsd::ZERO,
            false => price.cost(&self.tokens),
        });
        if let (Some(paid), Some(cost)) = (paid, self.cost) {
            // The fee that was reserved, also when the operator has changed it since.
            let terms = self.holds.as_ref().and_then(|holds| holds.credit_terms.as_ref());
            self.fee = terms.map_or_else(|| paid.credit.fee_on(cost), |terms| terms.fee.of(cost));
        }
    }

    /// The price that holds for what it used; none when nobody states one.
    pub(super) fn price_in_force(&self) -> Option<&Arc<Price>> {
        self.target.as_ref()?.price_for(self.credential)
    }

    /// Remembers how long the answers of its target are.
    pub(super) fn learn(&self) {
        if let Some(target) = self.target.as_ref().filter(|_| self.attempts > 0)
            && !self.estimated
            && self.tokens.output > 0
        {
            target.learned.observe(self.tokens.output);
            if (self.tokens.searches | self.tokens.images) != 0 {
                target.learned.observe_made(self.tokens.searches, self.tokens.images);
            }
        }
    }

    /// Whether what it uses has a price.
    pub(super) fn has_price(&self) -> bool {
        self.price_in_force().is_some()
    }

    /// Writes the event with the final usage of a stream anew, with what the request costs by it.
    pub(super) fn tell_cost(&mut self, watch: &StreamWatch, event: &[u8]) -> Option<Vec<u8>> {
        self.account(watch);
        self.price();
        tell_cost(watch.endpoint(), event, (self.cost?, self.fee))
    }

    /// Tokens of a whole answer, by what the provider states. The text is only looked at where the figure is small for its length.
    pub(super) fn account_whole(&mut self, endpoint: Endpoint, body: &[u8], stated: Option<TokenCounts>) {
        let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let Some(tokens) = stated else {
            self.estimate_input();
            self.tokens.output = body_bytes.div_ceil(TOKEN_BYTES);
            return;
        };
        self.tokens = tokens;
        if endpoint == Endpoint::Chat && self.price_in_force().is_some_and(|price| price.per_image() != NanoUsd::ZERO) {
            self.tokens.images = tokens.images.max(images_in_answer(body));
        }
        let likely = tokens.output.saturating_add(TOKENS_SLACK).saturating_mul(TOKEN_CHARS_MAX);
        if body_bytes.saturating_sub(ANSWER_FRAME_BYTES) > likely || tokens.output > self.most_tokens() {
            self.raise_output(said_in_answer(endpoint, body));
        }
    }

    /// Fewer tokens of output than half of what was received cannot be true: that half is billed instead.
    fn raise_output(&mut self, said_chars: u64) {
        let least = said_chars / TOKEN_CHARS_MAX;
        self.output_least = least;
        if self.tokens.output.saturating_add(TOKENS_SLACK) < least {
            self.usage_suspect = true;
            self.tokens.output = least;
        }
    }

    /// Tokens of a stream: as stated by the provider, else estimated from what arrived. It is priced anew.
    pub(super) fn account(&mut self, watch: &StreamWatch) {
        self.cost = None;
        if self.heard.is_some() {
            return self.account_heard((watch.usage(), watch.audio_millis()), || watch.content_bytes());
        }
        match watch.usage() {
            Some(tokens) => {
                self.tokens = tokens;
                self.raise_output(watch.said_chars());
            }
            None => {
                self.estimate_input();
                self.tokens.output = watch.content_bytes().div_ceil(TOKEN_BYTES);
                (self.tokens.searches, self.tokens.images) = watch.made_so_far();
            }
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
        match self.heard {
            None => self.tokens.input = self.input_estimate(),
            Some(heard) => self.estimate_heard(heard),
        }
    }

    /// About how many tokens the request has.
    pub(super) fn input_estimate(&self) -> u64 {
        self.body_bytes.div_ceil(TOKEN_BYTES)
    }

    /// Figures above what was reserved, and sent as a cap, cannot be true: the reservation is billed instead. Input that is
    /// open is billed as stated; what it has above its reservation is the overshoot that `/metrics` shows.
    fn check_usage(&mut self) {
        if self.tokens.input.max(self.tokens.output) > self.most_tokens() {
            self.cut_absurd();
        }
        if self.tokens.searches.max(self.tokens.images) > MADE_MAX {
            self.usage_suspect = true;
            self.tokens.searches = self.tokens.searches.min(MADE_MAX);
            self.tokens.images = self.tokens.images.min(MADE_MAX);
        }
        let Some(holds) = &self.holds else { return };
        let (claim, input_most) = (holds.claim, holds.input_most);
        if !holds.is_open && input_most > 0 && self.tokens.input > input_most {
            self.usage_suspect = true;
            self.tokens.input = input_most;
        }
        if self.is_capped && self.tokens.output > claim.output_tokens {
            self.usage_suspect = true;
            self.tokens.output = claim.output_tokens;
            self.tokens.reasoning = self.tokens.reasoning.min(claim.output_tokens);
        }
    }

    /// More tokens than the model of its target is known to read or write at once.
    fn most_tokens(&self) -> u64 {
        let window = self.target.as_ref().and_then(|target| target.context_window);
        window.map_or(TOKENS_MAX, |window| window.min(TOKENS_MAX))
    }

    /// Nobody reads or writes so much. Input is at most what its bytes can be, or what the model reads at once, where the
    /// catalogue knows that and more was read than stands in the body. Without a reservation the longest answer of the model
    /// is billed for one that is longer.
    #[cold]
    fn cut_absurd(&mut self) {
        let Some(target) = &self.target else { return };
        let reserved = self.holds.as_ref().map_or((0, 0), |holds| (holds.input_most, holds.claim.output_tokens));
        let tokens = &mut self.tokens;
        let bytes = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
        let in_body = if reserved.0 > 0 { reserved.0 } else { input_bound(target, bytes) };
        let read_at_once = target.context_window.map(|window| window.max(in_body).min(TOKENS_MAX));
        if tokens.input > read_at_once.unwrap_or(TOKENS_MAX) {
            self.usage_suspect = true;
            tokens.input = read_at_once.unwrap_or(in_body);
        }
        // Of several answers together no window says anything.
        let written_at_once = target.context_window.filter(|_| self.is_single).unwrap_or(TOKENS_MAX).min(TOKENS_MAX);
        if tokens.output > written_at_once {
            self.usage_suspect = true;
            let longest = target.output_max.max(self.output_least).min(written_at_once);
            tokens.output = if self.is_capped && reserved.1 > 0 { reserved.1 } else { longest };
        }
        tokens.cache_read = tokens.cache_read.min(tokens.input);
        tokens.cache_write = tokens.cache_write.min(tokens.input);
        tokens.reasoning = tokens.reasoning.min(tokens.output);
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
            audio_millis: self.tokens.audio_millis,
        };
        let mut charges: SmallVec<[Charge; 4]> = SmallVec::new();
        let block = Arc::clone(&self.context.block);
        self.end_holds(ended, |set, held, at| {
            for limit in set.would_refuse(held) {
                block.limit_refusals.count_shadow(limit.scope as usize, limit.kind() as usize);
            }
            set.settle(held, &used, at, |charge| charges.push(charge));
        });
        // Behind the settlement, so that nobody takes what was used already.
        self.end_overruns(ended);
        (!charges.is_empty()).then(|| charges.into_boxed_slice())
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

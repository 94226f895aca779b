//! The attempts of a request that one row cannot tell.
//!
//! The one attempt of a request that succeeded is what its row says: such a request keeps nothing here and allocates
//! nothing. Only a failure makes an entry, and then whatever follows it does.

use crate::{
    base::{Instant, NanoUsd, TokenCounts, now},
    metrics::{OUTCOMES, Outcome},
    usage::Attempt,
};

use super::exchange::Exchange;

/// How an attempt ended that nobody ended: our own code failed.
const BROKEN: &str = "internal";

/// What is known of the attempts of a request.
#[derive(Default)]
pub(super) struct Tried {
    /// When the attempt under way began; none between two.
    begun: Option<Instant>,
    /// Status of the provider's answer to it; 0 before one came.
    pub(super) status: u16,
    ended: Vec<Attempt>,
}

impl Tried {
    /// Whether an attempt has ended that the row alone does not tell.
    pub(super) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Whether an attempt has begun that has not ended.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun.is_some()
    }
}

impl Exchange<'_> {
    /// Starts an attempt, which counts.
    pub(super) fn begin_attempt(&mut self, at: Instant) {
        self.attempts += 1;
        self.tried.begun = Some(at);
        self.tried.status = 0;
    }

    /// Counts one finished attempt. What it may cost has to be known by then: the next one is billed for itself.
    pub(super) fn count_attempt(&mut self, outcome: Outcome) {
        if let Some(target) = &self.target {
            target.series.record_attempt(self.context.worker, outcome);
        }
        if outcome != Outcome::Success || !self.tried.ended.is_empty() {
            self.keep_attempt(outcome_name(outcome), now());
        }
        self.tried.begun = None;
        self.is_sent = false;
    }

    /// Ends an attempt on a reused connection that was dead, and starts the next: one that counts, unless the model is safe to
    /// be asked twice. It is kept in any case.
    pub(super) fn resend(&mut self, at: Instant) {
        let is_silent = self.target.as_ref().is_some_and(|target| target.retry_safe);
        if is_silent {
            self.keep_attempt(outcome_name(Outcome::Reset), at);
            self.tried.begun = Some(at);
            self.is_sent = false;
        } else {
            self.count_attempt(Outcome::Reset);
            self.begin_attempt(at);
        }
    }

    #[cold]
    fn keep_attempt(&mut self, outcome: &'static str, at: Instant) {
        let Some(target) = &self.target else { return };
        let begun = self.tried.begun.unwrap_or(at);
        self.tried.ended.push(Attempt {
            labels: std::sync::Arc::clone(&target.labels),
            credential: self.credential,
            status: self.tried.status,
            outcome,
            duration: at.saturating_duration_since(begun),
            tokens: TokenCounts::default(),
            cost: Some(NanoUsd::ZERO),
            maybe_billed: false,
        });
    }

    /// The attempts, if its row does not tell. Call it when the request is priced: what it is billed, it is for the last.
    pub(super) fn take_tried(&mut self, ended: Instant) -> Option<Box<[Attempt]>> {
        if self.tried.is_under_way() {
            self.keep_attempt(BROKEN, ended);
        }
        let mut tried = std::mem::take(&mut self.tried.ended);
        let last = tried.last_mut()?;
        last.tokens = self.tokens;
        last.cost = self.cost;
        let is_success = last.outcome == outcome_name(Outcome::Success);
        last.maybe_billed = !is_success && self.estimated && self.tokens != TokenCounts::default();
        Some(tried.into())
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    OUTCOMES.get(usize::from(outcome as u8)).copied().unwrap_or(BROKEN)
}

//! What some requests used together.

use super::{
    distribution::Distribution,
    record::{Credential, Record},
};
use crate::base::{NanoUsd, TokenCounts};

/// A sum over requests. Adding records one by one or merging sums of them gives the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many requests.
    pub requests: u64,
    /// Those whose client left.
    pub cancelled: u64,
    /// Those whose tokens were estimated.
    pub estimated: u64,
    /// Those that a provider was asked for and no price is known of.
    pub unpriced: u64,
    /// Attempts at targets.
    pub attempts: u64,
    /// Tokens by class. Those kept for an hour are part of the written ones and not summed apart.
    pub tokens: TokenCounts,
    /// What they cost.
    pub cost: NanoUsd,
    /// What was taken on top.
    pub fee: NanoUsd,
    /// What caching saved.
    pub saved: NanoUsd,
    /// From the first byte of a request to the last of its answer.
    pub duration: Distribution,
    /// From the first byte of a request to the first content.
    pub ttft: Distribution,
    /// The gateway's own share.
    pub overhead: Distribution,
}

impl Tally {
    /// Adds one request.
    pub fn add(&mut self, record: &Record) {
        self.requests += 1;
        self.cancelled += u64::from(record.cancelled);
        self.estimated += u64::from(record.estimated);
        self.unpriced += u64::from(record.is_unpriced());
        self.attempts += u64::from(record.attempts);
        add_tokens(&mut self.tokens, &record.tokens);
        self.cost = self.cost.saturating_add(record.cost.unwrap_or_default());
        self.fee = self.fee.saturating_add(record.fee);
        self.duration.add(record.duration);
        if let Some(ttft) = record.ttft {
            self.ttft.add(ttft);
        }
        self.overhead.add(record.overhead);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.cancelled += other.cancelled;
        self.estimated += other.estimated;
        self.unpriced += other.unpriced;
        self.attempts += other.attempts;
        add_tokens(&mut self.tokens, &other.tokens);
        self.cost = self.cost.saturating_add(other.cost);
        self.fee = self.fee.saturating_add(other.fee);
        self.saved = self.saved.saturating_add(other.saved);
        self.duration.merge(&other.duration);
        self.ttft.merge(&other.ttft);
        self.overhead.merge(&other.overhead);
    }
}

impl Record {
    /// Whether a provider was asked and no price is known.
    #[must_use]
    pub fn is_unpriced(&self) -> bool {
        self.cost.is_none() && self.credential != Credential::None
    }

    /// Whether the request failed or was refused.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.status == 0 || self.status >= 400 || !self.error_code.is_empty()
    }
}

/// One request can state any number: sums stop at the largest that can be stored.
fn add_tokens(sum: &mut TokenCounts, more: &TokenCounts) {
    let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more).min(i64::MAX.unsigned_abs());
    add(&mut sum.input, more.input);
    add(&mut sum.output, more.output);
    add(&mut sum.cache_read, more.cache_read);
    add(&mut sum.cache_write, more.cache_write);
    add(&mut sum.reasoning, more.reasoning);
    add(&mut sum.audio_input, more.audio_input);
    add(&mut sum.audio_output, more.audio_output);
    add(&mut sum.image_input, more.image_input);
    add(&mut sum.image_output, more.image_output);
    sum.searches = sum.searches.saturating_add(more.searches);
    sum.images = sum.images.saturating_add(more.images);
    add(&mut sum.audio_millis, more.audio_millis);
}

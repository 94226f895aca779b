//! One stored try of one target.

use std::time::Duration;

use super::usage::RequestRow;
use crate::{
    base::{NanoUsd, TokenCounts},
    usage::Attempt,
};

/// One try of one target, as its request's row holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    /// The provider.
    pub provider: String,
    /// The model, as the provider names it.
    pub model: String,
    /// The target.
    pub target: String,
    /// Whose credential was sent.
    pub credential: String,
    /// Status of the provider's answer; 0 when none came.
    pub status: u16,
    /// How it ended, as the label `outcome` of `/metrics` has it.
    pub outcome: String,
    /// From its begin to its end.
    pub duration: Duration,
    /// What was billed for it.
    pub tokens: TokenCounts,
    /// What it cost; none when no price is known.
    pub cost: Option<NanoUsd>,
    /// Whether it failed and was billed by an estimate, because the provider may bill it.
    pub maybe_billed: bool,
}

impl From<&Attempt> for AttemptRow {
    fn from(attempt: &Attempt) -> Self {
        Self {
            provider: attempt.labels.provider.to_string(),
            model: attempt.labels.model.to_string(),
            target: attempt.labels.target.to_string(),
            credential: attempt.credential.as_str().to_owned(),
            status: attempt.status,
            outcome: attempt.outcome.to_owned(),
            duration: attempt.duration,
            tokens: attempt.tokens,
            cost: attempt.cost,
            maybe_billed: attempt.maybe_billed,
        }
    }
}

impl RequestRow {
    /// Every attempt, in order. One that succeeded alone stands in the row itself; its time is then that of the request
    /// without our share, and without the writing of an answer that is no stream.
    #[must_use]
    pub fn attempts(&self) -> Vec<AttemptRow> {
        match &self.tried {
            Some(tried) => tried.clone(),
            None if self.attempts == 0 => Vec::new(),
            None => vec![self.only_attempt()],
        }
    }

    fn only_attempt(&self) -> AttemptRow {
        let of = &self.dimension;
        AttemptRow {
            provider: of.provider.clone(),
            model: of.model.clone(),
            target: of.target.clone(),
            credential: of.credential.clone(),
            status: 200,
            outcome: "success".to_owned(),
            duration: if of.stream { self.duration.saturating_sub(self.overhead) } else { self.upstream_time },
            tokens: self.tokens,
            cost: self.cost,
            maybe_billed: false,
        }
    }
}

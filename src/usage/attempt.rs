//! One try of one target, as the log of its request shows it.

use std::{sync::Arc, time::Duration};

use super::record::Credential;
use crate::base::{Labels, NanoUsd, TokenCounts};

/// One try of one target.
///
/// Made only for a request that needed several, or whose one did not succeed: the one attempt of all others is its row.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What was tried: provider, model, target.
    pub labels: Arc<Labels>,
    /// Whose credential was sent.
    pub credential: Credential,
    /// Status of the provider's answer; 0 when none came.
    pub status: u16,
    /// How it ended, as the label `outcome` of `/metrics` has it.
    pub outcome: &'static str,
    /// From its begin to its end, the answer included.
    pub duration: Duration,
    /// What was billed for it.
    pub tokens: TokenCounts,
    /// What it cost; none when the model has no price.
    pub cost: Option<NanoUsd>,
    /// Whether it failed and was billed by an estimate, because the provider may bill it.
    pub maybe_billed: bool,
}

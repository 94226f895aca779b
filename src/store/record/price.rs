//! Prices of an organization, as they are stored.

use serde::{Deserialize, Serialize};

use crate::base::{Id, NanoUsd, UnixTime};

/// What the models of one name cost an organization. Amounts of tokens are USD per million, with at most 6 decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationPrice {
    /// `provider/name`; the name may end in `*`.
    pub model: String,
    /// Tokens of a prompt.
    pub input: NanoUsd,
    /// Tokens of an answer.
    pub output: NanoUsd,
    /// Tokens of a prompt read from the provider's cache; none is the price of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<NanoUsd>,
    /// Tokens of a prompt written to the cache for five minutes; none is the price of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_5m: Option<NanoUsd>,
    /// Tokens of a prompt written to the cache for an hour; none is the price of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<NanoUsd>,
    /// Tokens of a prompt that are pictures; none is the price of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_input: Option<NanoUsd>,
    /// Tokens of an answer that are pictures; none is the price of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_output: Option<NanoUsd>,
    /// What each request costs beside its tokens.
    pub per_request: NanoUsd,
    /// What each picture in an answer costs beside its tokens.
    #[serde(default)]
    pub per_image: NanoUsd,
    /// What each search of the provider costs.
    #[serde(default)]
    pub per_web_search: NanoUsd,
    /// What each minute of audio costs beside its tokens.
    #[serde(default)]
    pub per_audio_minute: NanoUsd,
}

/// All prices of one organization: changed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationPrices {
    /// The organization.
    pub organization: Id,
    /// The prices, in the order in which they were written.
    pub prices: Vec<OrganizationPrice>,
    /// Who wrote them last.
    pub changed_by: Id,
    /// When.
    pub changed_at: UnixTime,
    /// Rises by one with each change.
    pub revision: u64,
}

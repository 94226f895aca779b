//! Past usage that is priced again.

use serde::{Deserialize, Serialize};

use super::{text_enum::text_enum, usage::Span};
use crate::base::{Id, NanoUsd, TokenCounts, UnixTime};

text_enum! {
    /// How far a run is.
    RepriceState {
        /// Its changes are being stored; none was carried out.
        Planning = "planning",
        /// All of its changes are stored, some may be carried out.
        Applying = "applying",
        /// Everything is carried out.
        Done = "done",
    }
}

/// A run that prices past usage of a project again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reprice {
    /// `rpr_...`
    pub id: Id,
    /// The organization.
    pub organization: Id,
    /// The project.
    pub project: Id,
    /// Names the operation of its caller: it is carried out once.
    pub operation: String,
    /// Whose credential served the requests: `own` or `platform`.
    pub credential: String,
    /// How far it is.
    pub state: RepriceState,
    /// How many changes it is made of.
    pub changes: u64,
    /// How many of them are carried out.
    pub done: u64,
    /// Why.
    pub comment: String,
    /// What the caller was told, as a JSON object.
    pub report: String,
    /// Who asked for it: id of a user or token.
    pub made_by: Id,
    /// When.
    pub made_at: UnixTime,
}

/// One change of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepriceChange {
    /// To the sum of a bucket and dimension.
    Sum(SumCorrection),
    /// To one stored request.
    Row(RowCorrection),
    /// To a tag of an hour.
    Tag {
        /// When the hour begins, in seconds since 1970.
        bucket: u64,
        /// Name of the tag.
        name: Box<str>,
        /// Its value.
        value: Box<str>,
        /// What is added to its cost.
        cost: i64,
    },
}

/// What is added to a sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SumCorrection {
    /// Length of the bucket.
    pub span: Span,
    /// When it begins, in seconds since 1970.
    pub bucket: u64,
    /// Number of the dimension.
    pub dimension: i64,
    /// What is added to its cost, in nano-USD.
    pub cost: i64,
    /// How many of its requests have a price from now on that had none.
    pub priced: u64,
    /// How many requests it sums up.
    pub requests: u64,
}

/// What a stored request costs from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCorrection {
    /// Number of the row.
    pub request: u64,
    /// Its cost.
    pub cost: NanoUsd,
    /// Who stated the price.
    pub price_source: String,
    /// As of when.
    pub price_date: Option<String>,
}

/// The last correction of a stored request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrected {
    /// The run: `rpr_...`
    pub reprice: String,
    /// The cost since.
    pub cost: NanoUsd,
    /// Who stated the price.
    pub price_source: String,
    /// As of when.
    pub price_date: Option<String>,
}

/// What pricing needs of a stored request.
#[derive(Debug, Clone, PartialEq)]
pub struct PricedRow {
    /// Number of the row.
    pub id: u64,
    /// When the first byte of the request arrived.
    pub at: UnixTime,
    /// When its bucket of a minute begins, in seconds since 1970: the minute in which it ended.
    pub minute: u64,
    /// Number of the dimension.
    pub dimension: i64,
    /// Whether the client left before the end.
    pub cancelled: bool,
    /// Tokens of the answer.
    pub tokens: TokenCounts,
    /// What it costs by its last correction, else as it was written; none when no price is known.
    pub cost: Option<NanoUsd>,
    /// Tags of the client as a JSON object.
    pub tags: Option<String>,
}

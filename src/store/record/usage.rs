//! What roll-ups are counted under; rows of single requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{attempt::AttemptRow, decision::DetailsRow, reprice::Corrected};
use crate::{
    base::{NanoUsd, TokenCounts, UnixTime},
    usage::Tally,
};

/// Length of a bucket of a roll-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// Kept for a week.
    Minute,
    /// Kept for 90 days.
    Hour,
    /// Kept for ever.
    Day,
}

/// Minutes of a day of UTC at which days of zones begin that are not whole hours from UTC (India, Nepal, Newfoundland), in
/// winter and in summer. Hours are kept in parts there, so that such days are made of them.
pub const HOUR_CUTS: [u64; 13] = [150, 210, 570, 615, 675, 810, 870, 915, 1_050, 1_095, 1_110, 1_170, 1_230];

impl Span {
    /// Seconds of one bucket.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// When the bucket of a time begins, in seconds since 1970.
    #[must_use]
    pub fn bucket_of(self, seconds: u64) -> u64 {
        seconds - seconds % self.seconds()
    }

    /// When the roll-up begins that holds a time: its bucket, of an hour that is cut the part.
    #[must_use]
    pub fn part_of(self, seconds: u64) -> u64 {
        let begin = self.bucket_of(seconds);
        if self != Self::Hour {
            return begin;
        }
        let (day, minute) = (Self::Day.bucket_of(seconds), seconds % Self::Day.seconds() / 60);
        let cut = HOUR_CUTS.iter().rev().find(|cut| **cut <= minute);
        cut.map_or(begin, |cut| begin.max(day + cut * 60))
    }
}

/// What a roll-up is counted under. Empty texts stand for what a request did not get to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Dimension {
    /// The organization.
    pub organization: String,
    /// Id of the project.
    pub project: String,
    /// Name of the route.
    pub route: String,
    /// Id of the key.
    pub key: String,
    /// Id of the user who made the key.
    pub member: String,
    /// Name of the key's group.
    pub group: String,
    /// The provider.
    pub provider: String,
    /// The model, as the provider names it.
    pub model: String,
    /// The target.
    pub target: String,
    /// Name of the path.
    pub endpoint: String,
    /// `2xx`, `4xx`, ...; `none` when the client left before a status was sent.
    pub status: String,
    /// Code of the error; empty when there was none.
    pub error: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Whose credential served; empty when no provider was asked.
    pub credential: String,
}

/// A sum over the requests of one bucket and dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// When the bucket begins, in seconds since 1970.
    pub bucket: u64,
    /// Number of the dimension.
    pub dimension: i64,
    /// The sum.
    pub tally: Tally,
}

/// A sum over the requests with one tag in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagTally {
    /// How many requests.
    pub requests: u64,
    /// Those that failed or were refused.
    pub errors: u64,
    /// Prompt tokens.
    pub input: u64,
    /// Completion tokens.
    pub output: u64,
    /// What they cost.
    pub cost: NanoUsd,
    /// What was taken on top.
    pub fee: NanoUsd,
}

/// A tag of requests in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TagPlace {
    /// Id of the project.
    pub project: Box<str>,
    /// When the hour begins, in seconds since 1970.
    pub bucket: u64,
    /// Name of the tag.
    pub name: Box<str>,
    /// Its value.
    pub value: Box<str>,
}

/// One stored request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRow {
    /// Number of the row.
    pub id: u64,
    /// When the first byte of the request arrived.
    pub at: UnixTime,
    /// Id of the request.
    pub request_id: String,
    /// W3C trace id.
    pub trace_id: Option<[u8; 16]>,
    /// Generation of the snapshot that served.
    pub generation: u64,
    /// Version of the project's configuration.
    pub version: Option<u64>,
    /// Status that was sent; 0 for none.
    pub status: u16,
    /// Address of the client.
    pub client_ip: Option<String>,
    /// From the first byte of the request to the last of its answer.
    pub duration: Duration,
    /// From the first byte of the request to the first content.
    pub ttft: Option<Duration>,
    /// The gateway's own share.
    pub overhead: Duration,
    /// Time spent waiting for providers.
    pub upstream_time: Duration,
    /// How many attempts were made.
    pub attempts: u32,
    /// Each of them; none where this row tells the one that succeeded. Empty where nothing is known of them.
    pub tried: Option<Vec<AttemptRow>>,
    /// Tokens of the answer.
    pub tokens: TokenCounts,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes sent to the client.
    pub bytes_out: u64,
    /// What it cost; none when no price is known.
    pub cost: Option<NanoUsd>,
    /// What was taken on top.
    pub fee: NanoUsd,
    /// Who stated the price; empty when there was none.
    pub price_source: String,
    /// As of when.
    pub price_date: Option<String>,
    /// What it costs since it was priced again; none when it never was.
    pub corrected: Option<Corrected>,
    /// Whether the client left before the end.
    pub cancelled: bool,
    /// Whether the tokens were estimated.
    pub estimated: bool,
    /// Whether the provider's own figures could not be true.
    pub usage_suspect: bool,
    /// Whether a provider was asked and no price is known.
    pub unpriced: bool,
    /// Whether the platform's credential had to serve, because the own one was refused.
    pub fallback: bool,
    /// Tags of the client as a JSON object.
    pub tags: Option<String>,
    /// Metadata of the client as a JSON object.
    pub metadata: Option<String>,
    /// How it was decided on, and what else only a row tells.
    pub details: DetailsRow,
    /// What it is counted under.
    pub dimension: Dimension,
}

/// Which requests are listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestFilter {
    /// Of this project.
    pub project: String,
    /// Only of this key.
    pub key: Option<String>,
    /// Only of keys of this member.
    pub member: Option<String>,
    /// Only this route.
    pub route: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Only this model.
    pub model: Option<String>,
    /// Only this status.
    pub status: Option<u16>,
    /// Only this class of status, such as `5xx`.
    pub status_class: Option<String>,
    /// Only with this code of an error.
    pub error: Option<String>,
    /// Only what ended for this reason, one of the words of `Finish`.
    pub finish: Option<String>,
    /// Only with a tag of this name.
    pub tag_name: Option<String>,
    /// Only with this tag, as `name=value`.
    pub tag: Option<String>,
    /// Only with this text in the request's id; taken literally.
    pub text: Option<String>,
    /// Only from then on.
    pub since: Option<UnixTime>,
    /// Only before.
    pub until: Option<UnixTime>,
}

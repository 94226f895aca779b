//! Limits as they are stored.

use super::{place::PolicyPlace, text_enum::text_enum};
use crate::base::{Id, UnixTime};

text_enum! {
    /// What a limit counts.
    LimitKind {
        /// Money; its amount is nano-USD.
        Usd = "usd",
        /// What a project may draw of the credits of its organization; its amount is nano-USD.
        Credits = "credits",
        /// Requests.
        Requests = "requests",
        /// Tokens of requests.
        TokensInput = "tokens_input",
        /// Tokens of answers.
        TokensOutput = "tokens_output",
        /// Tokens of both.
        Tokens = "tokens",
        /// Audio that transcriptions hear; its amount is milliseconds, where it is shown seconds.
        Audio = "audio",
        /// Requests that are open now.
        Concurrent = "concurrent",
    }
}

text_enum! {
    /// How the window of a limit moves.
    LimitAlgorithm {
        /// Begins with the first request.
        FixedWindow = "fixed_window",
        /// Begins at multiples of its length.
        AlignedFixedWindow = "aligned_fixed_window",
        /// No interval of its length holds more.
        SlidingWindow = "sliding_window",
        /// Refills evenly.
        TokenBucket = "token_bucket",
        /// Hours, days, weeks and months of the calendar, in UTC.
        Calendar = "calendar",
        /// All time.
        Total = "total",
        /// What is open now.
        Concurrent = "concurrent",
    }
}

text_enum! {
    /// What a limit does when it is reached.
    LimitMode {
        /// It refuses.
        Enforce = "enforce",
        /// It counts what it would have refused.
        Shadow = "shadow",
    }
}

/// A limit of an organization, a project, a member or a key.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLimit {
    /// `lim_...`
    pub id: Id,
    /// The organization to which the place belongs.
    pub organization: Id,
    /// Where it stands.
    pub place: PolicyPlace,
    /// What it counts.
    pub kind: LimitKind,
    /// Most in one window, in the unit of the kind; 0 blocks everything.
    pub amount: u64,
    /// Length of a window, such as `1 minute`; empty for those without one.
    pub window: String,
    /// How the window moves.
    pub algorithm: LimitAlgorithm,
    /// What it does when it is reached.
    pub mode: LimitMode,
    /// Who made it: id of a user or token.
    pub created_by: Id,
    /// When.
    pub created_at: UnixTime,
    /// Rises by one with each change.
    pub revision: u64,
}

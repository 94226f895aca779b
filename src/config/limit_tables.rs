//! The keys of limits.

use super::table::{Field, Kind, Table};

/// Largest number of requests or tokens: what JSON numbers hold exactly.
pub(super) const COUNT_MAX: u64 = (1 << 53) - 1;

/// Most seconds of audio of one window: in milliseconds they are still what JSON numbers hold exactly.
const SECONDS_MAX: u64 = COUNT_MAX / 1_000;
const SECONDS: Kind = Kind::Int { min: 0, max: SECONDS_MAX };
const COUNT: Kind = Kind::Int { min: 0, max: COUNT_MAX };
const AT_LEAST_ONE: Kind = Kind::Int { min: 1, max: COUNT_MAX };
const ALGORITHMS: Kind = Kind::Choice(&["fixed_window", "aligned_fixed_window", "sliding_window", "token_bucket"]);
/// `user` is another word for `key`.
const SCOPES: Kind = Kind::Choice(&["route", "key", "group", "user"]);

const ALGORITHM: Field = Field::new(
    "algorithm",
    ALGORITHMS,
    "`fixed_window` begins with the first request, `aligned_fixed_window` at multiples of its length from 00:00 UTC; of \
     `sliding_window` no interval holds more than the maximum; `token_bucket` refills evenly. Default `fixed_window`.",
)
.default("fixed_window");
const WINDOW_SIZE: Field = Field::new(
    "window_size",
    Kind::Duration { min: "1 second", max: "31 days" },
    "Length of the window, 1 second to 31 days. Aligned: 1, 5, 10, 15, 30 minutes; 1, 2, 3, 4, 6, 8, 12 hours; 1 day. Default \
     1 minute.",
)
.default("1 minute");
const MAX_REQUESTS: Field =
    Field::new("max_requests", COUNT, "Most requests in one window; 0 blocks everything. For `rate_limiting`.");
const MAX_TOKEN: Field = {
    let mut field =
        Field::new("max_token", COUNT, "Most tokens in one window; 0 blocks everything. For `token_limiting`.");
    field.aliases = &["max_tokens"];
    field
};
const MAX_BUDGET: Field = Field::new(
    "max_budget",
    Kind::Money,
    "Most USD in one window, at most 6 decimals; 0 blocks everything. For `budget_limiting`.",
);
const MAX_DURATION: Field = Field::new(
    "max_duration_seconds",
    SECONDS,
    "Most seconds of audio in one window; 0 blocks all audio. For `duration_limiting`.",
);
const SCOPE: Field = Field::new(
    "scope",
    SCOPES,
    "Who shares one counter: `route`, each `key`, or each `group` of keys. Default `route`.",
)
.default("route");
const SHADOW: Field =
    Field::new("shadow", Kind::Bool, "Count and report what would be refused, and refuse nothing. Default false.")
        .default("false");

pub(super) static RATE: Table = Table {
    name: "rate_limiting",
    doc: "A limit of requests.",
    fields: &[
        ALGORITHM,
        WINDOW_SIZE,
        MAX_REQUESTS,
        MAX_TOKEN,
        MAX_BUDGET,
        MAX_DURATION,
        Field::new("burst", AT_LEAST_ONE, "`token_bucket` only: most requests at once. Default: `max_requests`."),
        SCOPE,
        SHADOW,
    ],
};

pub(super) static BUDGET: Table = Table {
    name: "budget_limiting",
    doc: "A limit of money. Every model of the route needs a price.",
    fields: &[
        ALGORITHM,
        WINDOW_SIZE,
        MAX_REQUESTS,
        MAX_TOKEN,
        MAX_BUDGET,
        MAX_DURATION,
        Field::new("burst", Kind::Money, "`token_bucket` only: most USD at once. Default: `max_budget`."),
        SCOPE,
        SHADOW,
    ],
};

pub(super) static DURATION: Table = Table {
    name: "duration_limiting",
    doc: "A limit of seconds of audio. What a transcription may hear is reserved by its file and settled to what the provider says.",
    fields: &[
        ALGORITHM,
        WINDOW_SIZE,
        MAX_REQUESTS,
        MAX_TOKEN,
        MAX_BUDGET,
        MAX_DURATION,
        Field::new(
            "burst",
            Kind::Int { min: 1, max: SECONDS_MAX },
            "`token_bucket` only: most seconds at once. Default: `max_duration_seconds`.",
        ),
        SCOPE,
        SHADOW,
    ],
};

pub(super) static TOKENS: Table = Table {
    name: "token_limiting",
    doc: "Limits of tokens; at least one of the two.",
    fields: &[
        Field::new("input", Kind::Table(&TOKEN_WINDOW), "Tokens of requests."),
        Field::new("output", Kind::Table(&TOKEN_WINDOW), "Tokens of answers."),
        SCOPE,
        SHADOW,
    ],
};

static TOKEN_WINDOW: Table = Table {
    name: "token_window",
    doc: "A limit of tokens in one direction.",
    fields: &[
        ALGORITHM,
        WINDOW_SIZE,
        MAX_REQUESTS,
        MAX_TOKEN,
        MAX_BUDGET,
        MAX_DURATION,
        Field::new("burst", AT_LEAST_ONE, "`token_bucket` only: most tokens at once. Default: `max_token`."),
    ],
};

pub(super) static CONCURRENCY: Table = Table {
    name: "concurrency_limiting",
    doc: "A limit of open requests, streams included, until their last byte.",
    fields: &[
        Field::new("max_concurrent", COUNT, "Most open requests; 0 blocks everything.").required(),
        SCOPE,
        Field::new("max_queue", Kind::Int { min: 0, max: 10_000 }, "Most requests that wait for a place. Default 0.")
            .default("0"),
        Field::new(
            "max_wait",
            Kind::Duration { min: "1 ms", max: "30 s" },
            "How long a request waits, up to 30 s; needs `max_queue`. Default 50 ms.",
        )
        .default("50 ms"),
        SHADOW,
    ],
};

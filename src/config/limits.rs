//! Limits of a route: what they say, and if it can be meant.

use std::time::Duration;

use super::fields::Fields;
use super::hint::listing;
use super::problem::{At, Code, Position, Problem, Problems};
use super::yaml::Content;

/// Lengths after which aligned windows may begin again, in seconds: parts of a day.
const ALIGNED_S: [u64; 13] = [60, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 28_800, 43_200, 86_400];
const ALIGNED: &str = "1, 5, 10, 15, 30 minutes; 1, 2, 3, 4, 6, 8, 12 hours; 1 day";

/// One limit of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLimit {
    /// What is counted.
    pub unit: LimitUnit,
    /// How the window moves. Meaningless for [`LimitUnit::Concurrent`].
    pub algorithm: LimitAlgorithm,
    /// Length of the window. Default 1 minute.
    pub window: Duration,
    /// Most in one window, with the place of the limit: requests, tokens, nano-USD or milliseconds of audio. 0 blocks everything.
    pub max: At<u64>,
    /// Most at once in a token bucket. Default: the same as `max`.
    pub burst: u64,
    /// Who shares one counter. Default: the route.
    pub scope: LimitScope,
    /// Whether it only reports what it would refuse. Default `false`.
    pub shadow: bool,
    /// Where requests may wait for their turn, of [`LimitUnit::Concurrent`] alone.
    pub queue: Option<LimitQueue>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitUnit {
    /// `rate_limiting`.
    Requests,
    /// `token_limiting.input`.
    InputTokens,
    /// `token_limiting.output`.
    OutputTokens,
    /// `budget_limiting`, in nano-USD.
    Money,
    /// `duration_limiting`, in milliseconds of audio.
    Audio,
    /// `concurrency_limiting`.
    Concurrent,
}

/// How a window moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitAlgorithm {
    /// `fixed_window`.
    #[default]
    Fixed,
    /// `aligned_fixed_window`.
    Aligned,
    /// `sliding_window`.
    Sliding,
    /// `token_bucket`.
    Bucket,
}

/// Who shares one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitScope {
    /// All that call the route.
    #[default]
    Route,
    /// Each key has its own.
    Key,
    /// Each group of keys has its own.
    Group,
}

/// Requests that wait for a place among the open ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitQueue {
    /// Most that wait, 1 to 10,000.
    pub max: u32,
    /// How long one waits, up to 30 s.
    pub wait: Duration,
}

/// What stands beside a window and holds for it.
#[derive(Clone, Copy)]
struct Beside {
    scope: LimitScope,
    shadow: bool,
}

/// Reads every limit of a route.
pub(super) fn read_limits(route: &Fields<'_>, problems: &mut Problems) -> Vec<RouteLimit> {
    let mut reader = Reader { problems, found: Vec::new() };
    for (key, unit) in [
        ("rate_limiting", LimitUnit::Requests),
        ("budget_limiting", LimitUnit::Money),
        ("duration_limiting", LimitUnit::Audio),
    ] {
        if let Some(fields) = written(route, key) {
            reader.window(&fields, unit, beside(&fields));
        }
    }
    if let Some(fields) = written(route, "token_limiting") {
        reader.tokens(&fields);
    }
    if let Some(fields) = written(route, "concurrency_limiting") {
        reader.concurrency(&fields);
    }
    reader.found
}

/// The map below a key; of anything else it is said already that it is none.
fn written<'n>(fields: &Fields<'n>, key: &str) -> Option<Fields<'n>> {
    let item = fields.item(key)?;
    matches!(item.node.content, Content::Map(_)).then(|| fields.table(key))
}

fn beside(fields: &Fields<'_>) -> Beside {
    let scope = match fields.choice("scope") {
        Some("key" | "user") => LimitScope::Key,
        Some("group") => LimitScope::Group,
        _ => LimitScope::Route,
    };
    Beside { scope, shadow: fields.boolean("shadow").unwrap_or(false) }
}

struct Reader<'p> {
    problems: &'p mut Problems,
    found: Vec<RouteLimit>,
}

impl Reader<'_> {
    fn refuse(&mut self, path: &str, at: Position, code: Code, message: impl Into<String>) {
        self.problems.push(Problem::error(path, at, code, message));
    }

    fn tokens(&mut self, fields: &Fields<'_>) {
        if !fields.has("input") && !fields.has("output") {
            self.refuse(&fields.path, fields.at, Code::MissingKey, "`token_limiting` needs `input` or `output`");
        }
        for (key, unit) in [("input", LimitUnit::InputTokens), ("output", LimitUnit::OutputTokens)] {
            if let Some(window) = written(fields, key) {
                self.window(&window, unit, beside(fields));
            }
        }
    }

    fn window(&mut self, fields: &Fields<'_>, unit: LimitUnit, beside: Beside) {
        let max = self.max(fields, unit);
        let algorithm = match fields.choice("algorithm") {
            Some("aligned_fixed_window") => LimitAlgorithm::Aligned,
            Some("sliding_window") => LimitAlgorithm::Sliding,
            Some("token_bucket") => LimitAlgorithm::Bucket,
            _ => LimitAlgorithm::Fixed,
        };
        let window = fields.duration("window_size");
        let is_part_of_day = |length: &Duration| length.subsec_nanos() == 0 && ALIGNED_S.contains(&length.as_secs());
        if algorithm == LimitAlgorithm::Aligned
            && window.as_ref().is_some_and(|length| !is_part_of_day(length))
            && let Some(item) = fields.item("window_size")
        {
            let message = format!("an aligned window has one of the lengths {ALIGNED}");
            self.refuse(&item.path, item.node.at, Code::BadValue, message);
        }
        let burst = self.burst(fields, unit, algorithm);
        if let (Some(max), Some(window)) = (max, window) {
            let burst = burst.unwrap_or(max.value);
            let Beside { scope, shadow } = beside;
            self.found.push(RouteLimit { unit, algorithm, window, max, burst, scope, shadow, queue: None });
        }
    }

    /// The one key that says how much, which must be the one that the limit needs.
    fn max(&mut self, fields: &Fields<'_>, unit: LimitUnit) -> Option<At<u64>> {
        const KEYS: [&str; 4] = ["max_requests", "max_token", "max_budget", "max_duration_seconds"];
        let needed = match unit {
            LimitUnit::Requests => "max_requests",
            LimitUnit::Money => "max_budget",
            LimitUnit::Audio => "max_duration_seconds",
            _ => "max_token",
        };
        let written: Vec<&str> = KEYS.into_iter().filter(|key| fields.has(key)).collect();
        match written[..] {
            [] => {
                let message = format!("this limit needs `{needed}`");
                self.refuse(&fields.path, fields.at, Code::MissingKey, message);
                None
            }
            [key] if key == needed => {
                let item = fields.item(key)?;
                let value = self.amount(fields, key, unit)?;
                Some(At { value, at: item.node.at, path: item.path.into() })
            }
            [key] => {
                let message = format!("this limiter needs `{needed}`");
                if let Some(item) = fields.item(key) {
                    self.refuse(&item.path, item.node.at, Code::Conflict, message);
                }
                None
            }
            _ => {
                let found = listing(written);
                let message = format!("exactly one `max_` key is accepted, here `{needed}`; found {found}");
                self.refuse(&fields.path, fields.at, Code::Conflict, message);
                None
            }
        }
    }

    fn amount(&self, fields: &Fields<'_>, key: &str, unit: LimitUnit) -> Option<u64> {
        match unit {
            LimitUnit::Money => fields.money(key).map(crate::base::NanoUsd::units),
            LimitUnit::Audio => fields.integer(key).map(|seconds: u64| seconds.saturating_mul(1_000)),
            _ => fields.integer(key),
        }
    }

    fn burst(&mut self, fields: &Fields<'_>, unit: LimitUnit, algorithm: LimitAlgorithm) -> Option<u64> {
        let item = fields.item("burst")?;
        if algorithm != LimitAlgorithm::Bucket {
            let message = "only `algorithm: token_bucket` has a burst";
            self.problems.push(Problem::warning(item.path, item.node.at, Code::NoEffect, message));
            return None;
        }
        let burst = self.amount(fields, "burst", unit)?;
        if burst == 0 {
            self.refuse(&item.path, item.node.at, Code::OutOfRange, "must be more than 0");
        }
        Some(burst)
    }

    fn concurrency(&mut self, fields: &Fields<'_>) {
        let queue_max: Option<u32> = fields.integer("max_queue");
        let wait = fields.duration("max_wait");
        if queue_max == Some(0)
            && let Some(item) = fields.item("max_wait")
        {
            self.refuse(&item.path, item.node.at, Code::Conflict, "nobody waits: `max_wait` needs `max_queue` above 0");
        }
        let (Some(max), Some(item)) = (fields.integer("max_concurrent"), fields.item("max_concurrent")) else {
            return;
        };
        let Beside { scope, shadow } = beside(fields);
        self.found.push(RouteLimit {
            unit: LimitUnit::Concurrent,
            algorithm: LimitAlgorithm::Fixed,
            window: Duration::ZERO,
            max: At { value: max, at: item.node.at, path: item.path.into() },
            burst: max,
            scope,
            shadow,
            queue: queue_max.filter(|max| *max > 0).zip(wait).map(|(max, wait)| LimitQueue { max, wait }),
        });
    }
}

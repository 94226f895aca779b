//! What is counted for one set of labels.
//!
//! A series has one block for each worker, allocated when that worker first uses it and written by that worker only. A scrape
//! sums the blocks. Recording takes no lock and no locked instruction.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base::{Labels, NanoUsd, TokenCounts};

use super::cell::Counter;
use super::histogram::{DOUBLING_BOUNDS, Doubling, Total};
use super::worker::WorkerBlock;

/// The paths we serve, as metric label values. [`ENDPOINTS`] has their names in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat = 0,
    /// `/v1/responses`.
    Responses = 1,
    /// `/v1/embeddings`.
    Embeddings = 2,
    /// `/v1/completions`.
    Completions = 3,
    /// `/v1/messages`.
    Messages = 4,
    /// `/v1/messages/count_tokens`.
    CountTokens = 5,
    /// `/v1/models` and below.
    Models = 6,
    /// Anything else, unknown paths included.
    Other = 7,
    /// `/v1/audio/transcriptions`.
    Transcriptions = 8,
}

/// Values of the label `endpoint`, indexed by [`Endpoint`].
pub const ENDPOINTS: [&str; 9] =
    ["chat", "responses", "embeddings", "completions", "messages", "count_tokens", "models", "other", "transcriptions"];

/// How one attempt at one target ended. [`OUTCOMES`] has the names in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The answer arrived whole.
    Success = 0,
    /// The provider refused the request itself: 400, 404, 413, 422.
    Rejected = 1,
    /// The provider refused our credential: 401, 403.
    Auth = 2,
    /// The provider answered 429.
    RateLimited = 3,
    /// The provider answered 5xx, with a redirect, or with 200 and an error.
    ServerError = 4,
    /// No connection: refused, unreachable, TLS failed, name unknown.
    Connect = 5,
    /// The connection broke before the answer's head.
    Reset = 6,
    /// The answer broke off after its head was sent on.
    Truncated = 7,
    /// A deadline passed.
    Timeout = 8,
    /// The answer is not valid HTTP, JSON or SSE, or too large.
    Invalid = 9,
    /// The client left.
    Cancelled = 10,
}

/// Values of the label `outcome`, indexed by [`Outcome`].
pub const OUTCOMES: [&str; 11] = [
    "success",
    "rejected",
    "auth",
    "rate_limited",
    "server_error",
    "connect",
    "reset",
    "truncated",
    "timeout",
    "invalid",
    "cancelled",
];

/// Values of the label `status_class`; the first is for requests that got no status.
pub(super) const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Values of the label `type` of tokens.
pub(super) const TOKEN_TYPES: [&str; 5] = ["input", "output", "cache_read", "cache_write", "reasoning"];
pub(super) const REQUEST_CELLS: usize = ENDPOINTS.len() * STATUS_CLASSES.len() * 2;

/// One finished request, as it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// The path that was asked.
    pub endpoint: Endpoint,
    /// Status sent to the client; 0 when the client left before one was sent.
    pub status: u16,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// From the first byte of the request to the last byte of the answer.
    pub duration: Duration,
    /// Our own share of it up to the first byte sent, without waiting for upstream.
    pub overhead: Duration,
    /// From the first byte of the request to the first content; none when there was no content.
    pub ttft: Option<Duration>,
    /// Tokens of the answer; all zero when there are none.
    pub tokens: TokenCounts,
    /// What the answer cost; zero when it has no price.
    pub cost: NanoUsd,
}

/// Everything counted under one organization, project, route, provider and model.
pub struct Series {
    labels: Arc<Labels>,
    blocks: Box<[OnceLock<Box<Block>>]>,
    workers: Arc<[Arc<WorkerBlock>]>,
}

/// The counts of one worker. Aligned so that two workers never write the same cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Block {
    requests: [Counter; REQUEST_CELLS],
    tokens: [Counter; TOKEN_TYPES.len()],
    attempts: [Counter; OUTCOMES.len()],
    audio_millis: Counter,
    cost_nano: Counter,
    duration: Doubling,
    ttft: Doubling,
}

/// Sums over the workers, read once for a scrape.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) requests: [u64; REQUEST_CELLS],
    pub(super) tokens: [u64; TOKEN_TYPES.len()],
    pub(super) attempts: [u64; OUTCOMES.len()],
    pub(super) audio_millis: u64,
    pub(super) cost_nano: u64,
    pub(super) duration: Total<{ DOUBLING_BOUNDS + 1 }>,
    pub(super) ttft: Total<{ DOUBLING_BOUNDS + 1 }>,
}

impl Series {
    pub(super) fn new(labels: Arc<Labels>, workers: Arc<[Arc<WorkerBlock>]>) -> Self {
        Self { labels, blocks: workers.iter().map(|_| OnceLock::new()).collect(), workers }
    }

    /// Returns the labels the series was made with. `target` is not a metric label: it is that of whoever asked first.
    #[must_use]
    pub fn labels(&self) -> &Arc<Labels> {
        &self.labels
    }

    /// Counts one finished request. `worker` is the calling worker's own index; another index would lose counts, and one
    /// beyond the last worker counts nothing.
    pub fn record(&self, worker: usize, seen: &Observation) {
        let Some(block) = self.block(worker) else {
            return;
        };
        if let Some(cell) = block.requests.get(request_cell(seen)) {
            cell.inc();
        }
        block.duration.record(seen.duration);
        if let Some(ttft) = seen.ttft {
            block.ttft.record(ttft);
        }
        if seen.tokens != TokenCounts::default() {
            for (cell, count) in block.tokens.iter().zip(token_counts(seen.tokens)) {
                cell.add(count);
            }
            if seen.tokens.audio_millis > 0 {
                block.audio_millis.add(seen.tokens.audio_millis);
            }
        }
        if seen.cost != NanoUsd::ZERO {
            block.cost_nano.add(seen.cost.units());
        }
        if let Some(own) = self.workers.get(worker) {
            own.record_overhead(seen.stream, seen.overhead);
        }
    }

    /// Counts one attempt at the target of this series. The same rule for `worker` as in [`Series::record`].
    pub fn record_attempt(&self, worker: usize, outcome: Outcome) {
        let cell = self.block(worker).and_then(|block| block.attempts.get(usize::from(outcome as u8)));
        if let Some(cell) = cell {
            cell.inc();
        }
    }

    /// How many attempts ended in each way, indexed by [`Outcome`], over all workers.
    #[must_use]
    pub fn attempts(&self) -> [u64; OUTCOMES.len()] {
        let mut sums = [0; OUTCOMES.len()];
        for block in self.blocks.iter().filter_map(OnceLock::get) {
            add_all(&mut sums, &block.attempts);
        }
        sums
    }

    /// Sums all workers; none when no worker has used the series yet.
    pub(super) fn sums(&self) -> Option<Box<Sums>> {
        let mut sums: Option<Box<Sums>> = None;
        for block in self.blocks.iter().filter_map(OnceLock::get) {
            let sums = sums.get_or_insert_default();
            add_all(&mut sums.requests, &block.requests);
            add_all(&mut sums.tokens, &block.tokens);
            add_all(&mut sums.attempts, &block.attempts);
            sums.audio_millis = sums.audio_millis.wrapping_add(block.audio_millis.get());
            sums.cost_nano = sums.cost_nano.wrapping_add(block.cost_nano.get());
            block.duration.add_to(&mut sums.duration);
            block.ttft.add_to(&mut sums.ttft);
        }
        sums
    }

    #[inline]
    fn block(&self, worker: usize) -> Option<&Block> {
        let slot = self.blocks.get(worker);
        debug_assert!(slot.is_some(), "worker {worker} does not exist");
        slot.map(|slot| &**slot.get_or_init(Box::default))
    }
}

impl Default for Block {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| Counter::default()),
            tokens: Default::default(),
            attempts: Default::default(),
            audio_millis: Counter::default(),
            cost_nano: Counter::default(),
            duration: Doubling::default(),
            ttft: Doubling::default(),
        }
    }
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            requests: [0; REQUEST_CELLS],
            tokens: [0; TOKEN_TYPES.len()],
            attempts: [0; OUTCOMES.len()],
            audio_millis: 0,
            cost_nano: 0,
            duration: Total::default(),
            ttft: Total::default(),
        }
    }
}

/// Index of a request in its block: endpoint, then status class, then stream.
#[inline]
fn request_cell(seen: &Observation) -> usize {
    let class = usize::from(seen.status / 100).min(STATUS_CLASSES.len() - 1);
    let endpoint = usize::from(seen.endpoint as u8);
    (endpoint * STATUS_CLASSES.len() + class) * 2 + usize::from(seen.stream)
}

/// In the order of [`TOKEN_TYPES`].
#[inline]
fn token_counts(tokens: TokenCounts) -> [u64; TOKEN_TYPES.len()] {
    [tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, tokens.reasoning]
}

fn add_all(sums: &mut [u64], cells: &[Counter]) {
    for (sum, cell) in sums.iter_mut().zip(cells) {
        *sum = sum.wrapping_add(cell.get());
    }
}

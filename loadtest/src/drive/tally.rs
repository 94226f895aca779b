//! What a run counted: answers, faults by kind, latencies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longest time a histogram tells apart, in nanoseconds: one hour.
const TIME_NS_MAX: u64 = 3_600_000_000_000;
/// Most bytes kept of the first answer with an error.
const SAMPLE_BYTES_MAX: usize = 300;

/// Why a request does not count as answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// No connection could be made.
    Connect,
    /// The connection broke before the first byte of the answer.
    Reset,
    /// The answer ended early.
    Truncated,
    /// The status is not 200.
    Status,
    /// The answer is not HTTP/1.1, or runs past its end.
    Malformed,
    /// The answer is whole and not the right one: expected text, event count or `[DONE]` is missing.
    Mismatch,
    /// The run was over before the answer was.
    Unfinished,
}

impl Fault {
    /// Name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Status => "status",
            Self::Malformed => "malformed",
            Self::Mismatch => "mismatch",
            Self::Unfinished => "unfinished",
        }
    }
}

/// Counters and histograms of one run.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Requests answered whole and right.
    pub(crate) ok: u64,
    /// Requests that failed, by kind.
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Statuses other than 200, by code.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Start of the first answer that failed with a status or a mismatch.
    pub(crate) sample: Option<String>,
    /// Events before `[DONE]`, of all streams.
    pub(crate) events: u64,
    /// Bytes of all bodies.
    pub(crate) body_bytes: u64,
    /// Connections made again after the first.
    pub(crate) reconnects: u64,
    /// Streams that are open in a `--hold` run.
    pub(crate) held: u64,
    /// Time to the whole answer, in nanoseconds, of answers that count.
    pub(crate) latency: Histogram<u64>,
    /// Time to the first event of a stream, in nanoseconds.
    pub(crate) first_event: Histogram<u64>,
    /// Time between two events as they arrive, in nanoseconds.
    pub(crate) gap: Histogram<u64>,
    /// How late requests of an open loop left, in nanoseconds.
    pub(crate) lag: Histogram<u64>,
    /// When the last answer was complete.
    pub(crate) last_answer: Option<Instant>,
}

impl Tally {
    /// Makes an empty tally.
    ///
    /// # Errors
    /// Never in practice: the bounds of the histograms are constants.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, TIME_NS_MAX, 3);
        Ok(Self {
            ok: 0,
            faults: BTreeMap::new(),
            statuses: BTreeMap::new(),
            sample: None,
            events: 0,
            body_bytes: 0,
            reconnects: 0,
            held: 0,
            latency: histogram()?,
            first_event: histogram()?,
            gap: histogram()?,
            lag: histogram()?,
            last_answer: None,
        })
    }

    /// Counts a failed request.
    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Counts a status other than 200.
    pub(crate) fn status(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
    }

    /// Keeps the start of the first bad answer.
    pub(crate) fn keep_sample(&mut self, body: &[u8]) {
        if self.sample.is_none() {
            let start = body.get(..SAMPLE_BYTES_MAX).unwrap_or(body);
            self.sample = Some(String::from_utf8_lossy(start).into_owned());
        }
    }

    /// All failed requests.
    pub(crate) fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// Records a duration; longer than an hour counts as an hour.
pub(crate) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(TIME_NS_MAX));
}

//! What one worker counts about itself.
//!
//! Every field has one writer, the worker. Other workers and the admin thread only read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::base::Instant;

use super::cell::{Counter, Gauge};
use super::histogram::{FINE_BOUNDS, Fine, Total};
use super::refusals::LimitRefusals;

/// Lateness of the worker's own timer from which on it counts as a stall (fault F-32).
pub const STALL_MIN: Duration = Duration::from_millis(200);
/// Age of the last heartbeat from which on a worker counts as dead (fault F-32).
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(10);
/// How long a longest stall is shown: between one and two of these.
const STALL_WINDOW: Duration = Duration::from_secs(60);

/// Why a client's connection broke the protocol. [`PROTOCOL_ERRORS`] has the names in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ProtocolError {
    /// The request line or a header does not parse.
    Head = 0,
    /// The head is over its limit.
    HeadTooLarge = 1,
    /// Framing that could be read in two ways: two lengths, length and chunked.
    Framing = 2,
    /// A chunk or the end of the body does not parse.
    Body = 3,
    /// The body is over its limit.
    BodyTooLarge = 4,
    /// Head or body came too slowly.
    Timeout = 5,
    /// HTTP version or upgrade that is not served.
    Version = 6,
    /// The connection ended inside a request.
    Truncated = 7,
}

/// Values of the label `kind`, indexed by [`ProtocolError`].
pub const PROTOCOL_ERRORS: [&str; 8] =
    ["head", "head_too_large", "framing", "body", "body_too_large", "timeout", "version", "truncated"];

/// Counters and gauges of one worker; only that worker writes them.
///
/// Aligned so that two workers never write the same cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerBlock {
    /// Client connections open now.
    pub connections: Gauge,
    /// Requests between their first byte and the end of their settlement.
    pub inflight_requests: Gauge,
    /// Streams being relayed now.
    pub open_streams: Gauge,
    /// Streams ended because their configuration was replaced too often.
    pub outdated_streams: Counter,
    /// Connections taken from this worker's listener.
    pub accepted: Counter,
    /// Accepted connections that were given to another worker.
    pub handed_over: Counter,
    /// Connections closed at once because a limit was reached.
    pub refused_connections: Counter,
    /// Panics caught in connection tasks.
    pub panics: Counter,
    /// Upstream connections opened.
    pub upstream_opened: Counter,
    /// Attempts that went out on a pooled upstream connection.
    pub upstream_reused: Counter,
    /// Upstream connections that broke while they were in use or pooled.
    pub upstream_broken: Counter,
    /// Usage records lost because the queue was full.
    pub dropped_rows: Counter,
    /// Generation of the snapshot the worker holds; 0 before the first.
    pub generation: Gauge,
    /// CPU or busy time of the worker since its start, in microseconds.
    pub busy_us: Counter,
    /// Requests that limits refused.
    pub limit_refusals: LimitRefusals,
    protocol_errors: [Counter; PROTOCOL_ERRORS.len()],
    overhead: [Fine; 2],
    stalls: Counter,
    stall: StallWindow,
    /// Milliseconds from `started` to the last heartbeat.
    heartbeat_ms: AtomicU64,
    started: Instant,
}

/// The longest lateness of this window and of the one before.
#[derive(Debug, Default)]
struct StallWindow {
    number: AtomicU64,
    now_us: AtomicU64,
    before_us: AtomicU64,
}

impl WorkerBlock {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            connections: Gauge::default(),
            inflight_requests: Gauge::default(),
            open_streams: Gauge::default(),
            outdated_streams: Counter::default(),
            accepted: Counter::default(),
            handed_over: Counter::default(),
            refused_connections: Counter::default(),
            panics: Counter::default(),
            upstream_opened: Counter::default(),
            upstream_reused: Counter::default(),
            upstream_broken: Counter::default(),
            dropped_rows: Counter::default(),
            generation: Gauge::default(),
            busy_us: Counter::default(),
            limit_refusals: LimitRefusals::default(),
            protocol_errors: Default::default(),
            overhead: Default::default(),
            stalls: Counter::default(),
            stall: StallWindow::default(),
            heartbeat_ms: AtomicU64::new(0),
            started,
        }
    }

    /// Counts a connection that broke the protocol.
    pub fn protocol_error(&self, kind: ProtocolError) {
        if let Some(cell) = self.protocol_errors.get(usize::from(kind as u8)) {
            cell.inc();
        }
    }

    /// Says that the worker's loop turns. Call it at least every second; after 10 s without it `/livez` fails.
    ///
    /// `late_by` is how long after its due time the worker's timer woke: from 200 ms on it counts as a stall.
    pub fn beat(&self, now: Instant, late_by: Duration) {
        let age = now.saturating_duration_since(self.started);
        self.heartbeat_ms.store(millis(age), Relaxed);
        if late_by >= STALL_MIN {
            self.stalls.inc();
        }
        self.stall.record(window_number(age), micros(late_by));
    }

    /// When the last heartbeat was, in time since the start to the millisecond; zero before the first.
    #[must_use]
    pub fn last_heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.load(Relaxed))
    }

    /// Time since the last heartbeat, or since the start when there was none.
    #[must_use]
    pub fn heartbeat_age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started).saturating_sub(self.last_heartbeat())
    }

    /// Whether the last heartbeat is younger than [`HEARTBEAT_MAX`].
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.heartbeat_age(now) < HEARTBEAT_MAX
    }

    #[inline]
    pub(super) fn record_overhead(&self, stream: bool, overhead: Duration) {
        if let Some(histogram) = self.overhead.get(usize::from(stream)) {
            histogram.record(overhead);
        }
    }

    pub(super) fn add_overhead_to(&self, stream: usize, total: &mut Total<{ FINE_BOUNDS + 1 }>) {
        if let Some(histogram) = self.overhead.get(stream) {
            histogram.add_to(total);
        }
    }

    pub(super) fn protocol_errors(&self) -> impl Iterator<Item = u64> + '_ {
        self.protocol_errors.iter().map(Counter::get)
    }

    pub(super) fn stalls(&self) -> u64 {
        self.stalls.get()
    }

    /// Longest lateness of the last one to two minutes, in microseconds.
    pub(super) fn stall_us_max(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.started);
        self.stall.longest_us(window_number(age))
    }
}

impl StallWindow {
    fn record(&self, number: u64, late_us: u64) {
        let last = self.number.load(Relaxed);
        if number != last {
            let carried = if number == last + 1 { self.now_us.load(Relaxed) } else { 0 };
            self.before_us.store(carried, Relaxed);
            self.now_us.store(0, Relaxed);
            self.number.store(number, Relaxed);
        }
        if late_us > self.now_us.load(Relaxed) {
            self.now_us.store(late_us, Relaxed);
        }
    }

    fn longest_us(&self, number: u64) -> u64 {
        // A reader may see a turn of the window half done; it is then off by one window, which a gauge can bear.
        let now = self.now_us.load(Relaxed);
        match number.saturating_sub(self.number.load(Relaxed)) {
            0 => now.max(self.before_us.load(Relaxed)),
            1 => now,
            _ => 0,
        }
    }
}

fn window_number(age: Duration) -> u64 {
    age.as_secs() / STALL_WINDOW.as_secs()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeat_age_counts_from_the_last_beat() {
        let start = crate::base::now();
        let block = WorkerBlock::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(block.heartbeat_age(at(9)), Duration::from_secs(9));
        block.beat(at(9), Duration::ZERO);
        assert_eq!(block.heartbeat_age(at(9)), Duration::ZERO);
        assert_eq!(block.heartbeat_age(at(20)), Duration::from_secs(11));
        assert!(block.is_alive(at(18)));
        assert!(!block.is_alive(at(19)));
    }

    #[test]
    fn stall_counts_from_200_ms_and_is_forgotten_after_two_windows() {
        let start = crate::base::now();
        let block = WorkerBlock::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        block.beat(at(1), Duration::from_millis(199));
        block.beat(at(2), Duration::from_millis(300));
        block.beat(at(3), Duration::from_millis(5));
        assert_eq!(block.stalls(), 1);
        for (name, seconds, want) in
            [("same window", 10, 300_000), ("next window without a beat", 70, 300_000), ("much later", 200, 0)]
        {
            assert_eq!(block.stall_us_max(at(seconds)), want, "{name}");
        }
        block.beat(at(65), Duration::from_millis(2));
        assert_eq!(block.stall_us_max(at(66)), 300_000, "carried one window");
        block.beat(at(125), Duration::from_millis(1));
        assert_eq!(block.stall_us_max(at(126)), 2_000, "then forgotten");
    }
}

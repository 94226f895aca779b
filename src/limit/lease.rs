//! How much of a limit may be spent before the disk knows.
//!
//! A lease says that the ledger holds a window's account for spent up to a ceiling. Nothing is admitted above it, so a crash
//! forgives nothing: what was leased and not posted counts as spent. Leases are asked for early, so that requests do not
//! wait, and become smaller as a limit comes near, so that little is lost.

use std::time::Duration;

use super::atomic::{Count, Pair};
use super::window::nanos;

/// A lease should last this long at the rate of the last ones.
const LASTS: Duration = Duration::from_secs(10);
/// The first lease of a window covers this many requests like the first.
const FIRST_REQUESTS: u64 = 16;
/// At most this part of what is left of a limit is leased at once.
const SHARE: u64 = 8;

/// So long after the last request for a lease what is left of it goes back: it would count as spent after a crash.
const IDLE: Duration = Duration::from_secs(300);

/// The lease of one meter.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// Window, and up to what it may be used.
    ceiling: Pair,
    /// From here on a larger lease is asked for.
    low: Count,
    /// Largest use that was wanted since the last request for a lease.
    wanted: Count,
    /// Maximum of the limit that wanted it.
    max: Count,
    /// 1 while the meter waits in the bell.
    asked: Count,
    /// When a lease was last asked for, and what was used then. The ledger's keeper alone writes it.
    last: Pair,
    /// Window, and up to where a lease was asked for in it. The ledger's keeper alone writes it.
    asked_for: Pair,
    /// Whether the limit has room again with time although its account never ends.
    rolls: bool,
}

/// A meter asks for a higher ceiling, or offers a lower one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The account, by the text of its meter.
    pub account: std::sync::Arc<str>,
    /// The window: its beginning in nanoseconds since 1970.
    pub period: u64,
    /// What is posted and pending, in the unit of the account.
    pub used: u64,
    /// The ceiling that holds.
    pub ceiling: u64,
    /// The ceiling that is asked for. Never above the maximum of the limit.
    pub wanted_ceiling: u64,
}

impl Lease {
    /// The lease of an account without an end: what is leased of it is never all there will be.
    pub(super) fn rolling() -> Self {
        Self { rolls: true, ..Self::default() }
    }

    /// Up to what a window may be used.
    pub(super) fn ceiling(&self, window: u64) -> u64 {
        let (leased, ceiling) = self.ceiling.load();
        if leased == window { ceiling } else { 0 }
    }

    /// Notes that a use was wanted that is not leased.
    pub(super) fn want(&self, use_wanted: u64, max: u64) {
        self.max.store(max);
        self.wanted.raise_to(use_wanted);
    }

    /// Whether so little is left behind a take of `amount` that the next lease should be asked for; notes what is wanted.
    pub(super) fn is_low(&self, used: u64, amount: u64, max: u64) -> bool {
        if used <= self.low.load() || used >= max {
            return false;
        }
        self.want(used.saturating_add(amount).min(max), max);
        true
    }

    /// Whether the caller is the first to ask since the last answer.
    pub(super) fn ring(&self) -> bool {
        self.asked.replace(1) == 0
    }

    /// The ceiling to ask for when so much is used in a window at a time of the steady clock; none if nothing is wanted.
    pub(super) fn next_ceiling(&self, window: u64, used: u64, now: u64) -> Option<u64> {
        self.asked.store(0);
        let wanted = self.wanted.replace(0);
        let max = self.max.load();
        if wanted == 0 {
            return None;
        }
        let need = wanted.saturating_sub(used);
        let (then, used_then) = self.last.load();
        let elapsed = now.saturating_sub(then);
        let spent = used.saturating_sub(used_then);
        let by_rate = if then <= window || elapsed == 0 || spent == 0 {
            need.saturating_mul(FIRST_REQUESTS)
        } else {
            let lasting = u128::from(spent) * u128::from(nanos(LASTS)) / u128::from(elapsed);
            u64::try_from(lasting).unwrap_or(u64::MAX)
        };
        self.last.update(|_| Some((now, used)));
        let chunk = by_rate.min(max.saturating_sub(used) / SHARE).max(need);
        let mut next = used.saturating_add(chunk).min(max);
        let (asked_in, asked_for) = self.asked_for.load();
        if asked_in == window {
            // Not answered yet, perhaps: of two leases in one commit the later one is on disk, and the larger one is spent.
            next = next.max(asked_for);
        }
        if next <= self.ceiling(window) {
            return None;
        }
        self.asked_for.update(|_| Some((window, next)));
        Some(next)
    }

    /// A lease is on disk: use up to its ceiling is admitted from now on. Never lowers one of the same window.
    pub(super) fn grant(&self, window: u64, ceiling: u64, used: u64) {
        let raised = self.ceiling.update(|(leased, old)| {
            (window > leased || window == leased && ceiling > old).then_some((window, ceiling))
        });
        if raised.is_some() {
            let left = ceiling.saturating_sub(used);
            // Nothing more can be asked for once the whole limit is leased.
            let is_all = !self.rolls && ceiling >= self.max.load();
            self.low.store(if is_all { u64::MAX } else { ceiling - left / 2 });
        }
    }

    /// Whether nobody has asked for more for so long that the rest may go back, at a time of the steady clock.
    pub(super) fn is_idle(&self, now: u64) -> bool {
        now.saturating_sub(self.last.load().0) > nanos(IDLE)
    }

    /// Lowers the ceiling of a window to what is used, before the disk is told; returns the ceiling that may be told.
    ///
    /// A take looks at the ceiling again after it has counted: either it sees the lower one and takes nothing, or this
    /// sees its amount.
    pub(super) fn shrink(&self, window: u64, used: impl Fn() -> u64) -> Option<(u64, u64)> {
        let before = used();
        let (leased, ceiling) = self.ceiling.load();
        if leased != window || ceiling <= before || self.ceiling.swap((leased, ceiling), (leased, before)).is_err() {
            return None;
        }
        let lowered = before.max(used());
        self.low.store(lowered);
        self.asked_for.update(|_| Some((window, lowered)));
        Some((ceiling, lowered))
    }
}

//! How many requests one caller may send a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::error::ApiError;
use crate::base::Instant;

/// Callers that are remembered at most; then those that have been idle longest enough are forgotten.
const CALLERS_MAX: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// Requests of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Reads a minute. Default: 100.
    pub reads_per_minute: u32,
    /// Changes a minute. Default: 30.
    pub writes_per_minute: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { reads_per_minute: 100, writes_per_minute: 30 }
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// It reads.
    Read,
    /// It changes something.
    Write,
}

/// What each caller has used: a bucket that holds a minute's worth and fills evenly.
pub(super) struct Rates {
    limits: RateLimits,
    /// When the bucket of a caller will be full again.
    full_at: Mutex<HashMap<(String, Work), Instant>>,
}

impl Rates {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self { limits, full_at: Mutex::default() }
    }

    /// Takes one request out of a caller's bucket.
    pub(super) fn charge(&self, caller: &str, work: Work, now: Instant) -> Result<(), ApiError> {
        let (limit, what) = match work {
            Work::Read => (self.limits.reads_per_minute, "reads"),
            Work::Write => (self.limits.writes_per_minute, "changes"),
        };
        let refused = |wait: Duration| {
            Err(ApiError::rate_limited(&format!("more than {limit} {what} in a minute; wait"), wait.as_secs() + 1))
        };
        let Some(share) = MINUTE.checked_div(limit) else {
            return refused(MINUTE);
        };
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= CALLERS_MAX {
            full_at.retain(|_, full_at| *full_at > now);
        }
        let slot = full_at.entry((caller.to_owned(), work)).or_insert(now);
        let would_be = (*slot).max(now) + share;
        let over = would_be.saturating_duration_since(now + MINUTE);
        if over > Duration::ZERO {
            return refused(over);
        }
        *slot = would_be;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::now;

    #[test]
    fn minute_holds_its_limit_and_fills_evenly() {
        let rates = Rates::new(RateLimits { reads_per_minute: 60, writes_per_minute: 3 });
        let start = now();
        let admitted = |caller: &str, work, at| rates.charge(caller, work, at).is_ok();
        assert_eq!((0..100).filter(|_| admitted("a", Work::Read, start)).count(), 60);
        assert_eq!((0..100).filter(|_| admitted("a", Work::Write, start)).count(), 3, "counted apart");
        assert_eq!((0..100).filter(|_| admitted("b", Work::Read, start)).count(), 60, "callers counted apart");
        let later = start + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| admitted("a", Work::Read, later)).count(), 10);
        assert!(!admitted("a", Work::Write, later));
        assert!(admitted("a", Work::Write, start + Duration::from_secs(20)));
    }
}

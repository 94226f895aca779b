//! Where unit tests make a request panic.
//!
//! Outside unit tests a point is an empty function: no build of the program contains it, and nothing can switch it on.

use super::exchange::Exchange;

/// Goes on, in every build but that of the unit tests.
#[cfg(not(test))]
#[inline(always)]
pub(super) const fn point(_: &Exchange<'_>, _: &str) {}

/// Panics if the request's own id asks for it: `panic-at-` and the name of the stage.
#[cfg(test)]
pub(super) fn point(exchange: &Exchange<'_>, stage: &str) {
    let id = std::str::from_utf8(exchange.request_id.as_bytes()).unwrap_or_default();
    assert_ne!(id.strip_prefix("panic-at-"), Some(stage), "a test asked for this");
}

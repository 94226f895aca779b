//! Times in parameters and bodies.

use crate::admin::rest::ApiError;
use crate::base::UnixTime;
use crate::config::parse_time;

/// Reads a time that may be absent.
///
/// # Errors
/// A field problem.
pub(super) fn optional_time(path: &str, text: Option<&str>) -> Result<Option<UnixTime>, ApiError> {
    text.map(|text| time(path, text)).transpose()
}

/// Reads a time.
///
/// # Errors
/// A field problem.
pub(super) fn time(path: &str, text: &str) -> Result<UnixTime, ApiError> {
    parse_time(text).ok_or_else(|| ApiError::field(path, "expected a time as RFC 3339 has it"))
}

//! The few fields of a provider's head that outlive it.

use smallvec::SmallVec;

use crate::http::{Part, ResponseHead};

/// Longest value that is kept.
const VALUE_BYTES_MAX: usize = 64;
/// A provider's wish to wait longer is not passed on in full: SDKs give up above two minutes.
const RETRY_AFTER_MAX_S: u64 = 60;

/// What is kept of a provider's head.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// `openai-processing-ms`
    pub processing_ms: SmallVec<[u8; 16]>,
    /// `openai-version`
    pub version: SmallVec<[u8; 16]>,
    /// `retry-after` in seconds, at most 60.
    pub retry_after: Option<u64>,
}

impl Passed {
    /// Keeps the fields of a head.
    #[must_use]
    pub(super) fn of(bytes: &[u8], head: &ResponseHead) -> Self {
        let value = |range: Option<Part>| {
            let value = range.map(|part| part.of(bytes)).unwrap_or_default();
            let plain = value.len() <= VALUE_BYTES_MAX && value.iter().all(u8::is_ascii_graphic);
            SmallVec::from_slice(if plain { value } else { b"" })
        };
        Self {
            processing_ms: value(head.processing_ms),
            version: value(head.version),
            retry_after: head.retry_after.map(|part| part.of(bytes)).and_then(parse_seconds),
        }
    }
}

/// Reads whole or decimal seconds, rounded up and capped. A date or a negative number says nothing that we could trust.
fn parse_seconds(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let started = fraction.bytes().any(|b| b != b'0');
    Some(whole.saturating_add(u64::from(started)).min(RETRY_AFTER_MAX_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_and_capped() {
        for (text, want) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("1.2", Some(2)),
            ("1000000000", Some(60)),
            ("99999999999999999999999", Some(60)),
            ("-1", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("", None),
        ] {
            assert_eq!(parse_seconds(text.as_bytes()), want, "{text}");
        }
    }
}

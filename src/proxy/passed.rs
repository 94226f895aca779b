//! The few fields of a provider's head that outlive it.

use smallvec::SmallVec;

use crate::{
    base::{UnixTime, unix_time},
    http::{Part, ResponseHead},
};

use super::heard::passable_type;

/// Longest value that is kept.
const VALUE_BYTES_MAX: usize = 64;
/// A provider's wish to wait longer is not passed on in full: SDKs give up above two minutes.
const PAUSE_MAX_MS: u64 = 60_000;

/// What is kept of a provider's head.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// `openai-processing-ms`
    pub processing_ms: SmallVec<[u8; 16]>,
    /// `openai-version`
    pub version: SmallVec<[u8; 16]>,
    /// How long the provider wants us to wait, in milliseconds, at most 60,000: `retry-after-ms`, else `retry-after`.
    pub pause_ms: Option<u64>,
    /// `content-type` of an answer that may be something else than JSON; none where it is no type, and of all other answers.
    pub content_type: Option<Box<str>>,
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
        let text = |range: Option<Part>| std::str::from_utf8(range?.of(bytes)).ok();
        Self {
            processing_ms: value(head.processing_ms),
            version: value(head.version),
            pause_ms: pause_ms(text(head.retry_after_ms), text(head.retry_after), unix_time),
            content_type: None,
        }
    }
}

impl Passed {
    /// Keeps the type of the answer too.
    #[must_use]
    pub(super) fn with_type(bytes: &[u8], head: &ResponseHead) -> Self {
        // Looked for here, so that no other answer pays for it; the parser has accepted every line.
        let mut fields = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            name.eq_ignore_ascii_case(b"content-type").then_some(value.get(1..)?.trim_ascii())
        });
        let content_type = fields.next().and_then(passable_type);
        Self { content_type, ..Self::of(bytes, head) }
    }
}

/// The pause that a provider asks for, rounded up and capped. The finer field wins, as in the SDKs.
fn pause_ms(millis: Option<&str>, after: Option<&str>, clock: fn() -> UnixTime) -> Option<u64> {
    let wanted = millis.and_then(|text| thousandths(text).map(|ms| ms.div_ceil(1_000)));
    let wanted = wanted.or_else(|| after.and_then(thousandths)).or_else(|| {
        let date = after?;
        let now = clock();
        let until = UnixTime::from_http_date(date, now)?;
        // A date that has passed means: now. Our clock and theirs differ by a second or two anyway.
        u64::try_from(until.0.saturating_sub(now.0).as_millis()).ok()
    });
    wanted.map(|ms| ms.min(PAUSE_MAX_MS))
}

/// Reads a whole or decimal number, in thousandths and rounded up. A sign, an exponent or a word says nothing that we
/// could trust.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |byte| u64::from(byte - b'0'));
    let started = fraction.bytes().skip(3).any(|byte| byte != b'0');
    let part = digit(0) * 100 + digit(1) * 10 + digit(2) + u64::from(started);
    Some(whole.saturating_mul(1_000).saturating_add(part))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Wed, 21 Oct 2026 07:28:00 GMT
    fn clock() -> UnixTime {
        UnixTime(Duration::from_secs(1_792_567_680))
    }

    #[test]
    fn pause_is_read_in_every_form_and_capped() {
        for (text, want) in [
            ("7", Some(7_000)),
            ("0", Some(0)),
            ("1.2", Some(1_200)),
            ("1.0001", Some(1_001)),
            ("1000000000", Some(60_000)),
            ("99999999999999999999999", Some(60_000)),
            ("99999999999999999999999.9", Some(60_000)),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("0x10", None),
            ("soon", None),
            (".", None),
            ("", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some(0)),
            ("Wed, 21 Oct 2026 07:28:09 GMT", Some(9_000)),
            ("Wednesday, 21-Oct-26 07:28:09 GMT", Some(9_000)),
            ("Wed Oct 21 07:28:09 2026", Some(9_000)),
            ("Wed, 21 Oct 2026 08:28:09 GMT", Some(60_000)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(60_000)),
            ("Tue, 20 Oct 2026 07:28:00 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Mon, 21 Oct 2026 07:28:09 GMT", None),
            ("Wed, 21 Oct 2026 07:28:09 CET", None),
        ] {
            assert_eq!(pause_ms(None, Some(text), clock), want, "{text:?}");
        }
    }

    #[test]
    fn type_of_an_answer_is_kept_where_it_is_one() {
        for (line, want) in [
            ("content-type: text/vtt", Some("text/vtt")),
            ("Content-Type:text/plain; charset=utf-8 ", Some("text/plain; charset=utf-8")),
            ("content-type: nonsense", None),
            ("content-type: text/\u{e9}", None),
            ("x-content-type: text/vtt", None),
            (&format!("content-type: x/{}", "y".repeat(70)), None),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\nserver: x\r\n{line}\r\ncontent-length: 1\r\n\r\n");
            let parsed = crate::http::parse_response(head.as_bytes()).unwrap();
            let kept = Passed::with_type(head.as_bytes(), &parsed).content_type;
            assert_eq!(kept.as_deref(), want, "{line}");
        }
    }

    #[test]
    fn finer_pause_wins_if_it_is_one() {
        for (millis, after, want) in [
            (Some("250"), Some("7"), Some(250)),
            (Some("250.5"), None, Some(251)),
            (Some("90000"), Some("7"), Some(60_000)),
            (Some("99999999999999999999999"), None, Some(60_000)),
            (Some("-5"), Some("7"), Some(7_000)),
            (Some("soon"), Some("Wed, 21 Oct 2026 07:28:02 GMT"), Some(2_000)),
            (Some("-5"), None, None),
            (None, None, None),
        ] {
            assert_eq!(pause_ms(millis, after, clock), want, "{millis:?} {after:?}");
        }
    }
}

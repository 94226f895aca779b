//! One event of a streamed transcription, and subtitles.
//!
//! `transcript.text.delta`, `.segment` and `.done`, the last with usage. Some servers of the OpenAI wire send chunks with choices
//! instead, and a `[DONE]`: both are read here.

use memchr::memmem;

use super::json::Scanner;
use super::json_place::{JsonFault, Span};
use super::said::said_chars;
use super::usage::{parse_count, scan_usage};
use crate::base::TokenCounts;

/// What one event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// It is of a transcription.
    pub(super) is_known: bool,
    /// Nothing comes after it.
    pub(super) is_last: bool,
    /// The tokens in its `usage`, if valid.
    pub(super) usage: Option<TokenCounts>,
    /// The seconds in its `usage`, in milliseconds.
    pub(super) audio_millis: Option<u64>,
    /// A top-level `error` that is not `null`; of an event that is an error itself, all of it.
    pub(super) error: Option<Span>,
    /// Bytes of text in it.
    pub(super) content_bytes: usize,
    /// Characters of that text.
    pub(super) said_chars: usize,
}

/// Reads an event, the JSON text of one message.
///
/// # Errors
/// [`JsonFault`] if it is not one JSON object.
pub(super) fn read_event(text: &[u8]) -> Result<Said, JsonFault> {
    let mut said = Said::default();
    let mut scanner = Scanner::resume(text, 0, 0);
    scanner.skip_space();
    if scanner.open_object()? {
        loop {
            member(&mut scanner, text, &mut said)?;
            if !scanner.next_member()? {
                break;
            }
        }
    }
    scanner.finish()?;
    Ok(said)
}

/// Reads when the last cue of subtitles ends, in milliseconds: `00:01:02,345` in SRT, in WebVTT `01:02.345` as well. None for what
/// is none, or has no cue.
#[must_use]
pub fn last_cue_millis(body: &[u8]) -> Option<u64> {
    const ARROW: &[u8] = b" --> ";
    let rest = body.get(memmem::rfind(body, ARROW)? + ARROW.len()..)?;
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (time, fraction) = rest.get(..end)?.split_at_checked(end.checked_sub(4)?)?;
    let millis = fraction.strip_prefix(b".").or_else(|| fraction.strip_prefix(b","))?;
    let (mut seconds, mut parts) = (0_u64, 0);
    for part in time.split(|byte| *byte == b':') {
        (seconds, parts) = (seconds.checked_mul(60)?.checked_add(parse_count(part)?)?, parts + 1);
    }
    if !(2..=3).contains(&parts) {
        return None;
    }
    seconds.checked_mul(1_000)?.checked_add(parse_count(millis)?)
}

fn member(scanner: &mut Scanner<'_>, text: &[u8], said: &mut Said) -> Result<(), JsonFault> {
    let name = scanner.name()?.span.inner_of(text);
    if name == b"usage" {
        let found = scan_usage(scanner, text)?;
        (said.usage, said.audio_millis) = (found.counts(), found.audio_millis());
        return Ok(());
    }
    let value = scanner.value()?;
    let inner = value.span.inner_of(text);
    match name {
        b"type" if inner == b"error" => said.error = said.error.or(Some(Span::new(0, text.len()))),
        b"type" => {
            said.is_known |= inner.starts_with(b"transcript.") || inner.starts_with(b"transcription.");
            said.is_last = matches!(inner, b"transcript.text.done" | b"transcription.done");
        }
        b"error" if value.first != b'n' => said.error = Some(value.span),
        b"delta" if value.first == b'"' => {
            said.content_bytes += inner.len();
            said.said_chars += said_chars(inner, value.escaped);
        }
        b"choices" if value.first == b'[' => {
            said.is_known = true;
            said.content_bytes += inner.len();
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_cue_tells_how_far_was_heard() {
        for (body, want) in [
            ("WEBVTT\n\n00:00.000 --> 00:03.300\nHello\n", Some(3_300)),
            ("WEBVTT\n\n00:00.000 --> 00:03.300\na\n\n01:00:00.000 --> 01:00:01.050 align:start\nb", Some(3_601_050)),
            ("1\r\n00:00:00,000 --> 00:01:02,345\r\nHello\r\n", Some(62_345)),
            ("1\n00:00:00,000 --> 00:01:02,345", Some(62_345)),
            ("Hello\n", None),
            ("", None),
            ("a --> b\n", None),
            ("00:00.000 --> 3.300\n", None),
            ("00:00.000 --> 00:00:00:03.300\n", None),
            ("00:00.000 --> 00:-3.300\n", None),
            ("00:00.000 --> 99999999999999999999:03.300\n", None),
            ("00:00.000 --> ", None),
        ] {
            assert_eq!(last_cue_millis(body.as_bytes()), want, "{body}");
        }
    }
}

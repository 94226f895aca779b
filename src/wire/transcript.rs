//! One event of a streamed transcription.
//!
//! `transcript.text.delta`, `.segment` and `.done`, the last with usage. Some servers of the OpenAI wire send chunks with choices
//! instead, and a `[DONE]`: both are read here.

use super::json::Scanner;
use super::json_place::{JsonFault, Span};
use super::said::said_chars;
use super::usage::scan_usage;
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

//! The view of a whole, non-streamed answer.
//!
//! The whole document is checked, since half an answer or a page of HTML with status 200 is a failure of the provider
//! and must not be billed or relayed as a success. The bytes themselves go to the client as they came.

use super::endpoint::Endpoint;
use super::json::{self, Scanner};
use super::json_place::{JsonFault, Span};
use super::made::Used;
use super::usage::{parse_seconds, scan_usage};
use crate::base::TokenCounts;

/// What we read in an answer. Spans are of that body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerView {
    /// Tokens as the provider stated them, if it did so validly.
    pub usage: Option<TokenCounts>,
    /// What a transcription heard, in milliseconds, as the provider stated it: in its usage, else as the length of the sound.
    pub audio_millis: Option<u64>,
    /// Value of `model`: a string with its quotes.
    pub model: Option<Span>,
    /// Value of a top-level `error` that is not `null`: the answer is a failure whatever its status.
    pub error: Option<Span>,
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing but white space.
    #[error("the answer is empty")]
    Empty,
    /// Not one JSON object in UTF-8: HTML, text, or cut off.
    #[error("the answer is not a JSON object")]
    NotJson,
}

impl From<JsonFault> for AnswerError {
    fn from(_: JsonFault) -> Self {
        Self::NotJson
    }
}

/// Checks a whole answer and reads what we need of it. Leading white space is allowed: some providers pad.
///
/// # Errors
/// [`AnswerError`] if it is no JSON object.
pub fn view_answer(endpoint: Endpoint, body: &[u8]) -> Result<AnswerView, AnswerError> {
    if body.len() > json::BYTES_MAX || simdutf8::basic::from_utf8(body).is_err() {
        return Err(AnswerError::NotJson);
    }
    // Embeddings are arrays of any length: no bound on the number of values, the size of the body bounds it.
    let mut scanner = Scanner::resume(body, 0, 0);
    scanner.skip_space();
    if scanner.at() == body.len() {
        return Err(AnswerError::Empty);
    }
    let mut view = AnswerView { usage: None, audio_millis: None, model: None, error: None };
    let mut used = Used::default();
    if scanner.open_object()? {
        loop {
            let name = scanner.name()?.span.inner_of(body);
            match name {
                b"usage" => {
                    used.usage = scan_usage(&mut scanner, body)?;
                    view.audio_millis = used.usage.audio_millis().or(view.audio_millis);
                }
                b"output" if endpoint == Endpoint::Responses => used.output = scanner.value()?.span.of(body),
                b"tool_usage" if endpoint == Endpoint::Responses => used.tool_usage = scanner.value()?.span.of(body),
                b"duration" if endpoint == Endpoint::Transcriptions => {
                    let value = scanner.value()?;
                    view.audio_millis = view.audio_millis.or_else(|| parse_seconds(value.span.of(body)));
                }
                b"model" => {
                    let value = scanner.value()?;
                    view.model = (value.first == b'"').then_some(value.span);
                }
                b"error" => {
                    let value = scanner.value()?;
                    view.error = (value.first != b'n').then_some(value.span);
                }
                _ => {
                    scanner.value()?;
                }
            }
            if !scanner.next_member()? {
                break;
            }
        }
    }
    scanner.finish()?;
    view.usage = counts(endpoint, &used);
    Ok(view)
}

fn counts(endpoint: Endpoint, used: &Used<'_>) -> Option<TokenCounts> {
    match endpoint {
        Endpoint::Embeddings => used.usage.counts_of_embedding(),
        Endpoint::Responses => used.counts(),
        Endpoint::Chat | Endpoint::Completions | Endpoint::Transcriptions => used.usage.counts(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_at_its_top_level_only() {
        let body = br#"


{"id":"x","object":"chat.completion","choices":[{"message":{"content":"\"usage\":{","usage":{"prompt_tokens":9}}}],
 "model":"gpt-4o-2024-08-06","error":null,"usage":{"prompt_tokens":3,"completion_tokens":4}} "#;
        let view = view_answer(Endpoint::Chat, body).unwrap();
        assert_eq!(view.usage.map(|u| (u.input, u.output)), Some((3, 4)));
        assert_eq!(view.model.map(|m| m.of(body)), Some(&b"\"gpt-4o-2024-08-06\""[..]));
        assert_eq!(view.error, None);
    }

    #[test]
    fn an_error_inside_status_200_is_seen() {
        let body = br#"{"error":{"message":"filtered","code":"content_filter"},"model":null}"#;
        let view = view_answer(Endpoint::Chat, body).unwrap();
        assert!(view.error.unwrap().of(body).starts_with(b"{\"message\""));
        assert_eq!((view.usage, view.model), (None, None));
    }

    #[test]
    fn an_embedding_may_state_a_total_alone() {
        let body = br#"{"data":[],"usage":{"total_tokens":7}}"#;
        let usage = view_answer(Endpoint::Embeddings, body).unwrap().usage;
        assert_eq!(usage.map(|u| (u.input, u.output)), Some((7, 0)));
        assert_eq!(view_answer(Endpoint::Chat, body).unwrap().usage, None);
    }

    #[test]
    fn transcription_states_tokens_or_seconds() {
        for (name, body, tokens, millis) in [
            ("whisper", r#"{"text":"a","usage":{"type":"duration","seconds":9}}"#, None, Some(9_000)),
            ("verbose", r#"{"task":"transcribe","duration":8.470000057220459,"text":"a"}"#, None, Some(8_471)),
            ("older verbose", r#"{"duration":"8.5","text":"a"}"#, None, Some(8_500)),
            ("usage wins", r#"{"duration":8.5,"usage":{"type":"duration","seconds":9},"text":"a"}"#, None, Some(9_000)),
            ("usage first", r#"{"usage":{"type":"duration","seconds":9},"duration":8.5}"#, None, Some(9_000)),
            (
                "tokens",
                r#"{"text":"a","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"total_tokens":59}}"#,
                Some((14, 45, 14)),
                None,
            ),
            (
                "both",
                r#"{"text":"a","usage":{"prompt_tokens":4,"completion_tokens":27,"total_tokens":406,"prompt_audio_seconds":203}}"#,
                Some((4, 27, 0)),
                Some(203_000),
            ),
            ("none", r#"{"text":"a"}"#, None, None),
            ("nothing valid", r#"{"duration":-1,"usage":{"type":"duration","seconds":1e3}}"#, None, None),
            ("null", r#"{"duration":null,"usage":null}"#, None, None),
        ] {
            let view = view_answer(Endpoint::Transcriptions, body.as_bytes()).unwrap();
            let counts = view.usage.map(|usage| (usage.input, usage.output, usage.audio_input));
            assert_eq!((counts, view.audio_millis), (tokens, millis), "{name}");
        }
        // Of other endpoints the same names mean nothing.
        let chat = view_answer(Endpoint::Chat, br#"{"duration":8.5,"usage":{"prompt_tokens":1}}"#).unwrap();
        assert_eq!(chat.audio_millis, None);
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for (body, want) in [
            (&b""[..], AnswerError::Empty),
            (b" \r\n\t", AnswerError::Empty),
            (b"<html></html>", AnswerError::NotJson),
            (b"[]", AnswerError::NotJson),
            (b"null", AnswerError::NotJson),
            (b"{\"a\":1", AnswerError::NotJson),
            (b"{\"a\":1}}", AnswerError::NotJson),
            (b"{\"a\":\"\xFF\"}", AnswerError::NotJson),
        ] {
            assert_eq!(view_answer(Endpoint::Chat, body), Err(want), "{body:?}");
        }
    }
}

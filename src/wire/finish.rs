//! Why a whole answer ended.
//!
//! Asked only for requests whose row is kept: the answer is read a second time for it. Streams say it as they pass.

use super::endpoint::Endpoint;
use super::json_text::unescape;
use super::made::{elements, find, member, text};
use crate::base::Finish;

/// Longest answer that is looked through, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Finds why a whole answer ended, which was checked before; of several choices the first says it.
#[must_use]
pub fn finish_of_answer(endpoint: Endpoint, body: &[u8]) -> Finish {
    if !endpoint.has_output_cap() {
        return Finish::Completed;
    }
    if body.len() > ANSWER_BYTES_MAX {
        return Finish::Unknown;
    }
    if endpoint == Endpoint::Responses {
        return of_response(body);
    }
    let mut first = None;
    let read = member(body, b"choices").map(|choices| elements(choices, |choice, _| first = first.or(Some(choice))));
    match (read, first) {
        (Some(Ok(())), Some(choice)) => stated(choice, b"finish_reason"),
        _ => Finish::Unknown,
    }
}

/// Why a response ended, by its object.
fn of_response(response: &[u8]) -> Finish {
    let reason =
        || member(response, b"incomplete_details").map_or(Finish::Unknown, |details| stated(details, b"reason"));
    match stated(response, b"status") {
        Finish::Completed if has_call(response) => Finish::ToolCalls,
        Finish::Unknown => reason(),
        status => status,
    }
}

fn has_call(response: &[u8]) -> bool {
    let mut has = false;
    let read = member(response, b"output")
        .map(|output| elements(output, |item, _| has |= text(item, b"type") == Some(b"function_call")));
    read == Some(Ok(())) && has
}

fn stated(object: &[u8], name: &[u8]) -> Finish {
    let Some(value) = find(object, name).filter(|value| value.first == b'"') else { return Finish::Unknown };
    let word = value.span.inner_of(object);
    if value.escaped {
        return unescape(word).map_or(Finish::Unknown, |word| Finish::stated(&word));
    }
    Finish::stated(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wire_says_why_it_ended() {
        for (endpoint, body, want) in [
            (Endpoint::Chat, r#"{"choices":[{"finish_reason":"stop"}]}"#, Finish::Completed),
            (
                Endpoint::Chat,
                r#"{"choices":[{"finish_reason":"length"},{"finish_reason":"stop"}]}"#,
                Finish::LengthLimit,
            ),
            (Endpoint::Chat, r#"{"choices":[{"finish_reason":"tool_calls"}]}"#, Finish::ToolCalls),
            (
                Endpoint::Completions,
                r#"{"choices":[{"text":"","finish_reason":"content_filter"}]}"#,
                Finish::ContentFilter,
            ),
            (Endpoint::Chat, r#"{"choices":[{"finish_reason":null}]}"#, Finish::Unknown),
            (Endpoint::Chat, r#"{"choices":[]}"#, Finish::Unknown),
            (Endpoint::Chat, "[", Finish::Unknown),
            (
                Endpoint::Chat,
                r#"{"id":"x","choices":[{"index":0,"message":{"content":"\u00e9","finish_reason":"length"},"finish_reason":"st\u006fp"}],"usage":{}}"#,
                Finish::Completed,
            ),
            (Endpoint::Responses, r#"{"status":"completed","output":[{"type":"message"}]}"#, Finish::Completed),
            (Endpoint::Responses, r#"{"status":"completed","output":[{"type":"function_call"}]}"#, Finish::ToolCalls),
            (
                Endpoint::Responses,
                r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}"#,
                Finish::LengthLimit,
            ),
            (
                Endpoint::Responses,
                r#"{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}"#,
                Finish::ContentFilter,
            ),
            (Endpoint::Embeddings, r#"{"data":[]}"#, Finish::Completed),
        ] {
            assert_eq!(finish_of_answer(endpoint, body.as_bytes()), want, "{body}");
        }
    }
}

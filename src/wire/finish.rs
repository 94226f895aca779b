//! Why a whole answer ended.
//!
//! Asked only for requests whose row is kept: the answer is read a second time for it. Streams say it as they pass.

use std::borrow::Cow;

use serde::Deserialize;

use super::endpoint::Endpoint;
use crate::base::Finish;

/// Longest answer that is looked through, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What an answer says of its end; the rest of it is stepped over.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    incomplete_details: Option<Details<'a>>,
    #[serde(borrow, default)]
    output: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// Finds why a whole answer ended; of several choices the first says it.
#[must_use]
pub fn finish_of_answer(endpoint: Endpoint, body: &[u8]) -> Finish {
    if !endpoint.has_output_cap() {
        return Finish::Completed;
    }
    if body.len() > ANSWER_BYTES_MAX {
        return Finish::Unknown;
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else { return Finish::Unknown };
    if endpoint == Endpoint::Responses {
        return of_response(&answer);
    }
    answer.choices.first().map_or(Finish::Unknown, |choice| stated(choice.finish_reason.as_ref()))
}

/// Why a response ended, by its object.
fn of_response(response: &Answer<'_>) -> Finish {
    let status = stated(response.status.as_ref());
    let reason = stated(response.incomplete_details.as_ref().and_then(|details| details.reason.as_ref()));
    let calls = |item: &Item<'_>| item.kind.as_deref() == Some("function_call");
    match (status, reason) {
        (Finish::Completed, _) if response.output.iter().any(calls) => Finish::ToolCalls,
        (Finish::Unknown, reason) => reason,
        (status, _) => status,
    }
}

fn stated(word: Option<&Cow<'_, str>>) -> Finish {
    word.map_or(Finish::Unknown, |word| Finish::stated(word.as_bytes()))
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

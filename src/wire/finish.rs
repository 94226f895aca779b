//! Why a whole answer ended.
//!
//! Asked only for requests whose row is kept: the answer is read a second time for it. Streams say it as they pass.

use serde_json::Value;

use super::endpoint::Endpoint;
use crate::base::Finish;

/// Longest answer that is looked through, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Finds why a whole answer ended; of several choices the first says it.
#[must_use]
pub fn finish_of_answer(endpoint: Endpoint, body: &[u8]) -> Finish {
    if endpoint == Endpoint::Embeddings {
        return Finish::Completed;
    }
    if body.len() > ANSWER_BYTES_MAX {
        return Finish::Unknown;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Finish::Unknown };
    if endpoint == Endpoint::Responses {
        return of_response(&answer);
    }
    answer.pointer("/choices/0/finish_reason").map_or(Finish::Unknown, stated)
}

/// Why a response ended, by its object.
fn of_response(response: &Value) -> Finish {
    let status = response.get("status").map_or(Finish::Unknown, stated);
    let reason = response.pointer("/incomplete_details/reason").map_or(Finish::Unknown, stated);
    let items = response.get("output").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let calls = |item: &Value| item.get("type").and_then(Value::as_str) == Some("function_call");
    match (status, reason) {
        (Finish::Completed, _) if items.iter().any(calls) => Finish::ToolCalls,
        (Finish::Unknown, reason) => reason,
        (status, _) => status,
    }
}

fn stated(value: &Value) -> Finish {
    Finish::stated(value.as_str().unwrap_or_default().as_bytes())
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

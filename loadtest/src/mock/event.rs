//! Events of a stream, per endpoint.

use super::ask::Ask;
use super::body::{CREATED, MODEL, content, usage};
use crate::serve::{Digits, Endpoint, EventRun, chunk};

/// What an event is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Part {
    /// Opens the answer: a role, or a response in progress.
    Opening,
    /// Carries content.
    Content,
    /// Ends the content: a finish reason, or the completed response with its usage.
    Finish,
    /// Carries the usage alone.
    Usage,
    /// The mark `[DONE]`.
    Done,
}

/// One event without its framing, blank line included.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) part: Part,
    pub(crate) bytes: Vec<u8>,
}

/// Where the number of a content event goes.
const NUMBER: &str = "#######";
/// Where the sequence number of a Responses event goes.
const SEQUENCE: &str = "%%%%%%%";
/// Where the time of sending goes.
const STAMP: &str = "@@@@@@@@@@@@@@@@";

/// The text of one content event with its places for numbers, `bytes` long or as short as it can be.
fn template(ask: &Ask<'_>) -> String {
    let stamp = if ask.options.stamp { format!(r#","sent_us":{STAMP}"#) } else { String::new() };
    let (before, after) = match ask.endpoint {
        Endpoint::Chat | Endpoint::Embeddings => (
            format!(
                r#"data: {{"id":"chatcmpl-{}-{}","object":"chat.completion.chunk","created":{CREATED},"model":"{MODEL}"{stamp},"choices":[{{"index":0,"delta":{{"content":"w{NUMBER} "#,
                ask.connection, ask.request
            ),
            "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        ),
        Endpoint::Completions => (
            format!(
                r#"data: {{"id":"cmpl-{}-{}","object":"text_completion","created":{CREATED},"model":"{MODEL}"{stamp},"choices":[{{"text":"w{NUMBER} "#,
                ask.connection, ask.request
            ),
            "\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        ),
        Endpoint::Responses => (
            format!(
                "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{SEQUENCE},\"item_id\":\"msg_{}_{}\",\"output_index\":0,\"content_index\":0{stamp},\"delta\":\"w{NUMBER} ",
                ask.connection, ask.request
            ),
            "\"}\n\n",
        ),
        Endpoint::Transcriptions => {
            (format!(r#"data: {{"type":"transcript.text.delta"{stamp},"delta":"w{NUMBER} "#), "\"}\n\n")
        }
    };
    let padding = ask.options.bytes.saturating_sub(before.len() + after.len());
    let padding = if ask.options.echo { content(ask, 0) } else { "x".repeat(padding) };
    format!("{before}{padding}{after}")
}

/// All content events as one run, chunk framing included.
pub(crate) fn run(ask: &Ask<'_>, chunked: bool) -> EventRun {
    let text = template(ask);
    let bytes = if chunked { chunk(text.as_bytes()) } else { text.into_bytes() };
    let find = |mark: &str| memchr::memmem::find(&bytes, mark.as_bytes());
    let mut digits = Vec::new();
    if let Some(at) = find(NUMBER) {
        digits.push(Digits { at, width: NUMBER.len(), pad: b'0', first: 0 });
    }
    if let Some(at) = find(SEQUENCE) {
        digits.push(Digits { at, width: SEQUENCE.len(), pad: b' ', first: 1 });
    }
    let stamp_at = if ask.options.stamp { find(STAMP) } else { None };
    EventRun { digits, stamp_at, count: ask.options.events, gap: ask.options.gap, bytes }
}

/// The content event with this number.
pub(crate) fn content_event(run: &EventRun, index: u64) -> Event {
    let mut bytes = run.bytes.clone();
    for field in &run.digits {
        field.put(&mut bytes, index);
    }
    Event { part: Part::Content, bytes }
}

/// The event that opens a stream.
pub(crate) fn opening(ask: &Ask<'_>) -> Event {
    let bytes = match ask.endpoint {
        Endpoint::Responses => response_event(ask, "response.created", 0, "in_progress", None),
        Endpoint::Completions => {
            choice_event(ask, r#"{"text":"","index":0,"logprobs":null,"finish_reason":null}"#, None)
        }
        Endpoint::Transcriptions => transcript_event("delta", "\"delta\":\"\""),
        Endpoint::Chat | Endpoint::Embeddings => choice_event(
            ask,
            r#"{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}"#,
            None,
        ),
    };
    Event { part: Part::Opening, bytes }
}

/// The events behind the content: finish, usage where asked for, end mark where the endpoint has one.
pub(crate) fn closing(ask: &Ask<'_>) -> Vec<Event> {
    let usage = usage(ask, ask.usage());
    let mut events = vec![finish(ask, Some(&usage))];
    if !matches!(ask.endpoint, Endpoint::Responses | Endpoint::Transcriptions) {
        if ask.include_usage {
            events.push(usage_event(ask, &usage));
        }
        events.push(done());
    }
    events
}

/// The event with the finish reason; of the Responses endpoint also with the usage.
pub(crate) fn finish(ask: &Ask<'_>, usage: Option<&str>) -> Event {
    let bytes = match ask.endpoint {
        Endpoint::Responses => {
            response_event(ask, "response.completed", ask.options.events.saturating_add(1), "completed", usage)
        }
        Endpoint::Completions => {
            choice_event(ask, r#"{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}"#, None)
        }
        Endpoint::Transcriptions => {
            let usage = usage.map_or_else(String::new, |usage| format!(r#","usage":{usage}"#));
            transcript_event("done", &format!("\"text\":\"w\"{usage}"))
        }
        Endpoint::Chat | Endpoint::Embeddings => {
            choice_event(ask, r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}"#, None)
        }
    };
    Event { part: Part::Finish, bytes }
}

/// The event that carries a usage object and no choice.
pub(crate) fn usage_event(ask: &Ask<'_>, usage: &str) -> Event {
    Event { part: Part::Usage, bytes: choice_event(ask, "", Some(usage)) }
}

/// The mark `[DONE]`.
pub(crate) fn done() -> Event {
    Event { part: Part::Done, bytes: b"data: [DONE]\n\n".to_vec() }
}

/// An event of the Chat or Completions endpoint with this choice and this usage.
pub(crate) fn choice_event(ask: &Ask<'_>, choice: &str, usage: Option<&str>) -> Vec<u8> {
    let (id, object) = match ask.endpoint {
        Endpoint::Completions => ("cmpl", "text_completion"),
        _ => ("chatcmpl", "chat.completion.chunk"),
    };
    let usage = usage.map_or_else(String::new, |usage| format!(r#","usage":{usage}"#));
    format!(
        "data: {{\"id\":\"{id}-{}-{}\",\"object\":\"{object}\",\"created\":{CREATED},\"model\":\"{MODEL}\",\"choices\":[{choice}]{usage}}}\n\n",
        ask.connection, ask.request
    )
    .into_bytes()
}

fn transcript_event(kind: &str, rest: &str) -> Vec<u8> {
    format!("data: {{\"type\":\"transcript.text.{kind}\",{rest}}}\n\n").into_bytes()
}

fn response_event(ask: &Ask<'_>, kind: &str, sequence: u64, status: &str, usage: Option<&str>) -> Vec<u8> {
    let usage = usage.unwrap_or("null");
    format!(
        "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{sequence},\"response\":{{\"id\":\"resp_{}_{}\",\"object\":\"response\",\"created_at\":{CREATED},\"status\":\"{status}\",\"error\":null,\"incomplete_details\":null,\"model\":\"{MODEL}\",\"output\":[],\"usage\":{usage}}}}}\n\n",
        ask.connection, ask.request
    )
    .into_bytes()
}

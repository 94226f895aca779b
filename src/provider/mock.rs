//! The built-in provider `mock/...`: answers without a network.
//!
//! For demos, for tests of applications, and to tell a fault of ours from a provider's. Its answers have the shape of
//! the real ones, usage included; tokens are words, counted and not estimated.

use std::{fmt::Write as _, time::Duration};

use crate::{config::MockParams, wire::Endpoint};

const DEFAULT_TEXT: &str = "Hello from Millrace. This answer was made by the built-in mock provider.";

/// A configured mock model.
pub struct Mock {
    latency: Duration,
    token_delay: Duration,
    text: String,
    vector: String,
    model: String,
}

/// Ids and counts of one answer.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Random bits that name the answer.
    pub id: u64,
    /// Seconds since 1970.
    pub created: u64,
    /// Bytes of the request, from which prompt tokens are derived (four bytes a token).
    pub request_bytes: usize,
    /// Seconds of the file of a transcription, rounded up.
    pub audio_seconds: u64,
}

/// The events of one streamed answer, in order.
pub struct MockStream {
    /// Complete events, each with its blank line.
    pub events: Vec<Vec<u8>>,
    /// Pause before each event after the first.
    pub delay: Duration,
}

impl Mock {
    /// Compiles the parameters of a `mock/...` model.
    #[must_use]
    pub fn new(params: &MockParams, model: &str) -> Self {
        let size = params.vector_size;
        let mut vector = String::from("[");
        for index in 0..size {
            // A unit vector with all components alike in size: deterministic, and its norm is 1.
            let sign = if index % 2 == 0 { "" } else { "-" };
            let component = 1.0 / f64::from(size).sqrt();
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(vector, "{comma}{sign}{component:.8}");
        }
        vector.push(']');
        Self {
            latency: params.latency,
            token_delay: params.token_delay,
            text: params.response_text.clone().unwrap_or_else(|| DEFAULT_TEXT.to_owned()),
            vector,
            model: model.to_owned(),
        }
    }

    /// Time before the first byte of an answer.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency
    }

    /// The whole answer of an endpoint as JSON.
    #[must_use]
    pub fn answer(&self, endpoint: Endpoint, draw: Draw) -> Vec<u8> {
        let (input, output) = (draw.request_bytes.div_ceil(4), self.words().count());
        let (id, created, model) = (draw.id, draw.created, quoted(&self.model));
        let text = quoted(&self.text);
        let usage = chat_usage(input, output);
        let answer = match endpoint {
            Endpoint::Chat => format!(
                r#"{{"id":"chatcmpl-{id:016x}","object":"chat.completion","created":{created},"model":{model},"choices":[{{"index":0,"message":{{"role":"assistant","content":{text},"refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage}}}"#
            ),
            Endpoint::Completions => format!(
                r#"{{"id":"cmpl-{id:016x}","object":"text_completion","created":{created},"model":{model},"choices":[{{"index":0,"text":{text},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage}}}"#
            ),
            Endpoint::Embeddings => format!(
                r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding":{}}}],"model":{model},"usage":{{"prompt_tokens":{input},"total_tokens":{input}}}}}"#,
                self.vector
            ),
            Endpoint::Responses => self.response(draw, "completed", Some((input, output))),
            Endpoint::Transcriptions => {
                format!(r#"{{"text":{text},"usage":{{"type":"duration","seconds":{}}}}}"#, draw.audio_seconds)
            }
        };
        answer.into_bytes()
    }

    /// The streamed answer of an endpoint. `usage` asks for a usage chunk on the Chat and Completions wires.
    #[must_use]
    pub fn stream(&self, endpoint: Endpoint, draw: Draw, usage: bool) -> MockStream {
        let events = match endpoint {
            Endpoint::Responses => self.response_events(draw),
            Endpoint::Transcriptions => self.transcript_events(draw),
            _ => self.chunk_events(endpoint, draw, usage),
        };
        MockStream { events, delay: self.token_delay }
    }

    fn transcript_events(&self, draw: Draw) -> Vec<Vec<u8>> {
        let event = |text: String| format!("data: {text}\n\n").into_bytes();
        let delta = |word| event(format!(r#"{{"type":"transcript.text.delta","delta":{}}}"#, quoted(word)));
        let mut events: Vec<_> = self.words().map(delta).collect();
        let (text, seconds) = (quoted(&self.text), draw.audio_seconds);
        events.push(event(format!(
            r#"{{"type":"transcript.text.done","text":{text},"usage":{{"type":"duration","seconds":{seconds}}}}}"#
        )));
        events
    }

    /// A transcription that is not JSON.
    #[must_use]
    pub fn plain_transcript(&self) -> Vec<u8> {
        format!("{}\n", self.text).into_bytes()
    }

    fn chunk_events(&self, endpoint: Endpoint, draw: Draw, usage: bool) -> Vec<Vec<u8>> {
        let (id, created, model) = (draw.id, draw.created, quoted(&self.model));
        let (prefix, object) = match endpoint {
            Endpoint::Completions => ("cmpl", "text_completion"),
            _ => ("chatcmpl", "chat.completion.chunk"),
        };
        let usage_null = if usage { r#","usage":null"# } else { "" };
        let chunk = |choices: &str, usage: &str| {
            format!(
                "data: {{\"id\":\"{prefix}-{id:016x}\",\"object\":\"{object}\",\"created\":{created},\"model\":{model},\"choices\":[{choices}]{usage}}}\n\n"
            )
            .into_bytes()
        };
        let choice = |text: Option<&str>, first: bool, finish: &str| match (endpoint, text) {
            (Endpoint::Completions, text) => {
                let text = quoted(text.unwrap_or(""));
                format!(r#"{{"index":0,"text":{text},"logprobs":null,"finish_reason":{finish}}}"#)
            }
            (_, Some(text)) => {
                let role = if first { r#""role":"assistant","# } else { "" };
                let text = quoted(text);
                format!(r#"{{"index":0,"delta":{{{role}"content":{text}}},"logprobs":null,"finish_reason":{finish}}}"#)
            }
            (_, None) => format!(r#"{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":{finish}}}"#),
        };
        let mut events: Vec<_> = self
            .words()
            .enumerate()
            .map(|(index, word)| chunk(&choice(Some(word), index == 0, "null"), usage_null))
            .collect();
        events.push(chunk(&choice(None, false, r#""stop""#), usage_null));
        if usage {
            let counts = chat_usage(draw.request_bytes.div_ceil(4), self.words().count());
            events.push(chunk("", &format!(",\"usage\":{counts}")));
        }
        events.push(b"data: [DONE]\n\n".to_vec());
        events
    }

    fn response_events(&self, draw: Draw) -> Vec<Vec<u8>> {
        let (item, text) = (format!("msg_{:016x}", draw.id), quoted(&self.text));
        let (input, output) = (draw.request_bytes.div_ceil(4), self.words().count());
        let mut events: Vec<Vec<u8>> = Vec::new();
        let mut push = |kind: &str, rest: String| {
            let number = events.len();
            events.push(
                format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number},{rest}}}\n\n")
                    .into_bytes(),
            );
        };
        let started = self.response(draw, "in_progress", None);
        push("response.created", format!(r#""response":{started}"#));
        push("response.in_progress", format!(r#""response":{started}"#));
        let open =
            format!(r#"{{"id":"{item}","type":"message","status":"in_progress","role":"assistant","content":[]}}"#);
        push("response.output_item.added", format!(r#""output_index":0,"item":{open}"#));
        let at = format!(r#""item_id":"{item}","output_index":0,"content_index":0"#);
        let empty = r#"{"type":"output_text","text":"","annotations":[],"logprobs":[]}"#;
        push("response.content_part.added", format!(r#"{at},"part":{empty}"#));
        for word in self.words() {
            push("response.output_text.delta", format!(r#"{at},"delta":{},"logprobs":[]"#, quoted(word)));
        }
        push("response.output_text.done", format!(r#"{at},"text":{text},"logprobs":[]"#));
        let part = format!(r#"{{"type":"output_text","text":{text},"annotations":[],"logprobs":[]}}"#);
        push("response.content_part.done", format!(r#"{at},"part":{part}"#));
        push("response.output_item.done", format!(r#""output_index":0,"item":{}"#, self.message(draw)));
        let done = self.response(draw, "completed", Some((input, output)));
        push("response.completed", format!(r#""response":{done}"#));
        events
    }

    fn message(&self, draw: Draw) -> String {
        let text = quoted(&self.text);
        format!(
            r#"{{"id":"msg_{:016x}","type":"message","status":"completed","role":"assistant","content":[{{"type":"output_text","text":{text},"annotations":[],"logprobs":[]}}]}}"#,
            draw.id
        )
    }

    fn response(&self, draw: Draw, status: &str, tokens: Option<(usize, usize)>) -> String {
        let (id, created, model) = (draw.id, draw.created, quoted(&self.model));
        let output = tokens.map_or(String::new(), |_| self.message(draw));
        let usage = tokens.map_or("null".to_owned(), |(input, output)| {
            let total = input + output;
            format!(
                r#"{{"input_tokens":{input},"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{output},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{total}}}"#
            )
        });
        format!(
            r#"{{"id":"resp_{id:016x}","object":"response","created_at":{created},"status":"{status}","background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"model":{model},"output":[{output}],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{{"effort":null,"summary":null}},"store":false,"temperature":1.0,"text":{{"format":{{"type":"text"}}}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}}}"#
        )
    }

    /// The text cut behind each space, so that the parts joined give the text again.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }
}

fn chat_usage(input: usize, output: usize) -> String {
    let total = input + output;
    format!(
        r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}"#
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const DRAW: Draw = Draw { id: 7, created: 1, request_bytes: 40, audio_seconds: 4 };

    fn mock() -> Mock {
        let params =
            MockParams { response_text: Some("say \"hi\" twice".to_owned()), vector_size: 4, ..MockParams::default() };
        Mock::new(&params, "gateway")
    }

    #[test]
    fn every_answer_is_json_with_usage() {
        for endpoint in Endpoint::ALL {
            let answer: Value = serde_json::from_slice(&mock().answer(endpoint, DRAW)).unwrap();
            let usage = &answer["usage"];
            let input = usage.get("prompt_tokens").or(usage.get("input_tokens"));
            let (stated, want) = match endpoint {
                Endpoint::Transcriptions => (usage.get("seconds"), 4),
                _ => (input, 10),
            };
            assert_eq!(stated, Some(&Value::from(want)), "{}", endpoint.as_str());
        }
    }

    #[test]
    fn streamed_words_join_to_the_text() {
        let stream = mock().stream(Endpoint::Chat, DRAW, true);
        let mut text = String::new();
        let (done, events) = stream.events.split_last().unwrap();
        assert_eq!(done, b"data: [DONE]\n\n");
        for event in events {
            let json: Value = serde_json::from_slice(&event[6..]).unwrap();
            text.push_str(json["choices"][0]["delta"]["content"].as_str().unwrap_or(""));
        }
        assert_eq!(text, "say \"hi\" twice");
    }

    #[test]
    fn response_events_count_up() {
        for (number, event) in mock().stream(Endpoint::Responses, DRAW, false).events.iter().enumerate() {
            let text = std::str::from_utf8(event).unwrap();
            let json: Value =
                serde_json::from_str(text.lines().nth(1).unwrap().strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(json["sequence_number"], number);
            assert_eq!(text.lines().next(), Some(format!("event: {}", json["type"].as_str().unwrap()).as_str()));
        }
    }
}

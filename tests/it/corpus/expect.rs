//! What a client must get for a recorded answer.
//!
//! Worked out from the recording by serde_json and line ends alone, so that it shares no code and no shortcut with the
//! gateway. Where the gateway answers otherwise than the provider did, the reason stands here.

use serde_json::Value;

use super::record::{Kind, Record};

/// What a client must get.
pub(super) enum Expected {
    /// Status 200 and exactly these bytes.
    Bytes(Vec<u8>),
    /// Status 200, these bytes, then one error event of ours.
    Broken(Vec<u8>),
    /// An error; `None` stands for what the provider left open.
    Error { status: u16, kind: Option<String>, code: Option<String> },
}

/// Tokens that the access log must show: input, output, cached, reasoning.
pub(super) type Tokens = (u64, u64, u64, u64);

/// What must come of one record.
pub(super) struct Outcome {
    pub(super) expected: Expected,
    /// The same where the model has a price: the cost stands in the usage of a stream.
    pub(super) priced: Option<Expected>,
    /// What the access log must show; none means an estimate.
    pub(super) tokens: Option<Tokens>,
    /// The documented differences that this record has.
    pub(super) changes: Vec<&'static str>,
}

/// Works out what must come of a record.
pub(super) fn expect(record: &Record) -> Outcome {
    if record.status == 200 && record.stream {
        return stream(record);
    }
    let (expected, tokens) = whole(record);
    let changes = match &expected {
        Expected::Error { status, .. } if *status == record.status => vec!["error kept"],
        Expected::Error { .. } => vec!["error rewritten"],
        _ => Vec::new(),
    };
    Outcome { expected, priced: None, tokens, changes }
}

fn whole(record: &Record) -> (Expected, Option<Tokens>) {
    if record.status != 200 {
        return (provider_error(record), Some((0, 0, 0, 0)));
    }
    let value: Value = serde_json::from_slice(&record.body).unwrap_or_default();
    let reports_error = value.get("error").is_some_and(|error| !error.is_null());
    // Azure once reports a filtered prompt as an error with status 200, which is no answer for any client.
    if !value.is_object() || (reports_error && record.kind != Kind::Responses) {
        return (ours(), Some((0, 0, 0, 0)));
    }
    (Expected::Bytes(record.body.clone()), value.get("usage").and_then(|usage| tokens(record.kind, usage)))
}

/// Nothing of the provider's passes.
fn ours() -> Expected {
    Expected::Error { status: 502, kind: Some("server_error".to_owned()), code: Some("upstream_error".to_owned()) }
}

/// Refused credentials are the gateway's business, and their texts may hold keys; what is about the request passes.
fn provider_error(record: &Record) -> Expected {
    let text = String::from_utf8_lossy(&record.body);
    let blames_key = matches!(record.status, 401 | 403) || text.contains("Incorrect API key");
    if blames_key || !matches!(record.status, 400 | 404 | 413 | 422 | 429) {
        return ours();
    }
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let error = value.get("error").filter(|error| error.is_object()).unwrap_or(&value);
    // A code that is a number repeats the status.
    let word = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    Expected::Error { status: record.status, kind: word("type"), code: word("code") }
}

/// How a stream stands after an event.
enum Step {
    Send,
    Hide,
    Done,
    Fail,
}

#[derive(Default)]
struct Progress {
    seen: Vec<u64>,
    finished: Vec<u64>,
    usage: Option<Tokens>,
}

fn stream(record: &Record) -> Outcome {
    let (mut sent, mut rest, mut progress) = (Vec::new(), record.body.as_slice(), Progress::default());
    let mut priced = Vec::new();
    let mut changes = Vec::new();
    let (mut done, mut failed) = (false, false);
    while !done && !failed && !rest.is_empty() {
        let (event, whole) = next_event(rest);
        rest = &rest[event.len()..];
        match progress.step(record, event) {
            Step::Hide if record.kind == Kind::Responses => changes.push("end mark dropped"),
            Step::Hide => changes.push("usage chunk hidden"),
            Step::Fail => failed = true,
            step @ (Step::Send | Step::Done) => {
                sent.extend_from_slice(event);
                priced.extend_from_slice(&progress.with_cost(record.kind, event));
                if !whole {
                    // Clients do not see an event before its blank line.
                    sent.extend_from_slice(b"\n\n");
                    priced.extend_from_slice(b"\n\n");
                    changes.push("blank line added");
                }
                done = matches!(step, Step::Done);
            }
        }
    }
    let complete = !progress.seen.is_empty() && progress.seen.iter().all(|index| progress.finished.contains(index));
    if !done && !failed && complete {
        sent.extend_from_slice(b"data: [DONE]\n\n");
        priced.extend_from_slice(b"data: [DONE]\n\n");
        changes.push("end mark added");
        done = true;
    }
    if !rest.is_empty() {
        changes.push("rest behind the end dropped");
    }
    if !done {
        changes.push("ended with our error");
    }
    if priced != sent {
        changes.push("cost told, where there is a price");
    }
    let end = if done { Expected::Bytes } else { Expected::Broken };
    Outcome { expected: end(sent), priced: Some(end(priced)), tokens: progress.usage, changes }
}

impl Progress {
    fn step(&mut self, record: &Record, event: &[u8]) -> Step {
        let text = String::from_utf8_lossy(event);
        let field = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim_start().to_owned());
            text.split(['\n', '\r']).filter_map(value).collect::<Vec<_>>()
        };
        let message = field("data").join("\n");
        let is_done = message.trim() == "[DONE]";
        if record.kind == Kind::Responses {
            return self.response_step(&message, is_done);
        }
        if is_done {
            return Step::Done;
        }
        // GPUStack has a field of this name, Groq an event.
        if !field("error").is_empty() || field("event").iter().any(|name| name == "error") {
            return Step::Fail;
        }
        let value: Value = serde_json::from_str(&message).unwrap_or_default();
        for path in ["/usage", "/x_groq/usage"] {
            let stated = value.pointer(path).and_then(|usage| tokens(record.kind, usage));
            self.usage = stated.or(self.usage);
        }
        if value.get("error").is_some_and(|error| !error.is_null()) {
            return Step::Fail;
        }
        let choices = value["choices"].as_array();
        for choice in choices.into_iter().flatten() {
            let index = choice["index"].as_u64().unwrap_or(0);
            self.seen.push(index);
            if !choice["finish_reason"].is_null() {
                self.finished.push(index);
            }
        }
        // The gateway asks for usage always; who did not ask does not get a chunk without choices.
        let only_usage = choices.is_some_and(Vec::is_empty) && value["usage"].is_object();
        if only_usage && record.request.pointer("/stream_options/include_usage") != Some(&Value::Bool(true)) {
            return Step::Hide;
        }
        Step::Send
    }

    /// The event with the cost by the usage so far, if the stream is complete and the event states a usage.
    fn with_cost(&self, kind: Kind, event: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(event.to_vec()).unwrap();
        let message = text.lines().find_map(|line| line.strip_prefix("data:")).unwrap_or_default();
        let value: Value = serde_json::from_str(message).unwrap_or_default();
        let place = if kind == Kind::Responses { "/response/usage" } else { "/usage" };
        let usage = value.pointer(place).and_then(|usage| tokens(kind, usage));
        let is_complete = match kind {
            Kind::Responses => true,
            _ => !self.seen.is_empty() && self.seen.iter().all(|index| self.finished.contains(index)),
        };
        let (Some((input, output, cached, _)), true) = (usage, is_complete) else {
            return event.to_vec();
        };
        // The price of the test: 1, 2 and 0.5 USD per million tokens.
        let cached = cached.min(input);
        let nano = (input - cached) * 1_000 + cached * 500 + output * 2_000;
        let cost = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
        let object = text.rfind("\"usage\"").unwrap() + 7;
        let object = object + text[object..].find('{').unwrap();
        let end = object + value_bytes(&text[object..]);
        let told = match text[object..end].find("\"cost\":") {
            Some(at) => {
                let at = object + at + 7;
                format!(
                    "{}{cost}{}",
                    &text[..at],
                    text[at..].trim_start().split_at(value_bytes(text[at..].trim_start())).1
                )
            }
            None => format!("{},\"cost\":{cost}{}", &text[..end - 1], &text[end - 1..]),
        };
        told.into_bytes()
    }

    /// This wire has no `[DONE]`: OpenRouter sends it all the same.
    fn response_step(&mut self, message: &str, is_done: bool) -> Step {
        if is_done {
            return Step::Hide;
        }
        let value: Value = serde_json::from_str(message).unwrap_or_default();
        let stated = value.pointer("/response/usage").and_then(|usage| tokens(Kind::Responses, usage));
        self.usage = stated.or(self.usage);
        match value["type"].as_str() {
            Some("response.completed" | "response.incomplete" | "response.failed") => Step::Done,
            _ => Step::Send,
        }
    }
}

/// Length of the JSON value at the start of a text.
fn value_bytes(text: &str) -> usize {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next().unwrap().unwrap();
    values.byte_offset()
}

/// The next event with its blank line, and whether that is there.
fn next_event(rest: &[u8]) -> (&[u8], bool) {
    let mut at = 0;
    while at < rest.len() {
        let end = memchr::memchr2(b'\n', b'\r', &rest[at..]).map_or(rest.len(), |length| at + length);
        let is_blank = end == at;
        at = match rest.get(end..) {
            Some([b'\r', b'\n', ..]) => end + 2,
            Some([_, ..]) => end + 1,
            _ => return (rest, false),
        };
        if is_blank {
            return (&rest[..at], true);
        }
    }
    (rest, false)
}

fn tokens(kind: Kind, usage: &Value) -> Option<Tokens> {
    let count = |paths: &[&str]| paths.iter().find_map(|path| usage.pointer(path)?.as_u64());
    let most = |paths: &[&str]| paths.iter().filter_map(|path| usage.pointer(path)?.as_u64()).max().unwrap_or(0);
    // Some providers state only a total for embeddings, and all of it is input.
    let total = (kind == Kind::Embeddings).then(|| count(&["/total_tokens"])).flatten();
    let input = count(&["/prompt_tokens", "/input_tokens"]).or(total);
    let output = count(&["/completion_tokens", "/output_tokens"]);
    if input.is_none() && output.is_none() {
        return None;
    }
    let cached = most(&[
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/prompt_cache_hit_tokens",
        "/cached_tokens",
        "/num_cached_tokens",
    ]);
    let reasoning = most(&[
        "/completion_tokens_details/reasoning_tokens",
        "/output_tokens_details/reasoning_tokens",
        "/reasoning_tokens",
    ]);
    let (mut input, mut output) = (input.unwrap_or(0), output.unwrap_or(0));
    // xAI states reasoning beside the output in Chat, Mistral sound beside the input: the total shows it.
    let heard = most(&["/prompt_tokens_details/audio_tokens"]);
    let apart = count(&["/total_tokens"]).unwrap_or(0).saturating_sub(input + output);
    if apart > 0 && apart == reasoning {
        output += apart;
    } else if apart > 0 && apart == heard {
        input += apart;
    }
    Some((input, output, cached, reasoning))
}

//! Recorded traffic through every view.

use serde_json::Value;

use super::corpus::{Record, records};
use super::request::assert_view_equals;
use crate::base::TokenCounts;
use crate::wire::{
    Action, Edits, End, Endpoint, Limits, Splitter, SseLimits, StreamWatch, said_in_answer, view_answer, view_request,
    view_upstream_error,
};

/// Reads counts by serde_json, as the reference lists the fields.
fn expected_usage(endpoint: Endpoint, usage: &Value) -> Option<TokenCounts> {
    let first = |paths: &[&str]| paths.iter().find_map(|path| usage.pointer(path)?.as_u64());
    let total = match endpoint {
        Endpoint::Embeddings => first(&["/total_tokens"]),
        _ => None,
    };
    let input = first(&["/prompt_tokens", "/input_tokens"]).or(total);
    let output = first(&["/completion_tokens", "/output_tokens"]);
    if input.is_none() && output.is_none() {
        return None;
    }
    let largest = |paths: &[&str]| {
        let counts = paths.iter().filter_map(|path| usage.pointer(path)?.as_u64());
        counts.max().unwrap_or(0)
    };
    let (mut input, mut output) = (input.unwrap_or(0), output.unwrap_or(0));
    let reasoning = largest(&[
        "/completion_tokens_details/reasoning_tokens",
        "/output_tokens_details/reasoning_tokens",
        "/reasoning_tokens",
    ]);
    let audio_input = largest(&["/prompt_tokens_details/audio_tokens", "/input_tokens_details/audio_tokens"]);
    // Some providers state these beside input and output: their total shows it.
    let apart = first(&["/total_tokens"]).unwrap_or(0).saturating_sub(input + output);
    if apart > 0 && apart == reasoning {
        output += apart;
    } else if apart > 0 && apart == audio_input {
        input += apart;
    }
    Some(TokenCounts {
        input,
        output,
        audio_input,
        audio_output: largest(&["/completion_tokens_details/audio_tokens", "/output_tokens_details/audio_tokens"]),
        cache_read: largest(&[
            "/prompt_tokens_details/cached_tokens",
            "/input_tokens_details/cached_tokens",
            "/prompt_cache_hit_tokens",
            "/cached_tokens",
            "/num_cached_tokens",
        ]),
        cache_write: largest(&[
            "/prompt_tokens_details/cache_write_tokens",
            "/input_tokens_details/cache_write_tokens",
        ]),
        reasoning,
        image_input: largest(&["/prompt_tokens_details/image_tokens", "/input_tokens_details/image_tokens"]),
        image_output: largest(&["/completion_tokens_details/image_tokens", "/output_tokens_details/image_tokens"]),
        ..TokenCounts::default()
    })
}

/// Searches and pictures stand in other places too: the prices of recorded answers check them.
fn of_tokens(counts: TokenCounts) -> TokenCounts {
    TokenCounts { searches: 0, images: 0, ..counts }
}

fn is_model(value: &Value) -> bool {
    value.as_str().is_some_and(|name| {
        (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
    })
}

#[test]
fn every_recorded_request_is_accepted_and_viewed_as_serde_json_does() {
    let mut count = 0;
    for (endpoint, mut record) in records() {
        let case = record.case();
        let Some(request) = record.request.as_mut().and_then(Value::as_object_mut) else {
            continue;
        };
        // Clients of ours name `project/route`; recorded names may have a `:` or stand in the path.
        if !request.get("model").is_some_and(is_model) {
            request.insert("model".to_owned(), "project/route".into());
        }
        let value = Value::from(request.clone());
        let compact = serde_json::to_vec(&value).unwrap();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        for body in [compact, pretty] {
            let view = view_request(endpoint, &body, &Limits::default()).unwrap();
            assert_view_equals(&view, &body, &value, &case);
            let mut edits = Edits::new();
            edits.set_model(&view, b"\"up\"");
            let mut sent = Vec::new();
            edits.write(&body, &mut sent);
            let mut want = value.clone();
            want["model"] = "up".into();
            assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), want, "{case}");
        }
        count += 1;
    }
    println!("{count} requests");
}

#[test]
fn every_recorded_answer_is_read_with_its_usage() {
    let (mut count, mut with_usage) = (0, 0);
    for (endpoint, record) in records() {
        let is_answer = matches!(record.status, Some(200) | None) && record.framing == "json";
        let Some(body) = record.body.as_ref().filter(|_| is_answer) else {
            continue;
        };
        let case = record.case();
        let value: Value = serde_json::from_str(body).unwrap();
        let Some(object) = value.as_object() else {
            continue;
        };
        let view = view_answer(endpoint, body.as_bytes()).unwrap();
        let usage = object.get("usage").and_then(|usage| expected_usage(endpoint, usage));
        assert_eq!(view.usage.map(of_tokens), usage, "{case}");
        let text = |span: crate::wire::Span| serde_json::from_slice(span.of(body.as_bytes())).unwrap();
        let model = object.get("model").filter(|model| model.is_string());
        assert_eq!(view.model.map(text).as_ref(), model, "{case}");
        let error = object.get("error").filter(|error| !error.is_null());
        assert_eq!(view.error.map(text).as_ref(), error, "{case}");
        count += 1;
        with_usage += usize::from(usage.is_some());
    }
    println!("{count} answers, {with_usage} with usage");
}

/// What a naive reader sees in a stream: the JSON of its messages, and the marks of an end.
#[derive(Default)]
struct Naive {
    usage: Option<TokenCounts>,
    finish: bool,
    done: bool,
    error: bool,
    terminal: Option<String>,
}

fn read_naively(endpoint: Endpoint, body: &str) -> Naive {
    let mut naive = Naive::default();
    for line in body.lines() {
        naive.error |= line.starts_with("error:") || line == "event: error";
        let Some(text) = line.strip_prefix("data:") else {
            continue;
        };
        naive.done |= text.trim() == "[DONE]";
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        if naive.error && endpoint != Endpoint::Responses {
            return naive;
        }
        naive.error |= value.get("error").is_some_and(|error| !error.is_null());
        naive.finish |= value.pointer("/choices/0/finish_reason").is_some_and(|f| !f.is_null());
        if let Some(kind) = value["type"].as_str()
            && matches!(kind, "response.completed" | "response.incomplete" | "response.failed")
        {
            naive.terminal = Some(kind.to_owned());
        }
        for path in ["/usage", "/x_groq/usage", "/response/usage"] {
            let usage = value.pointer(path).and_then(|usage| expected_usage(endpoint, usage));
            naive.usage = usage.or(naive.usage);
        }
        if naive.error && endpoint != Endpoint::Responses {
            return naive;
        }
    }
    naive
}

impl Naive {
    fn end(&self, endpoint: Endpoint) -> End {
        match (endpoint, self.terminal.as_deref()) {
            (Endpoint::Responses, Some("response.failed")) => End::Failed,
            (Endpoint::Responses, Some(_)) => End::Clean,
            (Endpoint::Responses, None) => End::Truncated,
            _ if self.error => End::Failed,
            _ if self.done => End::Clean,
            _ if self.finish => End::AddDone,
            _ => End::Truncated,
        }
    }
}

/// Relays a stream as a worker would: pieces come in, whole events go out. Gives what the client got and the watch.
fn relay(endpoint: Endpoint, body: &[u8], seed: u64) -> (Vec<u8>, bool, StreamWatch) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut splitter = Splitter::new(SseLimits::default());
    let mut watch = StreamWatch::new(endpoint, false);
    let (mut buf, mut sent, mut dropped, mut rest) = (Vec::new(), Vec::new(), false, body);
    while !rest.is_empty() {
        let size_max = if seed.is_multiple_of(2) { 40 } else { 4_000 };
        let (piece, after) = rest.split_at(random.usize(1..=size_max).min(rest.len()));
        rest = after;
        buf.extend_from_slice(piece);
        let mut from = 0;
        while let Some(end) = splitter.next_event(&buf, from).unwrap() {
            match watch.observe(&buf[from..end]) {
                Action::Pass => sent.extend_from_slice(&buf[from..end]),
                _ => dropped = true,
            }
            from = end;
        }
        buf.drain(..from);
    }
    if watch.observe_tail(&buf) == Action::Pass {
        sent.extend_from_slice(&buf);
    }
    (sent, dropped, watch)
}

#[test]
fn every_recorded_stream_is_relayed_byte_for_byte_and_ends_as_recorded() {
    let (mut count, mut failed, mut added) = (0, 0, 0);
    for (endpoint, record) in records() {
        let Some(body) = record.body.as_ref().filter(|_| record.framing == "sse") else {
            continue;
        };
        let case = record.case();
        let naive = read_naively(endpoint, body);
        for seed in 0..6 {
            let (sent, dropped, watch) = relay(endpoint, body.as_bytes(), seed);
            assert_eq!(watch.end(), naive.end(endpoint), "{case}");
            assert_eq!(watch.usage().map(of_tokens), naive.usage, "{case}");
            // What is kept back stands at the end: a failure, or `[DONE]` where the wire has none.
            assert!(body.as_bytes().starts_with(&sent), "{case}");
            assert!(dropped || sent.len() == body.len(), "{case}");
            let may_drop = watch.end() == End::Failed || endpoint == Endpoint::Responses;
            assert!(!dropped || may_drop, "{case}");
        }
        count += 1;
        failed += usize::from(naive.end(endpoint) == End::Failed);
        added += usize::from(naive.end(endpoint) == End::AddDone);
    }
    println!("{count} streams, {failed} failed, {added} without an end marker");
}

/// Characters a token: a floor for what an answer has cost. No provider may fall below it that says what is true.
/// A client may leave at any event: the items that it has seen tell what the final list of them says.
#[test]
fn every_recorded_search_is_seen_before_the_final_event() {
    let (mut searched, mut drawn) = (0, 0);
    for (endpoint, record) in records() {
        let streams = record.framing == "sse" && endpoint == Endpoint::Responses;
        let Some(body) = record.body.as_ref().filter(|_| streams) else { continue };
        let (_, _, watch) = relay(endpoint, body.as_bytes(), 1);
        let Some(usage) = watch.usage() else { continue };
        let (searches, images) = watch.made_so_far();
        // Some count a search with several questions as several.
        assert!(
            searches <= usage.searches || usage.searches == 0,
            "{}: {searches} of {}",
            record.case(),
            usage.searches
        );
        assert_eq!(searches > 0, usage.searches > 0, "{}", record.case());
        assert_eq!(images, usage.images, "{}", record.case());
        searched += searches;
        drawn += images;
    }
    println!("{searched} searches, {drawn} pictures");
}

#[test]
fn no_recorded_answer_states_fewer_tokens_than_half_of_its_text() {
    let (mut count, mut tightest) = (0, (f64::MAX, String::new()));
    for (endpoint, record) in records() {
        let Some(body) = record.body.as_ref() else { continue };
        let (stated, said) = match record.framing.as_str() {
            "sse" => {
                let (_, _, watch) = relay(endpoint, body.as_bytes(), 1);
                (watch.usage(), watch.said_chars())
            }
            _ => {
                let view = view_answer(endpoint, body.as_bytes());
                (view.ok().and_then(|view| view.usage), said_in_answer(endpoint, body.as_bytes()))
            }
        };
        let Some(stated) = stated.filter(|_| said > 0) else { continue };
        count += 1;
        let case = format!("{}: {} tokens for {said} characters", record.case(), stated.output);
        assert!(stated.output + 16 >= said / 8, "{case}");
        let ratio = (stated.output + 16) as f64 * 8.0 / said as f64;
        if ratio < tightest.0 {
            tightest = (ratio, case);
        }
    }
    println!("{count} answers with text and usage; the tightest has {:.2} of the floor, {}", tightest.0, tightest.1);
}

#[test]
fn a_hidden_usage_chunk_is_the_only_one_missing() {
    let mut count = 0;
    for (endpoint, record) in records() {
        let Some(body) = record.body.as_ref().filter(|_| record.framing == "sse") else {
            continue;
        };
        let mut splitter = Splitter::new(SseLimits::default());
        let mut watch = StreamWatch::new(endpoint, true);
        let mut from = 0;
        while let Some(end) = splitter.next_event(body.as_bytes(), from).unwrap() {
            let event = &body[from..end];
            if watch.observe(event.as_bytes()) == Action::Hide {
                let text = event.trim().strip_prefix("data:").unwrap();
                let value: Value = serde_json::from_str(text).unwrap();
                assert_eq!(value["choices"], Value::Array(Vec::new()), "{}", record.case());
                assert!(value["usage"].is_object(), "{}", record.case());
                count += 1;
            }
            from = end;
        }
    }
    println!("{count} usage chunks");
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[test]
fn every_recorded_error_keeps_status_type_code_and_param() {
    let (mut kept, mut rewritten) = (0, 0);
    for (_, record) in records() {
        let Record { status: Some(status @ 400..), body: Some(body), .. } = &record else {
            continue;
        };
        let case = record.case();
        let error = view_upstream_error(*status, body.as_bytes());
        let mut out = Vec::new();
        error.write_body(&mut out);
        let sent: Value = serde_json::from_slice(&out).unwrap();
        let names: Vec<&String> = sent["error"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["message", "type", "param", "code"], "{case}");
        let is_auth = matches!(status, 401 | 403) || body.contains("Incorrect API key");
        if is_auth {
            assert_eq!((error.client_status(), &sent["error"]["code"]), (502, &"upstream_error".into()), "{case}");
            rewritten += 1;
            continue;
        }
        assert_eq!(error.client_status(), *status, "{case}");
        let value: Value = serde_json::from_str(body).unwrap();
        let theirs = value.get("error").filter(|error| error.is_object()).unwrap_or(&value);
        for name in ["type", "code", "param"] {
            let is_known_better = name == "code" && theirs[name].is_number();
            if let Some(text) = text_of(&theirs[name]).filter(|_| !is_known_better) {
                assert_eq!(text_of(&sent["error"][name]), Some(text), "{case}: {name}");
            }
        }
        kept += 1;
    }
    println!("{kept} kept, {rewritten} rewritten");
}

//! Splitting and watching a stream against other ways.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use memchr::memmem::Finder;
use millrace::wire::{Action, End, Endpoint, Splitter, SseLimits, StreamWatch};

const EVENTS: usize = 100;

/// A stream as OpenAI sends it; with `fresh_ids` every event has another id, so that no two begin alike.
fn chat_stream(fresh_ids: bool) -> Vec<u8> {
    let mut out = String::new();
    for at in 0..EVENTS {
        let id = if fresh_ids { at } else { 7 };
        let word = if at % 2 == 0 { "mill " } else { "\\n\\n" };
        out += &format!(
            "data: {{\"id\":\"chatcmpl-{id:028}\",\"object\":\"chat.completion.chunk\",\"created\":1772012052,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null}}\n\n"
        );
    }
    out +=
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
    out += "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":100}}\n\ndata: [DONE]\n\n";
    out.into_bytes()
}

fn responses_stream() -> Vec<u8> {
    let mut out = String::new();
    for at in 0..EVENTS {
        out += &format!(
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"content_index\":0,\"delta\":\" mill\",\"item_id\":\"msg_0f33dc8eeb4f9cc000699ec454c0588197941317eed828e6a9\",\"logprobs\":[],\"obfuscation\":\"aBcDeFgHiJk\",\"output_index\":0,\"sequence_number\":{at}}}\n\n"
        );
    }
    out += "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":9,\"output_tokens\":100}},\"sequence_number\":100}\n\n";
    out.into_bytes()
}

fn split(stream: &[u8]) -> usize {
    let mut splitter = Splitter::new(SseLimits::default());
    let (mut from, mut count) = (0, 0);
    while let Some(end) = splitter.next_event(stream, from).unwrap() {
        from = end;
        count += 1;
    }
    count
}

fn split_and_watch(endpoint: Endpoint, stream: &[u8]) -> End {
    let mut splitter = Splitter::new(SseLimits::default());
    let mut watch = StreamWatch::new(endpoint, false);
    let mut from = 0;
    while let Some(end) = splitter.next_event(stream, from).unwrap() {
        let action = watch.observe(stream.get(from..end).unwrap());
        assert_eq!(action, Action::Pass);
        from = end;
    }
    watch.end()
}

/// A byte loop that looks for two line feeds.
fn naive_split(stream: &[u8]) -> usize {
    let (mut count, mut last) = (0, 0u8);
    for &byte in stream {
        if byte == b'\n' && last == b'\n' {
            count += 1;
            last = 0;
            continue;
        }
        last = byte;
    }
    count
}

/// Three searches an event instead of a scan: what a relay does that knows no structure.
fn memmem_watch(stream: &[u8], finders: &[Finder<'_>; 3]) -> usize {
    let mut splitter = Splitter::new(SseLimits::default());
    let (mut from, mut hits) = (0, 0);
    while let Some(end) = splitter.next_event(stream, from).unwrap() {
        let event = stream.get(from..end).unwrap();
        hits += finders_hit(event, finders);
        from = end;
    }
    hits
}

fn finders_hit(event: &[u8], finders: &[Finder<'_>; 3]) -> usize {
    finders.iter().filter(|finder| finder.find(event).is_some()).count()
}

/// Every event into a `Value`.
fn serde_watch(stream: &[u8]) -> usize {
    let text = std::str::from_utf8(stream).unwrap();
    text.split("\n\n")
        .filter_map(|event| event.split("data: ").nth(1))
        .filter_map(|text| serde_json::from_str::<serde_json::Value>(text).ok())
        .filter(|value| value.pointer("/choices/0/finish_reason").is_some_and(|f| !f.is_null()))
        .count()
}

fn bench(c: &mut Criterion) {
    let finders = [Finder::new("\"finish_reason\":\""), Finder::new("\"usage\":{"), Finder::new("\"error\":")];
    for (name, endpoint, stream) in [
        ("chat", Endpoint::Chat, chat_stream(false)),
        ("chat_fresh_ids", Endpoint::Chat, chat_stream(true)),
        ("responses", Endpoint::Responses, responses_stream()),
    ] {
        let mut group = c.benchmark_group(format!("sse/{name}"));
        group.throughput(Throughput::Elements(EVENTS as u64));
        group.bench_function("split", |b| b.iter(|| split(black_box(&stream))));
        group.bench_function("split_and_watch", |b| {
            b.iter(|| split_and_watch(endpoint, black_box(&stream)));
        });
        group.bench_function("naive_split", |b| b.iter(|| naive_split(black_box(&stream))));
        group.bench_function("split_and_memmem", |b| {
            b.iter(|| memmem_watch(black_box(&stream), &finders));
        });
        group.bench_function("serde_json_value", |b| b.iter(|| serde_watch(black_box(&stream))));
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);

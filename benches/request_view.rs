//! The request view against other ways to read a body.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace::wire::{Edits, Endpoint, Limits, view_request};

/// A chat body of about this many bytes, as an SDK would send it.
fn body(content_bytes: usize) -> Vec<u8> {
    let text = "Please explain in two sentences how a water wheel drives a mill. ";
    let content = text.repeat(content_bytes / text.len() + 1);
    let body = serde_json::json!({
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": content.get(..content_bytes).unwrap()},
        ],
        "model": "support/chat",
        "temperature": 0.2,
        "max_tokens": 256,
        "stream": true,
        "stream_options": {"include_usage": true},
        "user": "user-1234",
    });
    serde_json::to_vec(&body).unwrap()
}

/// A body with many small values: tools and an agent's history.
fn agent_body() -> Vec<u8> {
    let tool = serde_json::json!({"type": "function", "function": {"name": "get_weather", "description": "Current weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city"], "additionalProperties": false}, "strict": true}});
    let turn = serde_json::json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
        "function": {"name": "get_weather", "arguments": "{\"city\":\"Ulm\",\n\"days\":3}"}}]});
    let body = serde_json::json!({"model": "support/chat", "tools": vec![tool; 12], "messages": vec![turn; 40]});
    serde_json::to_vec(&body).unwrap()
}

/// What a first sketch would do: one loop over the bytes that counts depth, checks nothing and finds `model`.
fn naive_model(body: &[u8]) -> Option<&[u8]> {
    let (mut depth, mut in_string, mut escaped, mut start) = (0i32, false, false, 0);
    let mut is_model = false;
    for (at, &byte) in body.iter().enumerate() {
        if in_string {
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                in_string = false;
                if depth == 1 {
                    let text = body.get(start..at)?;
                    if is_model {
                        return Some(text);
                    }
                    is_model = text == b"model";
                }
            }
            continue;
        }
        match byte {
            b'"' => {
                in_string = true;
                start = at + 1;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' => is_model = false,
            _ => {}
        }
    }
    None
}

fn sonic_model(body: &[u8]) -> Option<usize> {
    let mut found = None;
    for member in sonic_rs::to_object_iter(body) {
        let (name, value) = member.ok()?;
        if name == "model" {
            found = Some(value.as_raw_str().len());
        }
    }
    found
}

fn bench(c: &mut Criterion) {
    let bodies = [("800B", body(520)), ("26KiB", body(26 << 10)), ("agent", agent_body())];
    for (name, body) in &bodies {
        let mut group = c.benchmark_group(format!("request_view/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        let limits = Limits::default();
        group.bench_function("view_request", |b| {
            b.iter(|| view_request(Endpoint::Chat, black_box(body), &limits).unwrap());
        });
        group.bench_function("view_and_splice", |b| {
            let mut out = Vec::with_capacity(body.len() + 64);
            b.iter(|| {
                let view = view_request(Endpoint::Chat, black_box(body), &limits).unwrap();
                let mut edits = Edits::new();
                edits.set_model(&view, b"\"gpt-4o-mini\"");
                out.clear();
                edits.write(body, &mut out);
                out.len()
            });
        });
        group.bench_function("serde_json_value", |b| {
            b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(body)).unwrap());
        });
        group.bench_function("sonic_rs_value", |b| {
            b.iter(|| sonic_rs::from_slice::<sonic_rs::Value>(black_box(body)).unwrap());
        });
        group.bench_function("sonic_rs_object_iter", |b| {
            b.iter(|| sonic_model(black_box(body)).unwrap());
        });
        group.bench_function("naive_loop_unchecked", |b| {
            b.iter(|| naive_model(black_box(body)).unwrap().len());
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);

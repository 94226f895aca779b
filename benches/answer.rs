//! The answer view against other ways to find usage.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace::wire::{Endpoint, view_answer};

fn chat_answer() -> Vec<u8> {
    br#"{"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWx","object":"chat.completion","created":1772012052,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"A water wheel turns with the stream and drives the mill stones through gears.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":23,"completion_tokens":17,"total_tokens":40,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_0123456789"}"#.to_vec()
}

fn embedding_answer() -> Vec<u8> {
    let numbers: Vec<f64> = (0..1536u32).map(|i| f64::from(i).sin() / 40.0).collect();
    serde_json::to_vec(&serde_json::json!({
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": numbers}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }))
    .unwrap()
}

fn sonic_usage(body: &[u8]) -> Option<u64> {
    let mut found = None;
    for member in sonic_rs::to_object_iter(body) {
        let (name, value) = member.ok()?;
        if name == "usage" {
            let usage: serde_json::Value = serde_json::from_str(value.as_raw_str()).ok()?;
            found = usage.get("prompt_tokens")?.as_u64();
        }
    }
    found
}

fn bench(c: &mut Criterion) {
    for (name, endpoint, body) in
        [("chat", Endpoint::Chat, chat_answer()), ("embedding", Endpoint::Embeddings, embedding_answer())]
    {
        let mut group = c.benchmark_group(format!("answer/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("view_answer", |b| {
            b.iter(|| view_answer(endpoint, black_box(&body)).unwrap().usage.unwrap());
        });
        group.bench_function("serde_json_value", |b| {
            b.iter(|| {
                let value: serde_json::Value = serde_json::from_slice(black_box(&body)).unwrap();
                value.pointer("/usage/prompt_tokens").unwrap().as_u64()
            });
        });
        group.bench_function("sonic_rs_object_iter", |b| {
            b.iter(|| sonic_usage(black_box(&body)).unwrap());
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);

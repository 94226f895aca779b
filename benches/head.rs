//! Reading a request head against laxer and copying ways.
//!
//! Rivals: `httparse` without our rules, which shows what the rules cost, and a parser that owns every name and value.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace::http::{FIELDS_CEILING, HeadLimits, RequestHead, find_end, parse_request};

const LIMITS: HeadLimits = HeadLimits { bytes_max: 16 * 1024, fields_max: 100 };

/// The head that the OpenAI client library for Python sends.
const SDK_LINES: &[&str] = &[
    "POST /v1/chat/completions HTTP/1.1",
    "Host: gateway.example.com",
    "Accept-Encoding: gzip, deflate",
    "Connection: keep-alive",
    "Accept: application/json",
    "Content-Type: application/json",
    "User-Agent: OpenAI/Python 1.109.1",
    "X-Stainless-Lang: python",
    "X-Stainless-Package-Version: 1.109.1",
    "X-Stainless-OS: Linux",
    "X-Stainless-Arch: x64",
    "X-Stainless-Runtime: CPython",
    "X-Stainless-Runtime-Version: 3.12.3",
    "Authorization: Bearer mr_test_0a1b2c3d4e5f_0123456789012345678901234567890123456789012_012345",
    "X-Stainless-Async: false",
    "x-stainless-retry-count: 0",
    "x-stainless-read-timeout: 600",
    "Content-Length: 1234",
];

/// What proxies and tracing put on the way to us.
const ADDED_LINES: &[&str] = &[
    "X-Forwarded-For: 203.0.113.7, 198.51.100.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: gateway.example.com",
    "X-Forwarded-Port: 443",
    "X-Real-Ip: 203.0.113.7",
    "X-Request-Id: 5f0c1d2e-3b4a-4c5d-8e9f-001122334455",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate: vendor=00f067aa0ba902b7,other=t61rcWkgMzE",
    "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678",
    "Accept-Language: en-GB,en;q=0.9",
    "Cache-Control: no-cache",
    "Via: 1.1 proxy.example.com",
    "OpenAI-Organization: org-0123456789abcdef",
];

fn join(lines: &[&str]) -> Vec<u8> {
    let mut head = lines.join("\r\n");
    head += "\r\n\r\n";
    head.into_bytes()
}

/// The whole work of a worker: find the end, then parse what stands before it.
fn strict(bytes: &[u8]) -> RequestHead {
    let end = find_end(bytes, &mut 0, LIMITS.bytes_max).unwrap().unwrap();
    parse_request(bytes.get(..end).unwrap(), LIMITS).unwrap()
}

/// Takes the one field that no server can do without; what else there is, nobody looks at.
fn bare_httparse(bytes: &[u8]) -> usize {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_CEILING];
    let mut request = httparse::Request::new(&mut fields);
    assert!(request.parse(bytes).unwrap().is_complete());
    let length = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length")).unwrap();
    std::str::from_utf8(length.value).unwrap().parse().unwrap()
}

struct OwnedHead {
    method: String,
    path: String,
    fields: Vec<(String, String)>,
}

/// Text, lines, and a `String` for each part.
fn naive_owned(bytes: &[u8]) -> OwnedHead {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap().split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let fields = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    OwnedHead { method, path, fields }
}

fn naive_length(bytes: &[u8]) -> usize {
    let head = naive_owned(bytes);
    black_box((&head.method, &head.path));
    head.fields.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap()
}

fn bench(c: &mut Criterion) {
    let more = [SDK_LINES, ADDED_LINES].concat();
    assert_eq!(more.len(), 1 + 30, "a request line and 30 fields");
    for (name, head) in [("sdk_17_fields", join(SDK_LINES)), ("proxied_30_fields", join(&more))] {
        assert_eq!((bare_httparse(&head), naive_length(&head)), (1234, 1234));
        let mut group = c.benchmark_group(format!("head/{name}"));
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function("find_end", |b| {
            b.iter(|| find_end(black_box(&head), &mut 0, LIMITS.bytes_max).unwrap().unwrap());
        });
        group.bench_function("parse_request", |b| b.iter(|| parse_request(black_box(&head), LIMITS).unwrap()));
        group.bench_function("find_end_and_parse_request", |b| b.iter(|| strict(black_box(&head))));
        group.bench_function("rival_bare_httparse", |b| b.iter(|| bare_httparse(black_box(&head))));
        group.bench_function("rival_naive_owned", |b| b.iter(|| naive_length(black_box(&head))));
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);

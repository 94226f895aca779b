//! One relayed read of a stream, in place and by copies.
//!
//! Everything between the two system calls of a read: undo the provider's chunks, find the events, watch them, and frame
//! them anew. The in-place side is the loop of `http::Upstream` and `proxy` without sockets; the kernel's copy into the
//! buffer is played by one copy, on both sides.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace::http::{Buffer, CHUNK_END, ChunkDecoder, Step};
use millrace::wire::{Action, End, Endpoint, Splitter, SseLimits, StreamWatch};

const EVENTS: usize = 96;
/// Room that the relay asks for before each read.
const READ_BYTES: usize = 2_048;

/// A stream as OpenAI sends it, one event an item.
fn events() -> Vec<String> {
    let mut events: Vec<_> = (0..EVENTS)
        .map(|at| {
            let word = if at % 2 == 0 { "mill " } else { "\\n\\n" };
            format!(
                "data: {{\"id\":\"chatcmpl-0000000000000000000000000007\",\"object\":\"chat.completion.chunk\",\"created\":1772012052,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null}}\n\n"
            )
        })
        .collect();
    events.push(
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
            .into(),
    );
    events.push(
        "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":96}}\n\n".into(),
    );
    events.push("data: [DONE]\n\n".into());
    events
}

fn chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// The stream in the chunked coding, cut as reads deliver it.
fn reads_by_events(events_a_read: usize) -> Vec<Vec<u8>> {
    let chunks: Vec<_> = events().iter().map(|event| chunk(event)).collect();
    chunks.chunks(events_a_read).map(<[_]>::concat).collect()
}

/// As [`reads_by_events`], cut without regard to events.
fn reads_by_bytes(bytes_a_read: usize) -> Vec<Vec<u8>> {
    let whole = events().iter().flat_map(|event| chunk(event)).collect::<Vec<_>>();
    whole.chunks(bytes_a_read).map(<[u8]>::to_vec).collect()
}

/// The relay's state between two reads: decoded bytes, then raw ones, in one buffer.
struct InPlace {
    input: Buffer,
    plain: usize,
    decoder: ChunkDecoder,
    splitter: Splitter,
}

impl InPlace {
    fn new() -> Self {
        Self {
            input: Buffer::default(),
            plain: 0,
            decoder: ChunkDecoder::default(),
            splitter: Splitter::new(SseLimits::default()),
        }
    }

    /// Relays one read; `write` stands for the system call. Each whole event is shown to `watch`.
    fn relay(&mut self, read: &[u8], mut watch: impl FnMut(&[u8]), mut write: impl FnMut(&[u8])) {
        self.input.space(READ_BYTES).get_mut(..read.len()).unwrap().copy_from_slice(read);
        self.input.fill(read.len());
        self.decode();
        let mut from = 0;
        let body = self.input.filled().get(..self.plain).unwrap();
        while let Some(end) = self.splitter.next_event(body, from).unwrap() {
            watch(body.get(from..end).unwrap());
            from = end;
        }
        if from > 0 {
            let framed = self.input.frame_chunk(from, CHUNK_END);
            write(self.input.framed(&framed));
            self.plain -= from;
            self.input.unframe(&framed);
        }
    }

    fn decode(&mut self) {
        let mut at = self.plain;
        while let Step::Content(range) = self.decoder.step(self.input.filled(), &mut at).unwrap() {
            self.drop_raw(range.start);
            self.plain += range.len();
            at = self.plain;
        }
        self.drop_raw(at);
    }

    /// Drops the framing bytes between the body and `at`.
    fn drop_raw(&mut self, at: usize) {
        if self.plain == 0 {
            self.input.consume(at);
        } else {
            self.input.close_gap(self.plain, at);
        }
    }
}

/// What is written without care for copies: a body in a `Vec`, lines in `String`s, a chunk by `format!`.
struct Copying {
    raw: Vec<u8>,
    body: Vec<u8>,
    lines: Vec<String>,
    decoder: ChunkDecoder,
}

impl Copying {
    fn new() -> Self {
        Self { raw: Vec::new(), body: Vec::new(), lines: Vec::new(), decoder: ChunkDecoder::default() }
    }

    fn relay(&mut self, read: &[u8], mut watch: impl FnMut(&[u8]), mut write: impl FnMut(&[u8])) {
        self.raw.clear();
        self.raw.extend_from_slice(read);
        let mut at = 0;
        while let Step::Content(range) = self.decoder.step(&self.raw, &mut at).unwrap() {
            self.body.extend_from_slice(self.raw.get(range).unwrap());
        }
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', self.body.get(from..).unwrap()) {
            let line = String::from_utf8(self.body.get(from..from + length).unwrap().to_vec()).unwrap();
            from += length + 1;
            if !line.is_empty() {
                self.lines.push(line);
                continue;
            }
            let event = self.lines.join("\n") + "\n\n";
            self.lines.clear();
            watch(event.as_bytes());
            write(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
        }
        self.body.drain(..from);
    }
}

fn observe(watch: &mut StreamWatch, event: &[u8]) {
    assert_eq!(watch.observe(event), Action::Pass);
}

/// Every event into a `Value`, the usual way to learn of its end and its usage.
fn observe_value(event: &[u8], ends: &mut usize) {
    let text = event.trim_ascii_end().strip_prefix(b"data: ").unwrap();
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(text)
        && value.pointer("/choices/0/finish_reason").is_some_and(|reason| !reason.is_null())
    {
        *ends += 1;
    }
}

/// Both sides must deliver the same stream, else their times mean nothing.
fn check_agreement(reads: &[Vec<u8>]) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut in_place, mut copying) = (InPlace::new(), Copying::new());
    for read in reads {
        in_place.relay(read, |_| (), |bytes| ours.extend_from_slice(bytes));
        copying.relay(read, |_| (), |bytes| theirs.extend_from_slice(bytes));
    }
    let decoded = |bytes: &[u8]| {
        let (mut decoder, mut at, mut out) = (ChunkDecoder::default(), 0, Vec::new());
        while let Step::Content(range) = decoder.step(bytes, &mut at).unwrap() {
            out.extend_from_slice(bytes.get(range).unwrap());
        }
        out
    };
    let want = events().concat().into_bytes();
    assert!(decoded(&ours) == want && decoded(&theirs) == want, "the relayed streams differ");
}

fn sink(bytes: &[u8]) {
    black_box(bytes);
}

fn bench(c: &mut Criterion) {
    for (name, reads) in [
        ("one_event_a_read", reads_by_events(1)),
        ("four_events_a_read", reads_by_events(4)),
        ("cut_at_1448_bytes", reads_by_bytes(1_448)),
    ] {
        check_agreement(&reads);
        let mut group = c.benchmark_group(format!("relay/{name}"));
        group.throughput(Throughput::Elements(reads.len() as u64));
        group.bench_function("in_place_unwatched", |b| {
            b.iter(|| {
                let mut relay = InPlace::new();
                black_box(&reads).iter().for_each(|read| relay.relay(read, |_| (), sink));
            });
        });
        group.bench_function("in_place_watched", |b| {
            b.iter(|| {
                let (mut relay, mut watch) = (InPlace::new(), StreamWatch::new(Endpoint::Chat, false));
                black_box(&reads).iter().for_each(|read| relay.relay(read, |event| observe(&mut watch, event), sink));
                assert_eq!(watch.end(), End::Clean);
            });
        });
        group.bench_function("rival_copying_unwatched", |b| {
            b.iter(|| {
                let mut relay = Copying::new();
                black_box(&reads).iter().for_each(|read| relay.relay(read, |_| (), sink));
            });
        });
        group.bench_function("rival_copying_serde_json", |b| {
            b.iter(|| {
                let (mut relay, mut ends) = (Copying::new(), 0);
                black_box(&reads).iter().for_each(|read| relay.relay(read, |e| observe_value(e, &mut ends), sink));
                assert_eq!(ends, 1);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);

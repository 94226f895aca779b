//! Recording a request: own blocks against shared counters.
//!
//! Rivals: a locked map of histograms, and counters that all threads share with `fetch_add`, as the usual client libraries do.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use millrace::base::{Labels, NanoUsd, TokenCounts};
use millrace::metrics::{Endpoint, Observation, Outside, Registry};

fn labels(project: usize) -> Arc<Labels> {
    Arc::new(Labels {
        organization: "acme".into(),
        project: format!("project-{project}").into(),
        route: "chat".into(),
        provider: "openai".into(),
        model: "gpt-4o".into(),
        target: "t".into(),
    })
}

fn observation(step: u64) -> Observation {
    Observation {
        endpoint: Endpoint::Chat,
        status: 200,
        stream: false,
        duration: Duration::from_micros(1_000 + step % 100_000),
        overhead: Duration::from_nanos(15_000 + step % 40_000),
        ttft: Some(Duration::from_micros(900 + step % 50_000)),
        tokens: TokenCounts { input: 200, output: 50, ..TokenCounts::default() },
        cost: NanoUsd(60_000),
    }
}

const BOUNDS_US: [u64; 20] = [
    1_250,
    2_500,
    5_000,
    10_000,
    20_000,
    40_000,
    80_000,
    160_000,
    320_000,
    640_000,
    1_280_000,
    2_560_000,
    5_120_000,
    10_240_000,
    20_480_000,
    40_960_000,
    81_920_000,
    163_840_000,
    327_680_000,
    655_360_000,
];

#[derive(Default)]
struct SharedHistogram {
    counts: [AtomicU64; BOUNDS_US.len()],
    over: AtomicU64,
    sum_us: AtomicU64,
}

impl SharedHistogram {
    fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_US.iter().position(|bound| us <= *bound);
        place.and_then(|place| self.counts.get(place)).unwrap_or(&self.over).fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }
}

#[derive(Default)]
struct Shared {
    requests: AtomicU64,
    tokens: [AtomicU64; 5],
    duration: SharedHistogram,
    ttft: SharedHistogram,
    overhead: SharedHistogram,
}

impl Shared {
    fn record(&self, seen: &Observation) {
        self.requests.fetch_add(1, Relaxed);
        let tokens = seen.tokens;
        for (cell, count) in self.tokens.iter().zip([
            tokens.input,
            tokens.output,
            tokens.cache_read,
            tokens.cache_write,
            tokens.reasoning,
        ]) {
            cell.fetch_add(count, Relaxed);
        }
        self.duration.record(seen.duration);
        self.overhead.record(seen.overhead);
        if let Some(ttft) = seen.ttft {
            self.ttft.record(ttft);
        }
    }
}

fn record(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    let registry = Registry::new(2);
    let series = registry.series(labels(0));
    let mut step = 0;
    group.bench_function("own block", |b| {
        b.iter(|| {
            step += 1;
            series.record(0, black_box(&observation(step)));
        });
    });
    let shared = Shared::default();
    group.bench_function("rival: shared fetch_add, handle kept", |b| {
        b.iter(|| {
            step += 1;
            shared.record(black_box(&observation(step)));
        });
    });
    let map: Mutex<HashMap<Arc<Labels>, Shared>> = Mutex::default();
    let key = labels(0);
    group.bench_function("rival: mutex map by labels", |b| {
        b.iter(|| {
            step += 1;
            if let Ok(mut map) = map.lock() {
                map.entry(Arc::clone(&key)).or_default().record(black_box(&observation(step)));
            }
        });
    });
    group.finish();
}

fn scrape(c: &mut Criterion) {
    let registry = Registry::new(2);
    for project in 0..1_000 {
        let series = registry.series(labels(project));
        series.record(0, &observation(7));
        series.record(1, &observation(8));
    }
    c.bench_function("scrape of 1,000 series", |b| {
        b.iter(|| {
            let mut scrape = registry.scrape(Outside::default());
            let mut bytes = 0;
            loop {
                let mut piece = String::with_capacity(80 * 1024);
                scrape.write(&mut piece, 64 * 1024);
                if piece.is_empty() {
                    break bytes;
                }
                bytes += piece.len();
            }
        });
    });
}

criterion_group!(benches, record, scrape);
criterion_main!(benches);

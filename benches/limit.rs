//! Taking from three limits and settling them.
//!
//! Rivals: three limiters of `governor`, which count a rate alone and cannot be settled to a true figure, and the same three
//! windows behind one mutex.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use millrace::limit::{Claim, Held, Kind, Kinds, Limit, LimitSet, MeterKey, Meters, Mode, Scope, Terms, Window};

const MAX: u64 = 1 << 50;

fn set(windows: [Window; 3]) -> LimitSet {
    let meters = Meters::in_memory();
    let kinds = [Kind::Requests, Kind::TotalTokens, Kind::Money];
    let limit = |(kind, window)| Limit {
        meter: meters.meter(&MeterKey { owner: "key:k".into(), kind, window }),
        terms: Terms::max(MAX),
        scope: Scope::Key,
        mode: Mode::Enforce,
        queue: None,
    };
    LimitSet::new(kinds.into_iter().zip(windows).map(limit).collect())
}

fn ours(set: &LimitSet, meters: &Meters) {
    let now = meters.now();
    let claim = Claim { input_tokens: 300, output_tokens: 1_000, money_nano: 50_000, ..Claim::request() };
    let used = Claim { output_tokens: 80, money_nano: 12_000, ..claim };
    let mut held = Held::default();
    if set.take(Kinds::ALL, black_box(&claim), now, &mut held).is_ok() {
        set.settle(&mut held, black_box(&used), now, |_| {});
    }
}

fn limiters() -> [DefaultDirectRateLimiter; 3] {
    [(); 3].map(|()| RateLimiter::direct(Quota::per_second(NonZeroU32::MAX)))
}

fn governed(limiters: &[DefaultDirectRateLimiter; 3]) {
    let amounts = [1, 1_300, 50_000].map(NonZeroU32::new);
    for (limiter, amount) in limiters.iter().zip(amounts) {
        if let Some(amount) = amount {
            let _ = black_box(limiter.check_n(black_box(amount)));
        }
    }
}

/// Beginning of the window and what is used, three times.
type Locked = Mutex<[(Instant, u64); 3]>;

fn locked(windows: &Locked) {
    let now = Instant::now();
    let (amounts, used) = ([1, 1_300, 50_000], [1, 380, 12_000]);
    if let Ok(mut windows) = windows.lock() {
        for ((begun, sum), amount) in windows.iter_mut().zip(amounts) {
            if now.duration_since(*begun) >= Duration::from_secs(60) {
                (*begun, *sum) = (now, 0);
            }
            if *sum + amount > MAX {
                return;
            }
            *sum += amount;
        }
    }
    if let Ok(mut windows) = windows.lock() {
        for ((_, sum), (amount, used)) in windows.iter_mut().zip(amounts.into_iter().zip(used)) {
            *sum -= amount - used;
        }
    }
}

/// Measures a step alone, and while another thread does the same without a pause.
fn measure(c: &mut Criterion, name: &str, step: impl Fn() + Send + Sync + 'static) {
    let step = Arc::new(step);
    c.bench_function(&format!("limit/alone/{name}"), |b| b.iter(|| step()));
    let stop = Arc::new(AtomicBool::new(false));
    let (other, stopped) = (Arc::clone(&step), Arc::clone(&stop));
    let rival = thread::spawn(move || {
        while !stopped.load(Relaxed) {
            other();
        }
    });
    c.bench_function(&format!("limit/contended/{name}"), |b| b.iter(|| step()));
    stop.store(true, Relaxed);
    let _ = rival.join();
}

fn three_limits(c: &mut Criterion) {
    let minute = Duration::from_secs(60);
    for (name, window) in
        [("fixed", Window::Fixed(minute)), ("sliding", Window::Sliding(minute)), ("bucket", Window::Bucket(minute))]
    {
        let (set, meters) = (set([window; 3]), Meters::in_memory());
        measure(c, name, move || ours(&set, &meters));
    }
    let limiters = limiters();
    measure(c, "governor, no settling", move || governed(&limiters));
    let windows: Locked = Mutex::new([(Instant::now(), 0); 3]);
    measure(c, "mutex", move || locked(&windows));
}

criterion_group!(benches, three_limits);
criterion_main!(benches);

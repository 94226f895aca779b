//! Real threads at once: exactly what a limit allows passes.
//!
//! `MILLRACE_LIMIT_ROUNDS` sets how often each case is repeated (default 10).

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::super::{CalendarUnit, Kind, Limit, LimitSet, Meters, Window};
use super::scene::{at, limit, minutes, settle, take};

fn rounds() -> u64 {
    std::env::var("MILLRACE_LIMIT_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Takes 1,000 times from so many threads; returns how many passed and what was refused for another reason than the limits.
fn passed(set: &Arc<LimitSet>, workers: u64, amount: u64, now_ms: impl Fn(u64) -> u64 + Sync) -> u64 {
    let barrier = Barrier::new(usize::try_from(workers).unwrap());
    let passed = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..workers {
            let (barrier, passed, now_ms) = (&barrier, &passed, &now_ms);
            scope.spawn(move || {
                barrier.wait();
                for number in 0..1_000 / workers {
                    if let Ok(mut held) = take(set, amount, at(now_ms(number * workers + worker))) {
                        passed.fetch_add(1, Ordering::Relaxed);
                        settle(set, &mut held, amount, at(0));
                    }
                }
            });
        }
    });
    passed.load(Ordering::Relaxed)
}

fn windows() -> [Window; 6] {
    let minute = minutes(1);
    [
        Window::Fixed(minute),
        Window::Aligned(minute),
        Window::Sliding(minute),
        Window::Bucket(minute),
        Window::Calendar(CalendarUnit::Day, 1),
        Window::Total,
    ]
}

#[test]
fn i_11_of_a_thousand_at_once_exactly_ten_pass() {
    for round in 0..rounds() {
        for workers in [1, 2, 4] {
            for (kind, amount) in [(Kind::Requests, 1), (Kind::InputTokens, 1_000), (Kind::Money, 123_456_789)] {
                for window in windows() {
                    let only = limit(&Meters::in_memory(), "key:k", kind, window, 10 * amount);
                    let set = Arc::new(LimitSet::new(vec![only]));
                    let got = passed(&set, workers, amount, |_| 0);
                    assert_eq!(got, 10, "round {round}, {workers} workers, {kind:?}, {window}");
                }
            }
        }
    }
}

#[test]
fn i_24_who_is_refused_elsewhere_keeps_nobody_out() {
    for round in 0..rounds() {
        for workers in [2, 4] {
            for window in windows() {
                let meters = Meters::in_memory();
                let first = limit(&meters, "project:p", Kind::Requests, window, 10);
                let full = limit(&meters, "key:full", Kind::Requests, window, 0);
                let refused = Arc::new(LimitSet::new(vec![first.clone(), full]));
                let alone = Arc::new(LimitSet::new(vec![first]));
                thread::scope(|scope| {
                    let other = Arc::clone(&refused);
                    scope.spawn(move || assert_eq!(passed(&other, 1, 1, |_| 0), 0));
                    let got = passed(&alone, workers, 1, |_| 0);
                    assert_eq!(got, 10, "round {round}, {workers} workers, {window}");
                });
            }
        }
    }
}

#[test]
fn roll_over_under_load_admits_each_window_once() {
    for round in 0..rounds() {
        for window in [Window::Fixed(minutes(1)), Window::Aligned(minutes(1)), Window::Sliding(minutes(1))] {
            let only: Limit = limit(&Meters::in_memory(), "key:k", Kind::Requests, window, 10);
            let set = Arc::new(LimitSet::new(vec![only]));
            // Half of them an hour later, in any order: an earlier clock never revives its window.
            let got = passed(&set, 4, 1, |number| if number < 500 { 0 } else { 3_600_000 });
            assert!((10..=20).contains(&got), "round {round}, {window}: {got}");
            assert!(take(&set, 1, at(3_600_000)).is_err(), "round {round}, {window}");
        }
    }
}

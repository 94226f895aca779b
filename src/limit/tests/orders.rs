//! Orders of threads: each step is a point to change over.
//!
//! `MILLRACE_LIMIT_SCHEDULES` sets how many orders each case tries at random (default 500), and as many in depth.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use shuttle::thread;

use super::super::explore::{explore_at_random, explore_in_depth, is_patient};
use super::super::{Held, Kind, Kinds, Limit, LimitSet, Meters, Window};
use super::scene::{at, claim, limit, minutes, set_of, settle, take};

fn schedules() -> usize {
    std::env::var("MILLRACE_LIMIT_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

/// Tries a case in many orders.
fn explore(case: impl Fn() + Send + Sync + Copy + 'static) {
    let at_random = explore_at_random(schedules(), 11, case);
    let in_depth = explore_in_depth(schedules(), case);
    assert!(at_random > 0 && in_depth > 0);
}

/// Runs every job on a thread of its own and waits for them.
fn together(jobs: Vec<Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = jobs.into_iter().map(thread::spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn used(set: &LimitSet, ms: u64) -> u64 {
    set.states(at(ms)).map(|state| state.posted + state.pending).max().unwrap()
}

/// Three threads ask for two units each of a limit of three.
fn takes_at_once(window: Window) {
    let set = set_of(Kind::Requests, window, 3);
    let passed = Arc::new(AtomicU64::new(0));
    let job = |_| -> Box<dyn FnOnce() + Send> {
        let (set, passed) = (Arc::clone(&set), Arc::clone(&passed));
        Box::new(move || {
            for _ in 0..2 {
                if take(&set, 1, at(0)).is_ok() {
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    together((0..3).map(job).collect());
    assert_eq!(passed.load(Ordering::Relaxed), 3, "{window}");
    assert_eq!(used(&set, 0), 3, "{window}");
}

#[test]
fn i_11_takes_in_any_order_admit_exactly_the_limit() {
    explore(|| takes_at_once(Window::Fixed(minutes(1))));
    explore(|| takes_at_once(Window::Sliding(minutes(1))));
    explore(|| takes_at_once(Window::Bucket(minutes(1))));
}

/// One settles while another takes: what is left is what both used.
fn settle_beside_take(window: Window) {
    let set = set_of(Kind::InputTokens, window, 10);
    let mut held = take(&set, 6, at(0)).unwrap();
    let second = Arc::new(AtomicU64::new(0));
    let (a, b, counted) = (Arc::clone(&set), Arc::clone(&set), Arc::clone(&second));
    together(vec![
        Box::new(move || settle(&a, &mut held, 3, at(1))),
        Box::new(move || {
            if let Ok(mut held) = take(&b, 7, at(1)) {
                settle(&b, &mut held, 7, at(1));
                counted.store(7, Ordering::Relaxed);
            }
        }),
    ]);
    assert_eq!(used(&set, 1), 3 + second.load(Ordering::Relaxed), "{window}");
    assert_eq!(set.states(at(1)).map(|state| state.pending).sum::<u64>(), 0, "{window}");
}

#[test]
fn settling_beside_takes_loses_nothing() {
    explore(|| settle_beside_take(Window::Fixed(minutes(1))));
    explore(|| settle_beside_take(Window::Sliding(minutes(1))));
    explore(|| settle_beside_take(Window::Bucket(minutes(1))));
}

/// A window ends while one takes late, one takes early and one settles: no window gets more than its limit, and nothing of
/// the old one is left in the new one.
fn roll_over(window: Window) {
    let set = set_of(Kind::InputTokens, window, 4);
    let mut old = take(&set, 3, at(0)).unwrap();
    let (a, b, c) = (Arc::clone(&set), Arc::clone(&set), Arc::clone(&set));
    let passed = Arc::new(AtomicU64::new(0));
    let (first, second) = (Arc::clone(&passed), Arc::clone(&passed));
    const LATER: u64 = 130_000;
    together(vec![
        Box::new(move || settle(&a, &mut old, 1, at(LATER))),
        Box::new(move || {
            first.fetch_add(u64::from(take(&b, 3, at(LATER)).is_ok()), Ordering::Relaxed);
        }),
        Box::new(move || {
            second.fetch_add(u64::from(take(&c, 3, at(LATER)).is_ok()), Ordering::Relaxed);
        }),
    ]);
    assert_eq!(passed.load(Ordering::Relaxed), 1, "{window}: three and three do not fit into four");
    assert_eq!(used(&set, LATER), 3, "{window}");
    assert!(take(&set, 1, at(LATER)).is_ok(), "{window}: one is left");
    assert!(take(&set, 1, at(LATER)).is_err(), "{window}");
}

#[test]
fn roll_over_in_any_order_keeps_windows_apart() {
    explore(|| roll_over(Window::Fixed(minutes(1))));
    explore(|| roll_over(Window::Aligned(minutes(1))));
    explore(|| roll_over(Window::Sliding(minutes(1))));
    explore(|| roll_over(Window::Bucket(minutes(1))));
}

/// Slots move on under threads whose clocks differ: never more than the limit within a window, and nothing is left for ever.
fn slots_move() {
    let set = set_of(Kind::InputTokens, Window::Sliding(minutes(1)), 4);
    let times = [0, 1_000, 61_000, 62_000];
    let jobs = times.map(|ms| -> Box<dyn FnOnce() + Send> {
        let set = Arc::clone(&set);
        Box::new(move || {
            if let Ok(mut held) = take(&set, 2, at(ms)) {
                settle(&set, &mut held, 1, at(ms));
            }
        })
    });
    together(jobs.into());
    assert!(used(&set, 62_000) <= 4);
    assert!(take(&set, 5, at(200_000)).is_err());
    assert!(take(&set, 4, at(200_000)).is_ok(), "all of it has expired");
}

#[test]
fn sliding_slots_expire_once_in_any_order() {
    explore(slots_move);
}

/// Who is refused by a second limit keeps nobody out of the first.
fn rollback(window: Window) {
    let meters = Meters::in_memory();
    let shared = limit(&meters, "project:p", Kind::InputTokens, window, 1);
    let full = limit(&meters, "key:full", Kind::InputTokens, window, 0);
    let set = |limits: Vec<Limit>| Arc::new(LimitSet::new(limits));
    let (refused, alone) = (set(vec![shared.clone(), full]), set(vec![shared]));
    let passed = Arc::new(AtomicU64::new(0));
    let (other, mine, counted) = (Arc::clone(&refused), Arc::clone(&alone), Arc::clone(&passed));
    together(vec![
        Box::new(move || assert!(take(&other, 1, at(0)).is_err())),
        Box::new(move || {
            counted.fetch_add(u64::from(take(&mine, 1, at(0)).is_ok()), Ordering::Relaxed);
        }),
    ]);
    let passed = passed.load(Ordering::Relaxed);
    assert_eq!(used(&alone, 0), passed, "{window}");
    // Where every order is tried, one of them stops the other thread for longer than anybody looks again.
    assert!(passed == 1 || !is_patient(), "{window}");
    assert!(passed == 1 || take(&alone, 1, at(0)).is_ok(), "{window}");
}

#[test]
fn i_24_what_is_given_back_is_free_again_in_any_order() {
    explore(|| rollback(Window::Fixed(minutes(1))));
    explore(|| rollback(Window::Sliding(minutes(1))));
    explore(|| rollback(Window::Bucket(minutes(1))));
}

/// Two sets in opposite order, each over both meters: at least one request passes, and never more than fit.
fn crossing() {
    let meters = Meters::in_memory();
    let [a, b] = ["a", "b"].map(|owner| limit(&meters, owner, Kind::Requests, Window::Total, 1));
    let sets = [vec![a.clone(), b.clone()], vec![b, a]].map(|limits| Arc::new(LimitSet::new(limits)));
    let passed = Arc::new(AtomicU64::new(0));
    let jobs = sets.clone().map(|set| -> Box<dyn FnOnce() + Send> {
        let passed = Arc::clone(&passed);
        Box::new(move || {
            let mut held = Held::default();
            let taken = set.take(Kinds::ALL, &claim(1), at(0), &mut held);
            passed.fetch_add(u64::from(taken.is_ok()), Ordering::Relaxed);
        })
    });
    together(jobs.into());
    assert!(passed.load(Ordering::Relaxed) <= 1);
    let left: Vec<u64> = sets[0].states(at(0)).map(|state| state.posted).collect();
    assert_eq!(left, [passed.load(Ordering::Relaxed); 2]);
}

// F-33: a schedule in which two wait for each other for ever ends the exploration.
#[test]
fn sets_that_cross_leave_nothing_behind() {
    explore(crossing);
}

/// A lease goes back while it is spent: nothing is spent above the ceiling that the ledger is told.
fn lease_returns(window: Window) {
    let meters = Arc::new(Meters::with_ledger());
    let set = Arc::new(LimitSet::new(vec![limit(&meters, "key:k", Kind::Money, window, 100)]));
    take(&set, 2, at(0)).unwrap_err();
    meters.lease_requests(at(0), |request| meters.leased(&request.account, request.period, 10));
    let told = Arc::new(AtomicU64::new(10));
    let (spender, keeper, ceiling) = (Arc::clone(&set), Arc::clone(&meters), Arc::clone(&told));
    together(vec![
        Box::new(move || {
            for _ in 0..2 {
                let _ = take(&spender, 3, at(1));
            }
        }),
        Box::new(move || {
            keeper.return_leases([&*format!("key:k/usd/{window}")], |request| {
                ceiling.store(request.wanted_ceiling, Ordering::Relaxed);
            });
        }),
    ]);
    assert!(used(&set, 1) <= told.load(Ordering::Relaxed), "{} of {told:?}", used(&set, 1));
}

#[test]
fn leases_go_back_in_any_order_without_being_spent() {
    explore(|| lease_returns(Window::Total));
    explore(|| lease_returns(Window::Sliding(minutes(1))));
    explore(|| lease_returns(Window::Bucket(minutes(1))));
}

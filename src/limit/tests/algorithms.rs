//! What each algorithm admits, step by step.

use std::time::Duration;

use super::super::{CalendarUnit, Held, Kind, Kinds, Limit, LimitSet, Meters, Mode, Reason, Scope, Terms, Window};
use super::scene::{at, claim, limit, minutes, set_of, settle, take};

/// One step: a time in milliseconds, an amount, and whether it is admitted.
type Step = (u64, u64, Result<(), Reason>);

fn check(name: &str, window: Window, terms: Terms, steps: &[Step]) {
    let mut only = limit(&Meters::in_memory(), "key:k", Kind::Requests, window, terms.max);
    only.terms = terms;
    let set = LimitSet::new(vec![only]);
    for (number, (ms, amount, want)) in steps.iter().enumerate() {
        let got = take(&set, *amount, at(*ms)).map(|_| ()).map_err(|refused| refused.reason);
        assert_eq!(got, *want, "{name}, step {number}: {amount} at {ms} ms");
    }
}

const REACHED: Result<(), Reason> = Err(Reason::Reached);

#[test]
fn windows_admit_up_to_their_limit() {
    let minute = minutes(1);
    // The clock of the tests stands at 12.345 s of a minute.
    let fixed: &[Step] = &[
        (0, 6, Ok(())),
        (30_000, 4, Ok(())),
        (59_999, 1, REACHED),
        (60_000, 10, Ok(())),
        (60_001, 1, REACHED),
        (500_000, 1, Ok(())),
    ];
    let aligned: &[Step] =
        &[(0, 10, Ok(())), (47_654, 1, REACHED), (47_655, 10, Ok(())), (107_654, 1, REACHED), (107_655, 1, Ok(()))];
    // 10 at the end of the first slot count until that slot is out: 61 slots later at most.
    let sliding: &[Step] = &[
        (0, 4, Ok(())),
        (20_000, 6, Ok(())),
        (59_999, 1, REACHED),
        (60_654, 1, REACHED),
        (60_655, 4, Ok(())),
        (60_656, 1, REACHED),
        (80_655, 6, Ok(())),
        (80_656, 1, REACHED),
        (1_000_000, 10, Ok(())),
    ];
    let bucket: &[Step] = &[
        (0, 10, Ok(())),
        (1, 1, REACHED),
        (5_999, 1, REACHED),
        (6_000, 1, Ok(())),
        (17_999, 2, REACHED),
        (18_000, 2, Ok(())),
        (600_000, 10, Ok(())),
        (600_000, 1, REACHED),
    ];
    let burst: &[Step] =
        &[(0, 3, Ok(())), (0, 1, REACHED), (6_000, 1, Ok(())), (60_000, 4, REACHED), (60_000, 3, Ok(()))];
    let total: &[Step] = &[(0, 9, Ok(())), (1, 2, REACHED), (1, 1, Ok(())), (10_000_000_000, 1, REACHED)];
    let calendar: &[Step] = &[(0, 10, Ok(())), (47_654, 1, REACHED), (3_600_000, 10, Ok(()))];
    let zero: &[Step] = &[(0, 1, REACHED), (0, 0, REACHED), (100_000_000, 1, REACHED)];
    let ten = Terms::max(10);
    for (name, window, terms, steps) in [
        ("fixed", Window::Fixed(minute), ten, fixed),
        ("aligned", Window::Aligned(minute), ten, aligned),
        ("sliding", Window::Sliding(minute), ten, sliding),
        ("bucket", Window::Bucket(minute), ten, bucket),
        ("bucket, burst", Window::Bucket(minute), Terms { max: 10, burst: 3 }, burst),
        ("total", Window::Total, ten, total),
        ("calendar", Window::Calendar(CalendarUnit::Hour, 1), ten, calendar),
        ("fixed, zero", Window::Fixed(minute), Terms::max(0), zero),
        ("sliding, zero", Window::Sliding(minute), Terms::max(0), zero),
        ("bucket, zero", Window::Bucket(minute), Terms::max(0), zero),
        ("total, zero", Window::Total, Terms::max(0), zero),
    ] {
        check(name, window, terms, steps);
    }
}

#[test]
fn settling_makes_the_true_figure_count() {
    let minute = minutes(1);
    for window in
        [Window::Fixed(minute), Window::Aligned(minute), Window::Sliding(minute), Window::Total, Window::Bucket(minute)]
    {
        let set = set_of(Kind::TotalTokens, window, 100);
        // A claim counts twice: as input and as output.
        let mut first = take(&set, 40, at(0)).unwrap();
        let refused = take(&set, 11, at(0)).unwrap_err();
        assert_eq!((refused.reason, refused.free, refused.asked), (Reason::Reserved, 20, 22), "{window}");
        settle(&set, &mut first, 10, at(0));
        assert!(first.is_empty(), "{window}");
        let mut second = take(&set, 40, at(0)).unwrap();
        settle(&set, &mut second, 45, at(0));
        let refused = take(&set, 1, at(0)).unwrap_err();
        assert_eq!((refused.reason, refused.free), (Reason::Reached, 0), "{window}: 110 are posted");
        let state = set.states(at(0)).next().unwrap();
        assert_eq!((state.posted, state.pending, state.remaining), (110, 0, 0), "{window}");
    }
}

#[test]
fn settling_an_old_window_leaves_the_new_one_alone() {
    let minute = minutes(1);
    for (name, window) in [
        ("fixed", Window::Fixed(minute)),
        ("aligned", Window::Aligned(minute)),
        ("sliding", Window::Sliding(minute)),
        ("bucket", Window::Bucket(minute)),
    ] {
        for used in [0, 5, 90] {
            let set = set_of(Kind::InputTokens, window, 100);
            let mut old = take(&set, 60, at(0)).unwrap();
            let mut new = take(&set, 100, at(200_000)).unwrap();
            settle(&set, &mut old, used, at(200_000));
            assert_eq!(take(&set, 1, at(200_000)).unwrap_err().free, 0, "{name}, {used}");
            settle(&set, &mut new, 100, at(200_000));
            assert_eq!(take(&set, 1, at(200_000)).unwrap_err().reason, Reason::Reached, "{name}, {used}");
        }
    }
}

#[test]
fn refusal_says_when_there_is_room_again() {
    let minute = minutes(1);
    for (name, window, amount, want_ms) in [
        ("fixed", Window::Fixed(minute), 3, Some(50_000)),
        ("aligned", Window::Aligned(minute), 3, Some(37_655)),
        // 4 at 0 ms and 6 at 5,000 ms: the slot of the first is out at 60,655 ms, of the second at 65,655 ms.
        ("sliding, first", Window::Sliding(minute), 4, Some(50_655)),
        ("sliding, both", Window::Sliding(minute), 5, Some(55_655)),
        // One refills in 6 s: at 5,000 ms 4 + 6 are missing, the time since the start is kept.
        ("bucket", Window::Bucket(minute), 3, Some(8_000)),
        ("total", Window::Total, 3, None),
        ("concurrent", Window::Open, 3, None),
    ] {
        let kind = if window == Window::Open { Kind::Concurrent } else { Kind::Requests };
        let set = set_of(kind, window, 10);
        let _first = take(&set, 4, at(0)).unwrap();
        let _second = take(&set, 6, at(5_000)).unwrap();
        let refused = take(&set, amount, at(10_000)).unwrap_err();
        assert_eq!(refused.resets_in, want_ms.map(Duration::from_millis), "{name}");
        assert!(!refused.never_fits(), "{name}");
        assert!(take(&set, 11, at(10_000)).unwrap_err().never_fits(), "{name}");
        if let Some(wait) = want_ms {
            assert!(take(&set, amount, at(10_000 + wait - 1)).is_err(), "{name}: a millisecond too early");
            assert!(take(&set, amount, at(10_000 + wait)).is_ok(), "{name}: at the time it says");
        }
    }
}

#[test]
fn open_requests_count_until_they_are_settled() {
    let set = set_of(Kind::Concurrent, Window::Open, 2);
    let mut first = take(&set, 1, at(0)).unwrap();
    let mut second = take(&set, 1, at(0)).unwrap();
    let refused = take(&set, 1, at(0)).unwrap_err();
    assert_eq!((refused.reason, refused.kind), (Reason::Reserved, Kind::Concurrent));
    settle(&set, &mut first, 1, at(0));
    let mut third = take(&set, 1, at(0)).unwrap();
    set.give_back(&mut second, at(0));
    set.give_back(&mut third, at(0));
    assert_eq!(set.states(at(0)).next().unwrap().pending, 0);
    assert_eq!(take(&set_of(Kind::Concurrent, Window::Open, 0), 1, at(0)).unwrap_err().reason, Reason::Reached);
}

#[test]
fn limits_stand_together_and_the_refusing_one_is_named() {
    let meters = Meters::in_memory();
    let mut all = Vec::new();
    for (owner, scope, max) in
        [("organization:o", Scope::Organization, 9), ("key:k", Scope::Key, 5), ("route:r", Scope::Route, 7)]
    {
        all.push(Limit { scope, ..limit(&meters, owner, Kind::Requests, Window::Fixed(minutes(1)), max) });
    }
    let set = LimitSet::new(all);
    let _held = take(&set, 4, at(0)).unwrap();
    let refused = take(&set, 2, at(0)).unwrap_err();
    assert_eq!((refused.scope, refused.free, refused.terms.max), (Scope::Key, 1, 5));
    let posted: Vec<u64> = set.states(at(0)).map(|state| state.posted).collect();
    assert_eq!(posted, [4, 4, 4], "nothing is left of what was refused");
    let tightest = set.tightest(Kinds::of(Kind::Requests), at(0)).unwrap();
    assert_eq!((tightest.scope, tightest.remaining, tightest.max), (Scope::Key, 1, 5));
    assert_eq!(set.tightest(Kinds::TOKENS, at(0)), None);
    assert!(take(&set, 1, at(0)).is_ok());
}

#[test]
fn shadow_limits_report_what_they_would_have_refused() {
    let meters = Meters::in_memory();
    let window = Window::Fixed(minutes(1));
    let shadow = Limit { mode: Mode::Shadow, ..limit(&meters, "route:r", Kind::Requests, window, 2) };
    let real = limit(&meters, "key:k", Kind::Requests, window, 4);
    let set = LimitSet::new(vec![shadow, real]);
    let mut would = Vec::new();
    for _ in 0..4 {
        let held = take(&set, 1, at(0)).unwrap();
        would.push(set.would_refuse(&held).count());
    }
    assert_eq!(would, [0, 0, 1, 1]);
    assert_eq!(take(&set, 1, at(0)).unwrap_err().scope, Scope::Key);
    let meter = &set.limits()[0].meter;
    assert_eq!(meter.shadow_refusals(), 2, "what another limit refused is refused in any case");
    assert_eq!(set.states(at(0)).next().unwrap().posted, 2);
    let tightest = set.tightest(Kinds::ALL, at(0)).unwrap();
    assert_eq!(tightest.mode, Mode::Enforce, "clients are not told of limits that do not hold");
}

#[test]
fn counters_outlive_the_limits_that_use_them() {
    let meters = Meters::in_memory();
    let minute = Window::Fixed(Duration::from_secs(60));
    let make = |window, max| LimitSet::new(vec![limit(&meters, "route:p/r", Kind::Requests, window, max)]);
    assert!(take(&make(minute, 5), 5, at(0)).is_ok());
    assert_eq!(take(&make(minute, 6), 2, at(0)).unwrap_err().free, 1, "a new maximum, the same counter");
    assert_eq!(take(&make(minute, 3), 1, at(0)).unwrap_err().free, 0);
    let same = Window::Fixed(crate::base::parse_duration("1 minute").unwrap());
    assert!(take(&make(same, 5), 1, at(0)).is_err());
    assert!(take(&make(Window::Fixed(minutes(2)), 5), 5, at(0)).is_ok(), "another length is another counter");
    assert!(take(&make(Window::Sliding(Duration::from_secs(60)), 5), 5, at(0)).is_ok());
    assert_eq!(meters.count(), 3);
    assert_eq!(meters.idle_sweep(at(0)), 0);
    assert_eq!(meters.idle_sweep(at(90_000)), 2, "those whose windows are over");
    assert_eq!((meters.idle_sweep(at(600_000)), meters.count()), (1, 0));
}

#[test]
fn only_the_asked_kinds_are_taken_and_none_twice() {
    let meters = Meters::in_memory();
    let window = Window::Fixed(minutes(1));
    let set = LimitSet::new(vec![
        limit(&meters, "key:k", Kind::Requests, window, 10),
        limit(&meters, "key:k", Kind::OutputTokens, window, 100),
    ]);
    let mut held = Held::default();
    set.take(Kinds::ARRIVAL, &claim(1), at(0), &mut held).unwrap();
    set.take(Kinds::ALL, &claim(60), at(0), &mut held).unwrap();
    let used = || set.states(at(0)).map(|state| state.posted + state.pending).collect::<Vec<_>>();
    assert_eq!(used(), [1, 60]);
    let mut other = Held::default();
    set.take(Kinds::ARRIVAL, &claim(1), at(0), &mut other).unwrap();
    set.take(Kinds::AMOUNTS, &claim(41), at(0), &mut other).unwrap_err();
    assert_eq!(used(), [2, 60], "what was taken before the refusal stays until it is given back");
    set.give_back(&mut other, at(0));
    set.give_back(&mut held, at(0));
    assert_eq!(used(), [0, 0]);
}

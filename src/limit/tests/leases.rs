//! Nothing is spent before its lease is on disk.

use super::super::{Claim, Held, Kind, Kinds, LeaseRequest, LimitSet, Meters, Mode, Reason, Terms, Window};
use super::scene::{at, claim, limit, minutes, nanos, settle, take};
use crate::base::Charge;

fn requests(meters: &Meters, ms: u64) -> Vec<LeaseRequest> {
    let mut found = Vec::new();
    meters.lease_requests(at(ms), |request| found.push(request));
    found
}

/// Answers every request, as a ledger does after its commit.
fn answer(meters: &Meters, ms: u64) -> Vec<LeaseRequest> {
    let asked = requests(meters, ms);
    for request in &asked {
        meters.leased(&request.account, request.period, request.wanted_ceiling);
    }
    asked
}

fn budget(meters: &Meters, max: u64) -> LimitSet {
    LimitSet::new(vec![limit(meters, "key:k", Kind::Money, Window::Fixed(minutes(1)), max)])
}

#[test]
fn first_use_waits_for_a_lease_and_later_ones_do_not() {
    let meters = Meters::with_ledger();
    let set = budget(&meters, 1_000_000);
    assert!(!meters.is_rung());
    let refused = take(&set, 100, at(0)).unwrap_err();
    assert_eq!((refused.reason, refused.free), (Reason::Unleased, 0));
    assert!(meters.is_rung());
    assert_eq!([meters.is_news(), meters.is_news()], [true, false], "one of those who wait wakes the keeper");
    let asked = answer(&meters, 1);
    assert_eq!(asked.len(), 1);
    assert_eq!((&*asked[0].account, asked[0].used, asked[0].ceiling), ("key:k/usd/fixed_window:60000ms", 0, 0));
    assert_eq!(asked[0].wanted_ceiling, 1_600, "as much as sixteen such requests");
    assert!(!meters.is_rung());
    let mut waited = 0;
    for number in 0..400u64 {
        if meters.is_rung() {
            answer(&meters, 2 + number);
        }
        waited += u64::from(take(&set, 100, at(2 + number)).is_err());
    }
    assert_eq!(waited, 0, "the next lease is asked for before the last one is used up");
}

#[test]
fn leases_shrink_to_single_requests_and_never_pass_the_limit() {
    let meters = Meters::with_ledger();
    let set = budget(&meters, 10_000);
    let (mut passed, mut largest_rest) = (0, 0);
    for number in 0..1_000 {
        match take(&set, 100, at(number)) {
            Ok(_) => passed += 1,
            Err(refused) if refused.reason == Reason::Unleased => {
                let asked = answer(&meters, number);
                assert!(asked.iter().all(|request| request.wanted_ceiling <= 10_000), "{asked:?}");
                let rest = asked[0].wanted_ceiling - asked[0].used;
                if asked[0].used >= 9_000 {
                    largest_rest = rest.max(largest_rest);
                }
            }
            Err(refused) => assert_eq!((refused.reason, passed), (Reason::Reserved, 100)),
        }
    }
    assert_eq!(passed, 100);
    assert!((100..=200).contains(&largest_rest), "{largest_rest} is leased at once near the limit");
}

#[test]
fn meter_that_asks_again_before_the_answer_asks_for_no_less() {
    let meters = Meters::with_ledger();
    let set = budget(&meters, 1_000_000);
    take(&set, 100, at(0)).unwrap_err();
    answer(&meters, 0);
    let spend = |ms| {
        while !meters.is_rung() {
            take(&set, 100, at(ms)).unwrap();
        }
    };
    // The third is asked for by the rate since the second: far more than for the next few requests.
    spend(1);
    answer(&meters, 2);
    spend(3);
    let mut asked = Vec::new();
    meters.lease_requests(at(4), |request| {
        if asked.is_empty() {
            // A worker goes on while the keeper collects what is asked for: both stand in one commit.
            spend(4);
        }
        asked.push(request.wanted_ceiling);
    });
    assert!(asked.len() == 2 && asked.is_sorted(), "the disk would hold less than the meter: {asked:?}");
}

#[test]
fn lease_of_one_window_is_none_of_the_next() {
    let meters = Meters::with_ledger();
    let set = budget(&meters, 1_000);
    take(&set, 10, at(0)).unwrap_err();
    let first = answer(&meters, 0).remove(0);
    take(&set, 10, at(1)).unwrap();
    let refused = take(&set, 10, at(60_000)).unwrap_err();
    assert_eq!(refused.reason, Reason::Unleased);
    meters.leased(&first.account, first.period, 1_000);
    assert_eq!(take(&set, 10, at(60_001)).unwrap_err().reason, Reason::Unleased, "an answer that comes too late");
    let second = answer(&meters, 60_002).remove(0);
    assert!(second.period > first.period && second.used == 0);
    take(&set, 10, at(60_003)).unwrap();
    meters.leased(&second.account, second.period, 1);
    take(&set, 10, at(60_004)).unwrap();
}

#[test]
fn charges_name_the_period_that_admitted() {
    let meters = Meters::with_ledger();
    let set = LimitSet::new(vec![
        limit(&meters, "key:k", Kind::Money, Window::Fixed(minutes(1)), 1_000),
        limit(&meters, "key:k", Kind::Requests, Window::Fixed(minutes(1)), 1_000),
        limit(&meters, "key:k", Kind::TotalTokens, Window::Total, 1_000),
    ]);
    assert_eq!(set.limits().iter().map(|limit| limit.meter.is_durable()).collect::<Vec<_>>(), [true, false, true]);
    while take(&set, 10, at(0)).is_err() {
        answer(&meters, 0);
    }
    let mut held = take(&set, 10, at(1)).unwrap();
    while take(&set, 10, at(60_000)).is_err() {
        answer(&meters, 60_000);
    }
    let mut charges: Vec<Charge> = Vec::new();
    set.settle(&mut held, &claim(4), at(60_001), |charge| charges.push(charge));
    let period = nanos(at(0));
    let want = |account: &str, period, amount| Charge { account: account.into(), period, amount, moving: None };
    assert_eq!(
        charges,
        [want("key:k/usd/fixed_window:60000ms", period, 4), want("key:k/tokens/total", 1, 8)],
        "what is kept in memory alone is charged nowhere"
    );
    let free = Claim::request();
    let mut held = take(&set, 10, at(60_002)).unwrap();
    set.settle(&mut held, &free, at(60_003), |charge| panic!("nothing was used: {charge:?}"));
}

#[test]
fn i_10_restored_accounts_go_on_where_they_were() {
    let account = "key:k/usd/total";
    for early in [true, false] {
        let meters = Meters::with_ledger();
        let make = || LimitSet::new(vec![limit(&meters, "key:k", Kind::Money, Window::Total, 100)]);
        let before = (!early).then(make);
        for _ in 0..2 {
            meters.restore(account, 1, 90);
        }
        let set = before.unwrap_or_else(make);
        let refused = take(&set, 11, at(0)).unwrap_err();
        assert_eq!((refused.reason, refused.free), (Reason::Reached, 10), "{early}");
        assert_eq!(take(&set, 10, at(0)).unwrap_err().reason, Reason::Unleased, "{early}: a lease is not restored");
        answer(&meters, 0);
        take(&set, 10, at(0)).unwrap();
        meters.restore(account, 1, 90);
        assert_eq!(take(&set, 1, at(0)).unwrap_err().free, 0, "{early}: nothing goes back");
    }
}

#[test]
fn unused_leases_go_back_and_are_not_spent_any_more() {
    let meters = Meters::with_ledger();
    let set = budget(&meters, 1_000_000);
    take(&set, 100, at(0)).unwrap_err();
    let account = answer(&meters, 0).remove(0).account;
    let mut held = take(&set, 100, at(1)).unwrap();
    let returned = |meters: &Meters| {
        let mut found = Vec::new();
        meters.return_leases([&*account], |request| found.push((request.ceiling, request.wanted_ceiling)));
        found
    };
    assert_eq!(returned(&meters), [(1_600, 100)]);
    assert_eq!(returned(&meters), []);
    assert_eq!(take(&set, 1, at(2)).unwrap_err().reason, Reason::Unleased);
    settle(&set, &mut held, 50, at(3));
    take(&set, 50, at(4)).unwrap();
    assert_eq!(take(&set, 1, at(5)).unwrap_err().reason, Reason::Unleased);
}

#[test]
fn lease_of_any_window_goes_back_once_nobody_has_asked_for_long() {
    let long = minutes(60);
    for window in [Window::Fixed(long), Window::Sliding(long), Window::Bucket(long), Window::Total] {
        let meters = Meters::with_ledger();
        let set = LimitSet::new(vec![limit(&meters, "key:k", Kind::Money, window, 1_000_000)]);
        take(&set, 100, at(0)).unwrap_err();
        answer(&meters, 0);
        let mut held = take(&set, 100, at(1)).unwrap();
        let returned = |ms| {
            let mut found = Vec::new();
            meters.return_idle(at(ms), 10, |request| found.push((request.ceiling, request.wanted_ceiling)));
            found
        };
        assert_eq!(returned(300_000), [], "{window}");
        meters.return_idle(at(300_001), 0, |request| panic!("{request:?}"));
        assert_eq!(returned(300_001), [(1_600, 100)], "{window}");
        assert_eq!(returned(300_002), [], "{window}");
        settle(&set, &mut held, 100, at(300_003));
        // The next one asks anew, and is served.
        assert_eq!(take(&set, 100, at(300_004)).unwrap_err().reason, Reason::Unleased, "{window}");
        assert_eq!(answer(&meters, 300_005).len(), 1, "{window}");
        take(&set, 100, at(300_006)).unwrap();
        assert_eq!(returned(300_007), [], "{window}");
    }
}

#[test]
fn limits_that_only_report_need_no_lease_and_charge_nothing() {
    let meters = Meters::with_ledger();
    let mut shadow = limit(&meters, "key:k", Kind::Money, Window::Total, 100);
    shadow.mode = Mode::Shadow;
    let set = LimitSet::new(vec![shadow]);
    let mut held = take(&set, 60, at(0)).unwrap();
    let mut other = take(&set, 60, at(0)).unwrap();
    assert_eq!((set.would_refuse(&held).count(), set.would_refuse(&other).count()), (0, 1));
    for held in [&mut held, &mut other] {
        set.settle(held, &claim(60), at(1), |charge| panic!("{charge:?}"));
    }
    assert!(!meters.is_rung());
}

#[test]
fn more_meters_than_the_bell_holds_are_all_found() {
    let meters = Meters::with_ledger();
    let sets: Vec<LimitSet> = (0..5_000)
        .map(|number| LimitSet::new(vec![limit(&meters, &format!("key:{number}"), Kind::Money, Window::Total, 100)]))
        .collect();
    for set in &sets {
        take(set, 1, at(0)).unwrap_err();
    }
    assert_eq!(answer(&meters, 0).len(), 5_000);
    for set in &sets {
        take(set, 1, at(1)).unwrap();
    }
}

#[test]
fn overshoot_is_the_largest_amount_above_a_limit() {
    let meters = Meters::in_memory();
    let mut only = limit(&meters, "key:k", Kind::OutputTokens, Window::Fixed(minutes(1)), 100);
    only.terms = Terms::max(100);
    let set = LimitSet::new(vec![only]);
    for (used, want) in [(90, 0), (15, 5), (2, 5)] {
        let mut held = Held::default();
        let result = set.take(Kinds::ALL, &claim(5), at(0), &mut held);
        assert_eq!(result.is_ok(), used != 2, "{used}");
        settle(&set, &mut held, used, at(0));
        assert_eq!(meters.overshoot(Kind::OutputTokens), want, "{used}");
    }
    assert_eq!(meters.overshoot(Kind::Money), 0);
}

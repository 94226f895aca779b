//! Windows that move are leased too, and go on after a restart.

use std::time::Duration;

use super::super::{Kind, LimitSet, Meters, Mode, Reason, Refill, Window};
use super::scene::{at, claim, limit, minutes, nanos, settle, take};
use crate::base::{Charge, Moving};

const MINUTE: Duration = Duration::from_secs(60);
const WINDOWS: [Window; 2] = [Window::Sliding(MINUTE), Window::Bucket(MINUTE)];

/// Answers every request, as a ledger does after its commit; returns the ceilings.
fn answer(meters: &Meters, ms: u64) -> Vec<u64> {
    let mut asked = Vec::new();
    meters.lease_requests(at(ms), |request| asked.push(request));
    for request in &asked {
        assert_eq!(request.period, 1, "one account for all time");
        meters.leased(&request.account, request.period, request.wanted_ceiling);
    }
    asked.iter().map(|request| request.wanted_ceiling).collect()
}

fn money(meters: &Meters, window: Window, max: u64) -> LimitSet {
    LimitSet::new(vec![limit(meters, "key:k", Kind::Money, window, max)])
}

#[test]
fn first_use_waits_for_a_lease_and_later_ones_do_not() {
    for window in WINDOWS {
        let meters = Meters::with_ledger();
        let set = money(&meters, window, 1_000_000);
        let refused = take(&set, 100, at(0)).unwrap_err();
        assert_eq!((refused.reason, refused.free), (Reason::Unleased, 0), "{window}");
        assert_eq!(answer(&meters, 1), [1_600], "{window}: as much as sixteen such requests");
        for number in 0..400u64 {
            if meters.is_rung() {
                answer(&meters, 2 + number);
            }
            assert!(take(&set, 100, at(2 + number)).is_ok(), "{window}: the next lease is asked for in time");
        }
    }
}

/// A window that is full again and again: what passes is what the limit allows, and the account is the sum of all.
#[test]
fn leases_roll_on_with_the_window_and_never_pass_its_room() {
    for window in WINDOWS {
        let meters = Meters::with_ledger();
        let set = money(&meters, window, 10_000);
        let mut passed = 0;
        for ms in (0..600_000u64).step_by(100) {
            let mut taken = take(&set, 100, at(ms));
            if taken.as_ref().is_err_and(|refused| refused.reason == Reason::Unleased) {
                let ceilings = answer(&meters, ms);
                let room = set.states(at(ms)).map(|state| state.remaining).max().unwrap();
                assert!(ceilings.iter().all(|ceiling| *ceiling <= passed * 100 + room), "{window} {ms}: {ceilings:?}");
                taken = take(&set, 100, at(ms));
            }
            if let Ok(mut held) = taken {
                passed += 1;
                settle(&set, &mut held, 100, at(ms));
            }
        }
        // A slot longer than it must in each window; a bucket begins full.
        let want = if matches!(window, Window::Bucket(_)) { 1_095..=1_100 } else { 980..=1_000 };
        assert!(want.contains(&passed), "{window}: {passed}");
    }
}

#[test]
fn refusals_refunds_and_settlements_leave_the_lease_as_it_was() {
    for window in WINDOWS {
        let meters = Meters::with_ledger();
        let all = limit(&meters, "key:k", Kind::Money, window, 1_000);
        let full = limit(&meters, "project:p", Kind::Requests, Window::Fixed(minutes(1)), 0);
        let (alone, both) = (LimitSet::new(vec![all.clone()]), LimitSet::new(vec![all, full]));
        take(&alone, 400, at(0)).unwrap_err();
        assert_eq!(answer(&meters, 0), [400], "{window}");
        for _ in 0..5 {
            assert_eq!(take(&both, 400, at(0)).unwrap_err().reason, Reason::Reached, "{window}");
        }
        let mut held = take(&alone, 400, at(0)).unwrap();
        settle(&alone, &mut held, 150, at(0));
        let mut held = take(&alone, 250, at(0)).unwrap();
        alone.give_back(&mut held, at(0));
        let mut held = take(&alone, 250, at(0)).unwrap();
        settle(&alone, &mut held, 250, at(0));
        assert_eq!(take(&alone, 1, at(0)).unwrap_err().reason, Reason::Unleased, "{window}: 400 are used and leased");
        assert_eq!(take(&alone, 601, at(0)).unwrap_err().reason, Reason::Reached, "{window}");
        assert_eq!(answer(&meters, 0), [800], "{window}: as much again as was asked for");
    }
}

#[test]
fn charges_say_where_in_the_window_they_lie() {
    for window in WINDOWS {
        let meters = Meters::with_ledger();
        let set = money(&meters, window, 6_000);
        take(&set, 10, at(0)).unwrap_err();
        answer(&meters, 0);
        let mut held = take(&set, 10, at(500)).unwrap();
        let mut charges: Vec<Charge> = Vec::new();
        set.settle(&mut held, &claim(4), at(7_000), |charge| charges.push(charge));
        let slot = nanos(at(500)) / 1_000_000_000 * 1_000_000_000;
        let moving = match window {
            Window::Sliding(_) => Moving::Slot(slot),
            _ => Moving::Bucket { at: nanos(at(7_000)), refill: 6_000 },
        };
        let account = format!("key:k/usd/{window}").into();
        assert_eq!(charges, [Charge { account, period: 1, amount: 4, moving: Some(moving) }]);
    }
}

#[test]
fn i_10_restored_windows_go_on_where_they_were() {
    for (early, window) in [(true, WINDOWS[0]), (false, WINDOWS[0]), (true, WINDOWS[1]), (false, WINDOWS[1])] {
        let meters = Meters::with_ledger();
        let account = format!("key:k/usd/{window}");
        let make = || money(&meters, window, 600);
        let before = (!early).then(make);
        let second = 1_000_000_000;
        // Of 5,000 in all, 590 still count: 90 until a minute after the first, 500 as of the second half.
        let moving = match window {
            Window::Sliding(_) => vec![(nanos(at(0)) - 90 * second, 400), (nanos(at(0)), 90), (nanos(at(30_000)), 500)],
            _ => vec![(nanos(at(30_000)), 590)],
        };
        for _ in 0..2 {
            meters.restore(&account, 1, 5_000);
            meters.restore_moving(&account, &moving);
        }
        let set = before.unwrap_or_else(make);
        let refused = take(&set, 11, at(30_000)).unwrap_err();
        assert_eq!((refused.reason, refused.free), (Reason::Reached, 10), "{window}, early {early}");
        assert_eq!(
            take(&set, 10, at(30_000)).unwrap_err().reason,
            Reason::Unleased,
            "{window}: a lease is not restored"
        );
        assert_eq!(answer(&meters, 30_000), [5_010], "{window}: leases go on from all that was ever posted");
        take(&set, 10, at(30_000)).unwrap();
        meters.restore(&account, 1, 5_000);
        meters.restore_moving(&account, &moving);
        assert_eq!(take(&set, 1, at(30_000)).unwrap_err().free, 0, "{window}: nothing goes back");
        // A window later all of it is free again.
        take(&set, 600, at(92_000)).unwrap_err();
        answer(&meters, 92_000);
        take(&set, 600, at(92_000)).unwrap();
    }
}

#[test]
fn account_over_all_time_goes_on_behind_a_sweep() {
    let window = WINDOWS[0];
    let meters = Meters::with_ledger();
    let set = money(&meters, window, 1_000);
    take(&set, 100, at(0)).unwrap_err();
    answer(&meters, 0);
    let mut held = take(&set, 100, at(0)).unwrap();
    settle(&set, &mut held, 100, at(0));
    answer(&meters, 0);
    drop(set);
    assert_eq!(meters.idle_sweep(at(1_000)), 0, "it still counts");
    assert_eq!(meters.idle_sweep(at(70_000)), 1);
    let set = money(&meters, window, 1_000);
    take(&set, 100, at(70_000)).unwrap_err();
    assert_eq!(answer(&meters, 70_000), [225], "a lease below what is posted would cover nothing");
}

#[test]
fn limits_that_only_report_are_no_part_of_the_account() {
    for window in WINDOWS {
        let meters = Meters::with_ledger();
        let mut shadow = limit(&meters, "key:k", Kind::Money, window, 100);
        let enforced = LimitSet::new(vec![shadow.clone()]);
        shadow.mode = Mode::Shadow;
        let set = LimitSet::new(vec![shadow]);
        let mut held = take(&set, 60, at(0)).unwrap();
        set.settle(&mut held, &claim(60), at(0), |charge| panic!("{charge:?}"));
        take(&enforced, 8, at(0)).unwrap_err();
        assert_eq!(answer(&meters, 0), [8], "{window}: what was only reported is not leased");
    }
}

#[test]
fn window_of_an_account_is_read_from_its_text() {
    for (account, want) in [
        ("key:k/usd/sliding_window:60000ms", Some(WINDOWS[0])),
        ("route_key:p/chat:key_a/tokens/token_bucket:60000ms", Some(WINDOWS[1])),
        ("key:k/usd/fixed_window:60000ms", None),
        ("key:k/usd/calendar:1month", None),
        ("key:k/usd/total", None),
        ("cost:sliding_window:60000ms", None),
        ("cost:p/sliding_window:ms", None),
    ] {
        assert_eq!(Window::moving(account), want, "{account}");
    }
}

#[test]
fn level_of_a_bucket_refills_in_whole_units_and_keeps_the_rest_of_the_time() {
    let refill = Refill::new(minutes(1), 60);
    let second = 1_000_000_000;
    for (level, now, want) in [
        ((0, 10), 3 * second + 1, (3 * second, 7)),
        ((0, 10), 10 * second, (10 * second, 0)),
        ((5 * second, 10), second, (5 * second, 10)),
    ] {
        assert_eq!(refill.level(level, now), want, "{level:?} {now}");
    }
}

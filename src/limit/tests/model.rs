//! Random histories against a model too simple to be wrong.
//!
//! `MILLRACE_LIMIT_CASES` sets how many histories are tried (default 2,000).

use proptest::prelude::*;

use super::super::{
    CalendarUnit, Claim, Held, Kind, Kinds, LimitSet, LimitState, Meters, Mode, Moment, Reason, Scope, Terms, Window,
    take_all,
};
use super::scene::{claim, limit, minutes};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_800_000_012 * SECOND;
const MINUTE: u64 = 60 * SECOND;

fn cases() -> u32 {
    std::env::var("MILLRACE_LIMIT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// One amount that was taken.
#[derive(Debug, Clone, Copy)]
struct Taken {
    request: usize,
    /// Beginning of its window, or number of its slot.
    window: u64,
    amount: u64,
    is_posted: bool,
}

/// A limit as a list of everything that was ever taken from it.
#[derive(Debug)]
struct Model {
    window: Window,
    max: u64,
    current: u64,
    taken: Vec<Taken>,
}

impl Model {
    fn enter(&mut self, at: Moment) -> u64 {
        let next = match self.window {
            Window::Fixed(_) if self.current == 0 || at.steady >= self.current + MINUTE => at.steady,
            Window::Fixed(_) => self.current,
            Window::Aligned(_) => at.wall / MINUTE * MINUTE,
            Window::Calendar(..) => at.wall / (60 * MINUTE) * 60 * MINUTE,
            Window::Sliding(_) => at.steady / SECOND,
            _ => 1,
        };
        self.current.max(next)
    }

    fn counts(&self, window: u64, taken: &Taken) -> bool {
        match self.window {
            Window::Sliding(_) => taken.window + 61 > window,
            _ => taken.window == window,
        }
    }

    fn used(&self, window: u64) -> u64 {
        self.taken.iter().filter(|taken| self.counts(window, taken)).map(|taken| taken.amount).sum()
    }

    fn pending(&self, window: u64) -> u64 {
        // A sliding window knows what is reserved, but not since when.
        let counts = |taken: &&Taken| matches!(self.window, Window::Sliding(_)) || self.counts(window, taken);
        self.taken.iter().filter(|taken| !taken.is_posted).filter(counts).map(|taken| taken.amount).sum()
    }

    fn take(&mut self, request: usize, amount: u64, at: Moment) -> Result<(), Reason> {
        let window = self.enter(at);
        let used = self.used(window);
        if self.max == 0 || used + amount > self.max {
            let posted = used.saturating_sub(self.pending(window));
            let reached = self.max == 0 || posted + amount > self.max;
            if matches!(self.window, Window::Sliding(_)) {
                self.current = window;
            }
            return Err(if reached { Reason::Reached } else { Reason::Reserved });
        }
        self.current = window;
        self.taken.push(Taken { request, window, amount, is_posted: false });
        Ok(())
    }

    fn settle(&mut self, request: usize, used: u64) {
        for taken in self.taken.iter_mut().filter(|taken| taken.request == request && !taken.is_posted) {
            (taken.amount, taken.is_posted) = (used, true);
        }
    }

    fn give_back(&mut self, request: usize) {
        self.taken.retain(|taken| taken.request != request || taken.is_posted);
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Takes from the first set, the second, or both.
    Take {
        sets: u8,
        amount: u64,
    },
    Settle {
        request: usize,
        used: u64,
    },
    GiveBack {
        request: usize,
    },
    /// Both clocks go on.
    Wait {
        ms: u64,
    },
    /// The wall clock is set, forward or back.
    Set {
        seconds: i64,
    },
    /// A worker whose clock was read a little earlier.
    Late {
        ms: u64,
        amount: u64,
    },
    Max {
        limit: usize,
        max: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..=3u8, 0..8u64).prop_map(|(sets, amount)| Step::Take { sets, amount }),
        4 => (any::<usize>(), 0..10u64).prop_map(|(request, used)| Step::Settle { request, used }),
        1 => any::<usize>().prop_map(|request| Step::GiveBack { request }),
        4 => prop_oneof![0..3_000u64, 0..70_000u64, 0..200_000u64, Just(60_000u64)].prop_map(|ms| Step::Wait { ms }),
        1 => prop_oneof![-120..120i64, -8_000..8_000i64].prop_map(|seconds| Step::Set { seconds }),
        1 => (0..2_000u64, 0..8u64).prop_map(|(ms, amount)| Step::Late { ms, amount }),
        1 => (0..3usize, 0..30u64).prop_map(|(limit, max)| Step::Max { limit, max }),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    let minute = minutes(1);
    prop_oneof![
        Just(Window::Fixed(minute)),
        Just(Window::Aligned(minute)),
        Just(Window::Sliding(minute)),
        Just(Window::Calendar(CalendarUnit::Hour, 1)),
        Just(Window::Total),
    ]
}

/// Limits 0 and 1 stand in the first set, 1 and 2 in the second.
struct Play {
    meters: Meters,
    models: [Model; 3],
    sets: [LimitSet; 2],
    held: Vec<[Held; 2]>,
    now: Moment,
}

impl Play {
    fn new(windows: [Window; 3], max: [u64; 3]) -> Self {
        let models = [0, 1, 2].map(|n| Model { window: windows[n], max: max[n], current: 0, taken: Vec::new() });
        let meters = Meters::in_memory();
        let sets = Self::sets(&meters, &models);
        Self { meters, models, sets, held: Vec::new(), now: Moment { steady: START, wall: START } }
    }

    fn sets(meters: &Meters, models: &[Model; 3]) -> [LimitSet; 2] {
        let of = |n: usize| limit(meters, &n.to_string(), Kind::InputTokens, models[n].window, models[n].max);
        [LimitSet::new(vec![of(0), of(1)]), LimitSet::new(vec![of(1), of(2)])]
    }

    fn take(&mut self, sets: u8, amount: u64, at: Moment) -> Result<(), TestCaseError> {
        let request = self.held.len();
        let mut held = [Held::default(), Held::default()];
        let [first, second] = &mut held;
        let mut both = vec![(&self.sets[0], first), (&self.sets[1], second)];
        both.retain(|(set, _)| sets == 3 || std::ptr::eq(*set, &self.sets[usize::from(sets) - 1]));
        let got = take_all(&mut both, Kinds::ALL, &claim(amount), at).map_err(|refused| refused.reason);
        let limits: &[usize] = match sets {
            1 => &[0, 1],
            2 => &[1, 2],
            _ => &[0, 1, 1, 2],
        };
        let want = limits.iter().try_for_each(|n| self.models[*n].take(request, amount, at));
        if want.is_err() {
            self.models.iter_mut().for_each(|model| model.give_back(request));
        }
        prop_assert_eq!(got, want);
        self.held.push(held);
        Ok(())
    }

    fn settle(&mut self, request: usize, used: Option<u64>) {
        let Some(request) = request.checked_rem(self.held.len()) else { return };
        let is_held = self.held[request].iter().any(|held| !held.is_empty());
        for (set, held) in self.sets.iter().zip(&mut self.held[request]) {
            match used {
                Some(used) => set.settle(held, &claim(used), self.now, |_| {}),
                None => set.give_back(held, self.now),
            }
        }
        for model in self.models.iter_mut().filter(|_| is_held) {
            match used {
                Some(used) => model.settle(request, used),
                None => model.give_back(request),
            }
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Take { sets, amount } => self.take(sets, amount, self.now)?,
            Step::Late { ms, amount } => {
                let late = Moment { steady: self.now.steady - ms * 1_000_000, wall: self.now.wall - ms * 1_000_000 };
                self.take(1, amount, late)?;
            }
            Step::Settle { request, used } => self.settle(request, Some(used)),
            Step::GiveBack { request } => self.settle(request, None),
            Step::Wait { ms } => {
                self.now = Moment { steady: self.now.steady + ms * 1_000_000, wall: self.now.wall + ms * 1_000_000 };
            }
            Step::Set { seconds } => {
                self.now.wall = self.now.wall.saturating_add_signed(seconds * 1_000_000_000);
            }
            Step::Max { limit, max } => {
                self.models[limit].max = max;
                self.sets = Self::sets(&self.meters, &self.models);
            }
        }
        let states = self.sets[0].states(self.now).chain(self.sets[1].states(self.now).skip(1));
        for (state, model) in states.zip(&mut self.models) {
            let window = model.enter(self.now);
            let pending = model.pending(window).min(model.used(window));
            prop_assert_eq!(
                (state.posted + state.pending, state.pending),
                (model.used(window), pending),
                "{:?}",
                model
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn histories_are_those_of_the_model(
        windows in [window(), window(), window()],
        max in [0..30u64, 0..30u64, 0..30u64],
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut play = Play::new(windows, max);
        for step in steps {
            play.step(step)?;
        }
        // At quiesce nothing is pending, and what has room is admitted.
        for request in 0..play.held.len() {
            play.settle(request, Some(0));
        }
        for (set, first) in play.sets.iter().zip([0, 1]) {
            prop_assert!(set.states(play.now).all(|state| state.pending == 0));
            let room = set.states(play.now).map(|state| state.remaining).min().unwrap_or(0);
            // 0 blocks everything, and so does a limit that settled figures have passed.
            let is_full = |(state, model): (LimitState, &Model)| model.max == 0 || state.posted > state.max;
            if !set.states(play.now).zip(&play.models[first..]).any(is_full) {
                let mut held = Held::default();
                prop_assert!(set.take(Kinds::ALL, &claim(room), play.now, &mut held).is_ok());
                set.give_back(&mut held, play.now);
            }
        }
    }

    /// In no interval does a bucket give out more than its burst and what refills in that time.
    #[test]
    fn buckets_give_no_more_than_they_refill(
        max in 1..50u64,
        burst in 1..60u64,
        steps in proptest::collection::vec((0..5_000u64, 1..20u64), 1..80),
    ) {
        let mut only = limit(&Meters::in_memory(), "k", Kind::Requests, Window::Bucket(minutes(1)), max);
        only.terms = Terms { max, burst };
        let set = LimitSet::new(vec![only]);
        let (mut now, mut given) = (START, Vec::new());
        for (ms, amount) in steps {
            now += ms * 1_000_000;
            let figures = Claim { requests: amount, ..Claim::default() };
            let at = Moment { steady: now, wall: now };
            let refused = set.take(Kinds::ALL, &figures, at, &mut Held::default()).err();
            given.extend(refused.is_none().then_some((now, amount)));
            if let Some(refused) = refused
                && let Some(wait) = refused.resets_in
            {
                let ready = now + u64::try_from(wait.as_nanos()).unwrap();
                let at = Moment { steady: ready, wall: ready };
                let mut held = Held::default();
                prop_assert!(set.take(Kinds::ALL, &figures, at, &mut held).is_ok(), "there is room when it says");
                given.push((ready, amount));
                now = ready;
            }
        }
        for (first, (from, _)) in given.iter().enumerate() {
            let mut sum = 0u128;
            for (to, amount) in &given[first..] {
                sum += u128::from(*amount);
                let refilled = u128::from(to - from) * u128::from(max);
                prop_assert!(sum * u128::from(MINUTE) <= u128::from(burst) * u128::from(MINUTE) + refilled);
            }
        }
    }

    /// Whatever was used before, an amount of the size of a refund never makes more room than it took.
    #[test]
    fn refunds_of_a_bucket_never_pass_what_was_taken(
        steps in proptest::collection::vec((0..20_000u64, 0..20u64, 0..20u64, 0..20_000u64), 1..30),
    ) {
        let mut only = limit(&Meters::in_memory(), "k", Kind::InputTokens, Window::Bucket(minutes(1)), 20);
        (only.scope, only.mode) = (Scope::Route, Mode::Enforce);
        let set = LimitSet::new(vec![only]);
        let mut now = START;
        for (wait, amount, used, until) in steps {
            now += wait * 1_000_000;
            let at = |ms: u64| Moment { steady: now + ms * 1_000_000, wall: now };
            let left = |ms: u64| set.states(at(ms)).next().unwrap().remaining;
            let mut held = Held::default();
            if set.take(Kinds::ALL, &claim(amount), at(0), &mut held).is_err() {
                continue;
            }
            let before = left(until);
            set.settle(&mut held, &claim(used), at(until), |_| {});
            let gained = left(until).saturating_sub(before);
            prop_assert!(gained <= amount.saturating_sub(used), "{gained} for {amount} of which {used} were used");
            now += until * 1_000_000;
        }
    }
}

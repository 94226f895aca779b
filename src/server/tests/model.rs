//! A counter as a list of all that was taken from it.
//!
//! Too simple to be wrong: nothing is added up but what the list holds, when somebody asks.

use std::{collections::BTreeMap, time::Duration};

use crate::limit::{CalendarUnit, Kind, Window};

/// Both clocks, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) steady: u64,
    pub(super) wall: u64,
}

/// One amount that was taken.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// Of which request; none of what a crash left.
    request: Option<usize>,
    /// Beginning of its window, or number of its slot.
    window: u64,
    /// The same as the book has it: a clock that goes back changes nothing there.
    stored: u64,
    amount: u64,
    is_posted: bool,
    /// Whether the book is to know of it.
    is_kept: bool,
}

/// What a request adds to the book: the period, and the amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) period: u64,
    pub(super) amount: u64,
}

/// One counter.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    kind: Kind,
    window: Window,
    /// The window that it is in, or its newest slot; 0 before the first.
    current: u64,
    /// When a request that was refused may have begun a window.
    maybe: Vec<u64>,
    taken: Vec<Taken>,
    /// Of a bucket: as of when, and what is missing.
    level: (u64, u64),
    /// The most that was open at once since the process began, of any age.
    pub(super) open_most: u64,
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap()
}

impl Meter {
    pub(super) fn new(kind: Kind, window: Window) -> Self {
        Self { kind, window, current: 0, maybe: Vec::new(), taken: Vec::new(), level: (0, 0), open_most: 0 }
    }

    /// Whether it is kept over a restart.
    pub(super) fn is_durable(&self) -> bool {
        let length = |window: Window| window.length().is_some_and(|length| length >= Duration::from_secs(600));
        match self.window {
            Window::Open => false,
            Window::Total => true,
            window => self.kind == Kind::Money || length(window),
        }
    }

    fn slot_ns(&self) -> u64 {
        nanos(self.window.length().unwrap()).div_ceil(60)
    }

    fn enter(&self, at: Clocks) -> u64 {
        match self.window {
            Window::Fixed(length) if self.current == 0 || at.steady >= self.current + nanos(length) => at.steady,
            Window::Fixed(_) => self.current,
            Window::Aligned(length) => self.current.max(at.wall / nanos(length) * nanos(length)),
            Window::Calendar(CalendarUnit::Day, 1) => self.current.max(at.wall / DAY_NS * DAY_NS),
            Window::Sliding(_) => self.current.max(at.steady / self.slot_ns()),
            Window::Calendar(..) => panic!("the model knows days only"),
            Window::Total | Window::Open | Window::Bucket(_) => 1,
        }
    }

    fn counts(&self, window: u64, taken: &Taken) -> bool {
        match self.window {
            Window::Sliding(_) => taken.window + 61 > window,
            _ => taken.window == window,
        }
    }

    fn refilled(&self, max: u64, at: Clocks) -> (u64, u64) {
        let length = u128::from(nanos(self.window.length().unwrap()));
        let units = u128::from(at.steady.saturating_sub(self.level.0)) * u128::from(max) / length;
        let units = u64::try_from(units).unwrap();
        if units >= self.level.1 {
            return (at.steady.max(self.level.0), 0);
        }
        (self.level.0 + time_of(units, length, max), self.level.1 - units)
    }

    fn used(&self, max: u64, at: Clocks) -> u64 {
        if let Window::Bucket(_) = self.window {
            return self.refilled(max, at).1;
        }
        let window = self.enter(at);
        self.taken.iter().filter(|taken| self.counts(window, taken)).map(|taken| taken.amount).sum()
    }

    /// Whether an amount fits.
    pub(super) fn fits(&self, amount: u64, max: u64, at: Clocks) -> bool {
        max > 0 && self.used(max, at) + amount <= max
    }

    /// A request took and gave back: a bucket has refilled by the rate that held then.
    pub(super) fn touch(&mut self, max: u64, at: Clocks) {
        if let Window::Bucket(_) = self.window {
            self.level = self.refilled(max, at);
        }
    }

    /// A request was here and got nothing in the end: it may have begun a window.
    pub(super) fn pass_by(&mut self, at: Clocks) {
        if matches!(self.window, Window::Fixed(_)) && self.enter(at) != self.current {
            self.maybe.push(at.steady);
        }
        if matches!(self.window, Window::Sliding(_)) {
            // Slots only ever grow; what was empty stays so.
            self.current = self.enter(at);
        }
    }

    /// Takes an amount that fits. `began` is when the window has begun, of those that requests begin.
    pub(super) fn take(&mut self, request: usize, (amount, max): (u64, u64), began: Option<u64>, at: Clocks) {
        let mut window = self.enter(at);
        if let (Window::Fixed(_), Some(began)) = (self.window, began)
            && window != self.current
        {
            // I-17: it began now or with somebody who was refused since the last one was over, and never earlier.
            let may = began == at.steady || self.maybe.contains(&began);
            assert!(may, "the window began at {began}, not at {} or {:?}", at.steady, self.maybe);
            window = began;
            self.maybe.clear();
        }
        self.current = window;
        let mut mark = window;
        if let Window::Bucket(length) = self.window {
            let (then, missing) = self.refilled(max, at);
            self.level = (then, missing + amount);
            mark = then + time_of(missing + amount, u128::from(nanos(length)), max);
        }
        let open: u64 = self.taken.iter().filter(|taken| !taken.is_posted).map(|taken| taken.amount).sum();
        self.open_most = self.open_most.max(open + amount);
        let request = Some(request);
        self.taken.push(Taken { request, window: mark, stored: mark, amount, is_posted: false, is_kept: true });
    }

    /// The book need not know what this request took: the limit only counts.
    pub(super) fn keep_out(&mut self, request: usize) {
        for taken in self.taken.iter_mut().filter(|taken| taken.request == Some(request)) {
            taken.is_kept = false;
        }
    }

    /// Ends what a request took; none if it took nothing here. `used` replaces the amount; what was taken in vain is gone.
    pub(super) fn end(&mut self, request: usize, (used, max): (u64, u64), at: Clocks) -> Option<Due> {
        let place = self.taken.iter().position(|taken| taken.request == Some(request) && !taken.is_posted)?;
        let taken = self.taken[place];
        let mut period = taken.window;
        if let Window::Bucket(length) = self.window {
            let (then, missing) = if used < taken.amount { self.refilled(max, at) } else { self.level };
            let back = taken.amount.saturating_sub(used);
            let left = u128::from(taken.window.saturating_sub(at.steady.max(then))) * u128::from(max)
                / u128::from(nanos(length));
            let missing =
                (missing + used.saturating_sub(taken.amount)).saturating_sub(back.min(u64::try_from(left).unwrap()));
            self.level = (then, missing);
        }
        if matches!(self.window, Window::Bucket(_) | Window::Sliding(_)) {
            period = 1;
        }
        self.taken[place].amount = used;
        self.taken[place].is_posted = true;
        if matches!(self.window, Window::Open) {
            self.taken.remove(place);
        }
        let is_due = taken.is_kept && used > 0 && self.is_durable();
        is_due.then_some(Due { period, amount: used })
    }

    /// Posted and pending, as somebody who reads it sees them.
    pub(super) fn reading(&self, max: u64, at: Clocks) -> (u64, u64) {
        let used = self.used(max, at);
        let window = self.enter(at);
        let is_rolling = matches!(self.window, Window::Sliding(_) | Window::Bucket(_));
        let open = self.taken.iter().filter(|taken| !taken.is_posted);
        let open: u64 = open.filter(|taken| is_rolling || self.counts(window, taken)).map(|taken| taken.amount).sum();
        let pending = if self.kind == Kind::Requests { 0 } else { open.min(used) };
        (used - pending, pending)
    }

    /// Whether a request holds something of it.
    pub(super) fn is_held(&self) -> bool {
        self.taken.iter().any(|taken| !taken.is_posted)
    }

    /// What of it a crash would have to remember: posted or pending, under a lease, not in the book. By period.
    pub(super) fn unbooked(&self, is_booked: impl Fn(usize) -> bool) -> u64 {
        let newest = self.newest_period();
        let lost = self.taken.iter().filter(|taken| taken.is_kept && taken.request.is_some_and(|id| !is_booked(id)));
        lost.filter(|taken| self.period_of(taken) == newest).map(|taken| taken.amount).sum()
    }

    /// The period of its account that it is in.
    pub(super) fn newest_period(&self) -> u64 {
        if matches!(self.window, Window::Sliding(_) | Window::Bucket(_)) { 1 } else { self.current }
    }

    fn period_of(&self, taken: &Taken) -> u64 {
        if matches!(self.window, Window::Sliding(_) | Window::Bucket(_)) { 1 } else { taken.window }
    }

    /// The book has these slots: when they begin, and what was posted there. It keeps a window and two slots before the
    /// newest. What a crash leaves begins at any moment of its slot, so of the second of them a part is gone then. It may
    /// keep older ones, whole or what was booked late, which counts again for a clock that has gone back.
    pub(super) fn keep_slots(&mut self, is_booked: impl Fn(usize) -> bool, slots: &[(u64, u64)]) {
        if !matches!(self.window, Window::Sliding(_)) || !self.is_durable() {
            return;
        }
        let mut posted: BTreeMap<u64, u64> = BTreeMap::new();
        for (begins, amount) in slots {
            *posted.entry(begins / self.slot_ns()).or_default() += amount;
        }
        let newest = posted.keys().max().copied().unwrap_or(0);
        let is_due = |taken: &Taken| {
            taken.is_kept && taken.is_posted && taken.amount > 0 && taken.request.is_none_or(&is_booked)
        };
        for (slot, amount) in posted.into_iter().filter(|(slot, _)| slot + 61 < newest) {
            let old = self.taken.iter().filter(|taken| taken.stored == slot && is_due(taken));
            let sum: u64 = old.map(|taken| taken.amount).sum();
            assert!(amount <= sum, "I-13: {amount} in slot {slot}, where {sum} was taken");
            if let Some(first) = self.taken.iter().position(|taken| taken.stored == slot && is_due(taken)) {
                let left = Taken { request: None, amount, ..self.taken[first] };
                self.taken.retain(|taken| taken.stored != slot || !is_due(taken));
                self.taken.push(left);
            }
        }
        let is_there = |taken: &Taken| slots.iter().any(|(begins, _)| begins / self.slot_ns() == taken.stored);
        for taken in self.taken.iter().filter(|taken| is_due(taken) && taken.stored + 61 >= newest) {
            assert!(is_there(taken), "I-12: the slot of {taken:?} is lost");
        }
        let kept = self.taken.iter().filter(|taken| is_there(taken)).copied().collect();
        self.taken = kept;
    }

    /// A new process: only what the book knows is left. `newest` is the newest period that it has, and `reserve` what it adds
    /// for a crash to that, at this time.
    pub(super) fn restart(&mut self, is_booked: impl Fn(usize) -> bool, (newest, reserve): (u64, u64), at: Clocks) {
        self.maybe.clear();
        self.open_most = 0;
        if !self.is_durable() {
            (self.current, self.level) = (0, (0, 0));
            self.taken.clear();
            return;
        }
        self.taken.retain(|taken| taken.is_kept && taken.is_posted && taken.request.is_none_or(&is_booked));
        self.current = newest;
        let mut window = newest;
        if let Window::Sliding(_) = self.window {
            let slot_ns = self.slot_ns();
            for taken in &mut self.taken {
                // A clock that was ahead keeps nothing beyond now.
                taken.window = (taken.stored * slot_ns).min(at.wall) / slot_ns;
            }
            window = at.wall / slot_ns;
            self.current = self.taken.iter().map(|taken| taken.window).max().unwrap_or(0);
            if reserve > 0 {
                self.current = self.current.max(window);
            }
        }
        if reserve > 0 {
            self.taken.push(Taken {
                request: None,
                window,
                stored: window,
                amount: reserve,
                is_posted: true,
                is_kept: true,
            });
        }
    }

    /// Takes over the level of a bucket, which is booked with less precision. It forgives nothing, as far as `max` was the
    /// same all the time.
    pub(super) fn adopt_level(&mut self, level: (u64, u64), max: Option<u64>, at: Clocks) {
        let before = max.map(|max| self.refilled(max, at).1);
        self.level = (level.0.min(at.wall), level.1);
        let after = max.map(|max| self.refilled(max, at).1);
        assert!(after.unwrap_or(0) + 2 >= before.unwrap_or(0), "I-12: {before:?} were missing, now {after:?}");
    }

    pub(super) fn is_bucket(&self) -> bool {
        matches!(self.window, Window::Bucket(_))
    }

    /// It may be forgotten that it was ever used, if nothing of it counts: then the next request begins a window.
    pub(super) fn sweep(&mut self, at: Clocks) {
        if matches!(self.window, Window::Fixed(_)) && self.reading(1, at) == (0, 0) {
            self.maybe.push(std::mem::take(&mut self.current));
        }
    }
}

const DAY_NS: u64 = 86_400 * 1_000_000_000;

fn time_of(units: u64, length: u128, max: u64) -> u64 {
    u64::try_from((u128::from(units) * length).div_ceil(u128::from(max.max(1)))).unwrap()
}

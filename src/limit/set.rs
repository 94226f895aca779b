//! Limits that stand together: of one grant, of one route.
//!
//! A take is all or nothing, over one set or over several. It neither waits nor allocates.

use std::{sync::Arc, time::Duration};

use crate::base::Charge;

use super::ask::{Ask, Gate, Reason, Refusal, Settlement};
use super::held::{Entry, Held, State};
use super::meter::Meter;
use super::queue::{Queue, Waiting};
use super::rule::{Claim, Kind, Kinds, Scope, Terms, Window};
use super::window::Moment;

/// One limit: a counter and what it allows.
#[derive(Debug, Clone)]
pub struct Limit {
    /// The counter.
    pub meter: Arc<Meter>,
    /// What it allows.
    pub terms: Terms,
    /// Whose limit it is.
    pub scope: Scope,
    /// Whether it refuses or only reports.
    pub mode: Mode,
    /// Where requests may wait, of [`Kind::Concurrent`] alone.
    pub queue: Option<Queue>,
}

/// What a limit does when it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It refuses.
    #[default]
    Enforce,
    /// It counts what it would have refused. What it would have refused uses nothing up.
    Shadow,
}

impl Limit {
    /// What it counts.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.meter.key().kind
    }

    /// Over what time.
    #[must_use]
    pub fn window(&self) -> Window {
        self.meter.key().window
    }

    fn gate(&self) -> Gate {
        match self.mode {
            Mode::Enforce => Gate::Leased,
            Mode::Shadow => Gate::Free,
        }
    }

    fn take(&self, claim: &Claim, at: Moment, own: u64) -> Result<Entry, Refused> {
        let amount = claim.amount(self.kind());
        match self.meter.take(&Ask { amount, terms: self.terms, at, own, gate: self.gate() }) {
            Ok(taken) => Ok(Entry { mark: taken.mark, amount, state: State::Tentative }),
            Err(_) if self.mode == Mode::Shadow => Ok(Entry { mark: 0, amount, state: State::WouldRefuse }),
            Err(refusal) => Err(self.refused(amount, refusal)),
        }
    }

    fn ended(&self, entry: &Entry, used: u64, at: Moment) -> Settlement {
        Settlement { mark: entry.mark, reserved: entry.amount, used, terms: self.terms, at, gate: self.gate() }
    }

    fn refused(&self, asked: u64, refusal: Refusal) -> Refused {
        Refused {
            scope: self.scope,
            kind: self.kind(),
            window: self.window(),
            terms: self.terms,
            reason: refusal.reason,
            asked,
            free: refusal.free,
            resets_in: refusal.resets_in,
        }
    }

    fn state(&self, at: Moment) -> LimitState {
        let reading = self.meter.read(self.terms, at);
        let max = match self.window() {
            Window::Bucket(_) => self.terms.burst,
            _ => self.terms.max,
        };
        LimitState {
            scope: self.scope,
            kind: self.kind(),
            window: self.window(),
            mode: self.mode,
            max,
            posted: reading.posted,
            pending: reading.pending,
            remaining: max.saturating_sub(reading.posted.saturating_add(reading.pending)),
            resets_in: reading.empty_in,
        }
    }
}

/// Why a request was refused. Times and amounts are as of the moment of the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Whose limit it is.
    pub scope: Scope,
    /// What it counts.
    pub kind: Kind,
    /// Over what time.
    pub window: Window,
    /// What it allows.
    pub terms: Terms,
    /// Whether it is reached, only reserved, or waits for its lease.
    pub reason: Reason,
    /// What the request asked for, in the unit of the kind.
    pub asked: u64,
    /// What would still have been admitted.
    pub free: u64,
    /// When the amount would fit if nobody else came; none if time alone does not help.
    pub resets_in: Option<Duration>,
}

impl Refused {
    /// Whether the request is larger than the limit will ever admit.
    #[must_use]
    pub fn never_fits(&self) -> bool {
        self.terms.max == 0 || self.asked > self.terms.burst.max(self.terms.max)
    }
}

/// A limit and its counter at one moment, in the unit of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitState {
    /// Whose limit it is.
    pub scope: Scope,
    /// What it counts.
    pub kind: Kind,
    /// Over what time.
    pub window: Window,
    /// Whether it refuses.
    pub mode: Mode,
    /// Most in one window; of a bucket, most at once.
    pub max: u64,
    /// Used by requests that are settled.
    pub posted: u64,
    /// Reserved by requests that are open.
    pub pending: u64,
    /// What is left.
    pub remaining: u64,
    /// Time until nothing of it is used, if nobody comes; none if time alone does not help.
    pub resets_in: Option<Duration>,
}

/// What a request wants from sets of limits.
struct Want<'a> {
    kinds: Kinds,
    claim: &'a Claim,
    at: Moment,
}

/// Some limits, checked in this order.
#[derive(Debug, Clone, Default)]
pub struct LimitSet {
    limits: Box<[Limit]>,
    kinds: Kinds,
}

impl LimitSet {
    /// Puts limits together.
    #[must_use]
    pub fn new(limits: Vec<Limit>) -> Self {
        let kinds = limits.iter().fold(Kinds::NONE, |kinds, limit| kinds.and(limit.kind()));
        Self { limits: limits.into(), kinds }
    }

    /// Whether there is no limit at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// The kinds that are limited.
    #[must_use]
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Whether a kind is limited.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.has(kind)
    }

    /// The limits, in the order in which they are checked.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Takes a request's figures from every limit of these kinds, or nothing.
    ///
    /// # Errors
    /// The first limit that refuses.
    pub fn take(&self, kinds: Kinds, claim: &Claim, at: Moment, held: &mut Held) -> Result<(), Refused> {
        take_all(&mut [(self, held)], kinds, claim, at)
    }

    /// Gives everything back that a request holds, as if it had never come.
    pub fn give_back(&self, held: &mut Held, at: Moment) {
        for (limit, entry) in self.limits.iter().zip(&held.entries) {
            if entry.state == State::Kept {
                limit.meter.give_back(&limit.ended(entry, 0, at));
            }
        }
        held.entries.clear();
    }

    /// Ends what a request holds: its true figures take the place of the reserved ones, and it is no longer open. Figures
    /// above the reservation count as well. `charge` gets what durable accounts must keep.
    pub fn settle(&self, held: &mut Held, used: &Claim, at: Moment, mut charge: impl FnMut(Charge)) {
        for (limit, entry) in self.limits.iter().zip(&held.entries) {
            if entry.state != State::Kept {
                continue;
            }
            let end = limit.ended(entry, used.amount(limit.kind()), at);
            limit.meter.settle(&end);
            if end.used > 0 && limit.mode == Mode::Enforce && limit.meter.is_durable() {
                charge(limit.meter.charge(&end));
            }
        }
        held.entries.clear();
    }

    /// The limit of these kinds that has least left; limits in shadow mode do not count.
    #[must_use]
    pub fn tightest(&self, kinds: Kinds, at: Moment) -> Option<LimitState> {
        if !self.kinds.meets(kinds) {
            return None;
        }
        let enforced = self.limits.iter().filter(|limit| kinds.has(limit.kind()) && limit.mode == Mode::Enforce);
        enforced.map(|limit| limit.state(at)).min_by_key(|state| state.remaining)
    }

    /// Joins the queue of the limit that refused, where it has one with room: until the end of its wait, `take` may be tried
    /// again. Returns what leaves the queue when it is dropped, and the longest wait.
    #[must_use]
    pub fn join_queue(&self, refused: &Refused) -> Option<(Waiting, Duration)> {
        let refuses = |limit: &&Limit| limit.kind() == refused.kind && limit.scope == refused.scope;
        let limit = self.limits.iter().filter(refuses).find(|limit| limit.queue.is_some())?;
        let queue = limit.queue?;
        Some((Waiting::join(&limit.meter, queue)?, queue.wait))
    }

    /// Every limit with its counter.
    pub fn states(&self, at: Moment) -> impl Iterator<Item = LimitState> {
        self.limits.iter().map(move |limit| limit.state(at))
    }

    /// The limits in shadow mode that would have refused what `held` stands for.
    pub fn would_refuse<'a>(&'a self, held: &'a Held) -> impl Iterator<Item = &'a Limit> {
        let entries = self.limits.iter().zip(&held.entries);
        entries.filter(|(_, entry)| entry.state == State::Reported).map(|(limit, _)| limit)
    }

    fn concerned(&self, kinds: Kinds, held: &Held) -> usize {
        if !self.kinds.meets(kinds) {
            return 0;
        }
        let takes = |(index, limit): &(usize, &Limit)| {
            kinds.has(limit.kind()) && held.entries.get(*index).is_none_or(|entry| entry.state == State::Nothing)
        };
        self.limits.iter().enumerate().filter(takes).count()
    }

    /// Takes from the limits of one set; `left` counts the limits that come, this set's included.
    fn take_in_order(&self, want: &Want<'_>, held: &mut Held, left: &mut usize) -> Result<(), Refused> {
        held.entries.resize(self.limits.len(), Entry::default());
        for (limit, entry) in self.limits.iter().zip(&mut held.entries) {
            if !want.kinds.has(limit.kind()) || entry.state != State::Nothing {
                continue;
            }
            *left -= 1;
            // The last one decides: nobody gives it back.
            let own = u64::from(*left > 0);
            if own > 0 {
                limit.meter.tentative.enter();
            }
            let taken = limit.take(want.claim, want.at, own);
            let is_taken = matches!(&taken, Ok(entry) if entry.state == State::Tentative);
            if own > 0 && !is_taken {
                limit.meter.tentative.gave_back();
            }
            *entry = taken?;
            if own == 0 && is_taken {
                entry.state = State::Kept;
            }
        }
        Ok(())
    }

    fn keep(&self, held: &mut Held) {
        for (limit, entry) in self.limits.iter().zip(&mut held.entries) {
            match entry.state {
                State::Tentative => {
                    entry.state = State::Kept;
                    limit.meter.tentative.keep();
                }
                // Counted once a request, and not for each time that it tried.
                State::WouldRefuse => {
                    entry.state = State::Reported;
                    limit.meter.count_shadow_refusal();
                }
                State::Nothing | State::Kept | State::Reported => {}
            }
        }
    }

    fn undo(&self, held: &mut Held, at: Moment) {
        for (limit, entry) in self.limits.iter().zip(&mut held.entries) {
            if entry.state == State::Tentative {
                limit.meter.give_back(&limit.ended(entry, 0, at));
                limit.meter.tentative.gave_back();
            }
            if matches!(entry.state, State::Tentative | State::WouldRefuse) {
                *entry = Entry::default();
            }
        }
    }
}

/// Takes a request's figures from every limit of these kinds in every set, or nothing. Of a kind that is held already
/// nothing more is taken.
///
/// While it is under way nobody is refused for good because of what it may give back; so sets that must pass together
/// should be taken together.
///
/// # Errors
/// The first limit that refuses.
pub fn take_all(sets: &mut [(&LimitSet, &mut Held)], kinds: Kinds, claim: &Claim, at: Moment) -> Result<(), Refused> {
    let mut left = sets.iter().map(|(set, held)| set.concerned(kinds, held)).sum();
    if left == 0 {
        return Ok(());
    }
    let mut result = Ok(());
    for (set, held) in sets.iter_mut() {
        if set.kinds.meets(kinds) && result.is_ok() {
            result = set.take_in_order(&Want { kinds, claim, at }, held, &mut left);
        }
    }
    for (set, held) in sets.iter_mut() {
        match result {
            Ok(()) => set.keep(held),
            Err(_) => set.undo(held, at),
        }
    }
    result
}

//! No interval of a window's length holds more than its most.
//!
//! Time is cut into slots of a sixtieth of the window. An amount counts until its whole slot is older than the window, so
//! up to one slot longer than it must: rounded against the client, never for it.
//!
//! The head holds the newest slot and the sum of all that counts; the ring holds what each of the last 61 slots took. An
//! amount enters the sum first and its slot afterwards, and leaves its slot first and the sum afterwards. So the sum is
//! never less than what the slots hold, whatever the order of threads, and each amount leaves exactly once: whoever
//! swaps it out of its slot takes it from the sum. An amount that finds its slot used again has expired on its way.

use std::{collections::BTreeMap, time::Duration};

use super::ask::{Ask, Reading, Reason, Refusal, Settlement, Taken};
use super::atomic::Pair;
use super::odometer::{Odometer, Toll};
use super::pending::Pending;
use super::rule::Kind;
use super::tentative::Tentative;
use super::window::{Moment, nanos};

/// Slots of a window.
const SLOTS: u64 = 60;
/// The slots that count: those of a window, and the one that is partly outside.
const RING: u64 = SLOTS + 1;

/// The counter of a sliding window.
#[derive(Debug)]
pub(super) struct Sliding {
    slot_ns: u64,
    /// Newest slot; sum of what counts.
    head: Pair,
    /// By number modulo 61: number of the slot, what it took.
    ring: Box<[Pair]>,
    /// What is reserved and not settled, of any age.
    pending: Pending,
    /// What a ledger keeps of it, if one does.
    pub(super) odometer: Option<Box<Odometer>>,
}

impl Sliding {
    pub(super) fn new(length: Duration, kind: Kind, odometer: Option<Box<Odometer>>) -> Self {
        let ring = (0..RING).map(|_| Pair::default()).collect();
        let slot_ns = nanos(length).div_ceil(SLOTS).max(1);
        Self { slot_ns, head: Pair::default(), ring, pending: Pending::of(kind), odometer }
    }

    fn place(&self, slot: u64) -> Option<&Pair> {
        self.ring.get(usize::try_from(slot % RING).ok()?)
    }

    pub(super) fn take(&self, ask: &Ask, tentative: &Tentative) -> Result<Taken, Refusal> {
        let now = ask.at.steady / self.slot_ns;
        let mut looks = 0;
        let mut toll = Toll::new(self.odometer.as_deref(), ask.gate);
        loop {
            let look = tentative.look();
            let seen = self.head.load();
            if now > seen.0 {
                if self.head.swap(seen, (now, seen.1)).is_ok() {
                    self.expire(seen.0 + 1, now, tentative);
                }
                continue;
            }
            if let Some(next) = ask.fits(seen.1, ask.terms.max) {
                toll.pay(ask, ask.terms.max - seen.1)?;
                if self.head.swap(seen, (seen.0, next)).is_err() {
                    continue;
                }
                self.pending.add(ask.amount);
                self.put(seen.0, ask.amount, tentative);
                return Ok(Taken { mark: seen.0, lease_low: toll.lease_low });
            }
            // Somebody moved the head and was stopped before the old slots were out.
            if self.expire(0, seen.0, tentative) {
                continue;
            }
            if tentative.is_final(look, ask.own, &mut looks) {
                toll.give_back(ask.amount);
                return Err(self.refusal(seen, ask));
            }
        }
    }

    /// Adds an amount, which is in the sum, to its slot.
    fn put(&self, slot: u64, amount: u64, tentative: &Tentative) {
        let Some(place) = self.place(slot) else { return };
        loop {
            let seen = place.load();
            if seen.0 > slot {
                self.forget(amount);
                return;
            }
            if seen.0 < slot {
                self.renew(slot, tentative);
                continue;
            }
            if place.swap(seen, (slot, seen.1.saturating_add(amount))).is_ok() {
                return;
            }
        }
    }

    /// Makes the places of the slots `from` to `to` ready; what they held before has expired. Whether that was anything.
    fn expire(&self, from: u64, to: u64, tentative: &Tentative) -> bool {
        let from = from.max((to + 1).saturating_sub(RING));
        // Every place is made ready, also behind the first that held something.
        let mut any = false;
        for slot in from..=to {
            any |= self.renew(slot, tentative);
        }
        any
    }

    /// Gives a place to its next slot. Whether an amount expired with the old one.
    fn renew(&self, slot: u64, tentative: &Tentative) -> bool {
        let Some(place) = self.place(slot) else { return false };
        if place.load().0 >= slot {
            return false;
        }
        // Until it is out of the sum, the amount makes the limit look fuller than it is.
        tentative.enter();
        let old = place.update(|(old, _)| (old < slot).then_some((slot, 0)));
        let expired = old.map_or(0, |(_, amount)| amount);
        if expired > 0 {
            self.forget(expired);
        }
        tentative.gave_back();
        expired > 0
    }

    /// Takes an amount out of the sum that is in no slot.
    fn forget(&self, amount: u64) {
        self.head.update(|(slot, sum)| Some((slot, sum.saturating_sub(amount))));
    }

    /// Takes an amount out of its slot and the sum, unless it has expired.
    fn withdraw(&self, slot: u64, amount: u64) {
        let Some(place) = self.place(slot) else { return };
        let out = place.update(|(seen, held)| (seen == slot).then_some((seen, held.saturating_sub(amount))));
        if out.is_some() {
            self.forget(amount);
        }
    }

    fn refusal(&self, head: (u64, u64), ask: &Ask) -> Refusal {
        let posted = head.1.saturating_sub(self.pending.load());
        let reason = match ask.fits(posted, ask.terms.max) {
            Some(_) => Reason::Reserved,
            None => Reason::Reached,
        };
        let target = ask.terms.max.checked_sub(ask.amount).filter(|_| ask.terms.max > 0);
        let resets_in = target.and_then(|target| self.falls_to(head, target, ask.at));
        Refusal { reason, free: ask.terms.max.saturating_sub(head.1), resets_in }
    }

    /// Time until the sum is at most `target`.
    fn falls_to(&self, (newest, mut sum): (u64, u64), target: u64, at: Moment) -> Option<Duration> {
        if sum <= target {
            return Some(Duration::ZERO);
        }
        for slot in (newest + 1).saturating_sub(RING)..=newest {
            let held = self.place(slot).map(Pair::load).filter(|(number, _)| *number == slot);
            sum = sum.saturating_sub(held.map_or(0, |(_, amount)| amount));
            if sum <= target {
                let ends = (slot + RING).saturating_mul(self.slot_ns);
                return Some(Duration::from_nanos(ends.saturating_sub(at.steady)));
            }
        }
        // An amount on its way to its slot.
        Some(Duration::from_nanos(self.slot_ns.saturating_mul(RING)))
    }

    /// Returns what counts after it.
    pub(super) fn settle(&self, end: &Settlement, tentative: &Tentative) -> u64 {
        if end.used < end.reserved {
            self.withdraw(end.mark, end.reserved - end.used);
        } else if end.used > end.reserved {
            let excess = end.used - end.reserved;
            self.head.update(|(slot, sum)| Some((slot, sum.saturating_add(excess))));
            self.put(end.mark, excess, tentative);
        }
        self.pending.remove(end.reserved);
        self.head.load().1
    }

    /// When a slot begins, on the steady clock.
    pub(super) fn slot_start(&self, slot: u64) -> u64 {
        slot.saturating_mul(self.slot_ns)
    }

    /// Sets what was posted before a restart, by the times at which its slots began. Twice is as once.
    pub(super) fn restore(&self, posted: &[(u64, u64)]) {
        let mut slots: BTreeMap<u64, u64> = BTreeMap::new();
        for (begins, amount) in posted {
            let held = slots.entry(begins / self.slot_ns).or_default();
            *held = held.saturating_add(*amount);
        }
        let newest = slots.last_key_value().map_or(0, |(slot, _)| *slot);
        for (slot, amount) in slots {
            if slot + RING <= newest {
                continue;
            }
            let Some(place) = self.place(slot) else { continue };
            let mut added = 0;
            place.update(|(seen, held)| {
                let held = if seen == slot { held } else { 0 };
                added = amount.saturating_sub(held);
                (seen <= slot && added > 0).then_some((slot, held.saturating_add(added)))
            });
            self.head.update(|(head, sum)| Some((head.max(slot), sum.saturating_add(added))));
        }
    }

    pub(super) fn read(&self, at: Moment) -> Reading {
        let (newest, _) = self.head.load();
        let now = newest.max(at.steady / self.slot_ns);
        let counts = |pair: &Pair| Some(pair.load()).filter(|(slot, _)| slot + RING > now).map_or(0, |(_, held)| held);
        let sum = self.ring.iter().map(counts).fold(0, u64::saturating_add);
        let pending = self.pending.load().min(sum);
        Reading { posted: sum - pending, pending, empty_in: self.falls_to((now, sum), 0, at) }
    }
}

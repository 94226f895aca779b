//! What must hold: always, when all is quiet, afterwards.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    book::Process,
    expected::{Bound, Expected},
    world::{self, project_of},
};
use crate::{
    limit::{Kind, Limit, LimitState, Mode},
    store::{Account, Order, PageRequest, RequestFilter, Rollup, Span, StoreError, Tx},
    usage::Credential,
    wire::Endpoint,
};

/// Days that rows are kept.
const KEPT_DAYS: u64 = 30;
const DAY_NS: u64 = 86_400 * 1_000_000_000;

type Accounts = BTreeMap<(String, u64), (u64, u64)>;

impl Process<'_> {
    /// How many limits bind a key wherever its requests go.
    pub(super) fn grant_limits(&self, expected: &Expected, key: usize) -> usize {
        let snapshot = self.rig.served();
        let grant = snapshot.grant(expected.keys[key].text.reveal().as_bytes());
        grant.map_or(0, |grant| grant.limits.limits().len())
    }

    /// Every limit that binds a key, as it is served, with its counter.
    pub(super) fn states(&self, expected: &Expected, key: usize) -> Vec<(Bound, LimitState)> {
        let snapshot = self.rig.served();
        let Some(grant) = snapshot.grant(expected.keys[key].text.reveal().as_bytes()) else { return Vec::new() };
        let route = snapshot.route(grant, "chat").ok().unwrap().route;
        let target = route.targets(Endpoint::Chat).first().unwrap();
        let mut limits: Vec<Limit> = grant.limits.limits().to_vec();
        limits.extend_from_slice(target.bounds.limits.limits());
        if let Some(keyed) = &target.bounds.keyed {
            limits.extend_from_slice(keyed.set_for(&grant.caller).limits());
        }
        if let Some(paid) = target.paid.as_ref().filter(|_| target.credential() == Credential::Platform) {
            limits.extend_from_slice(paid.credit.terms().limits.limits());
        }
        let now = self.rig.shared.meters.now();
        let state = |limit: Limit| {
            let bound = Bound {
                account: limit.meter.account().to_string(),
                max: limit.terms.max,
                is_shadow: limit.mode == Mode::Shadow,
            };
            let set = crate::limit::LimitSet::new(vec![limit]);
            (bound, set.states(now).next().unwrap())
        };
        limits.into_iter().map(state).collect()
    }

    /// I-1, I-6, I-17, I-19, I-21: every counter of every key says what the model says.
    pub(super) fn check(&self, expected: &mut Expected) {
        let at = expected.at();
        for key in 0..expected.keys.len() {
            let state = &expected.keys[key];
            if !state.is_there || !state.is_active {
                continue;
            }
            let states = self.states(expected, key);
            let mut bounds: Vec<Bound> = states.iter().map(|(bound, _)| bound.clone()).collect();
            let mut want = expected.bounds(key);
            bounds.sort();
            want.sort();
            assert_eq!(bounds, want, "limits of key {key}");
            for (bound, state) in states {
                let meter = &expected.meters[&bound.account];
                let got = (state.posted, state.pending);
                assert_eq!(got, meter.reading(bound.max, at), "I-1: {bound:?} {meter:?} at {at:?}");
            }
        }
        let overshoot = self.rig.shared.meters.overshoot(Kind::Money);
        assert!(expected.may_exceed || overshoot == 0, "I-1: {overshoot} beyond a limit");
    }

    fn accounts(&self) -> Accounts {
        let read = |tx: &dyn Tx| {
            let mut found = Accounts::new();
            tx.each_account(&mut |row| {
                found.insert((row.account, row.period), (row.posted, row.leased));
            })?;
            Ok::<_, StoreError>(found)
        };
        self.tokio.block_on(self.rig.control.store().read(read)).unwrap()
    }

    fn posted(&self, account: &str, period: u64) -> u64 {
        let account = account.to_owned();
        let read = move |tx: &dyn Tx| tx.account(&account, period);
        let row = self.tokio.block_on(self.rig.control.store().read(read)).unwrap();
        row.map_or(0, |row| row.posted)
    }

    /// I-2, I-10: accounts are what was booked, and the sums of their entries.
    pub(super) fn check_ledger(&self, expected: &Expected) {
        for ((account, period), (posted, leased)) in self.accounts() {
            let place = (account.clone(), period);
            assert_eq!(posted, expected.ledger.get(&place).copied().unwrap_or(0), "I-2: {place:?}");
            let most = expected.most.get(&account).copied().unwrap_or(0).max(posted);
            let is_rolling = account.contains("/sliding_window:") || account.contains("/token_bucket:");
            assert!(is_rolling || leased <= most, "I-1: {account} is leased up to {leased} of {most}");
        }
        for ((account, period), amount) in &expected.ledger {
            assert_eq!(self.posted(account, *period), *amount, "I-2: {account} {period}");
        }
        let (apart, _) = self.tokio.block_on(self.rig.control.store().read(|tx| tx.unposted(None, 10_000))).unwrap();
        assert_eq!(apart, 0, "I-2: entries");
    }

    /// When all is quiet: the books agree to the last unit.
    pub(super) fn check_quiet(&self, expected: &mut Expected) {
        assert!(expected.meters.values().all(|meter| !meter.is_held()), "I-3");
        assert_eq!(self.rig.shared.queue.depth(), 0, "I-3");
        for (place, (posted, leased)) in self.accounts() {
            // What stays open longer than its window leaves that room for others, and keeps its lease.
            let open_most = expected.meters.get(&place.0).map_or(0, |meter| meter.open_most);
            let most = expected.most.get(&place.0).copied().unwrap_or(0) + open_most;
            assert!(leased - posted <= most, "I-13: {place:?} holds {leased} for {posted}, and allows {most}");
        }
        self.check_ledger(expected);
        assert_eq!(self.tokio.block_on(self.keeper.compare()).unwrap(), 0, "I-2: roll-ups");
        assert_eq!(self.tokio.block_on(world::audited(self.rig)), expected.audited, "I-23");
        self.check_rows(expected);
        self.check_rollups(expected);
    }

    /// I-4, I-5, I-12, I-13, I-21, I-22: a row for each request that was booked, with what it was billed, in its project alone.
    fn check_rows(&self, expected: &Expected) {
        for (project, id) in expected.template.projects.iter().enumerate() {
            let filter = RequestFilter { project: id.as_str().to_owned(), ..RequestFilter::default() };
            let page = PageRequest { limit: 1_000, after: None, order: Order::Ascending };
            let read = move |tx: &dyn Tx| tx.requests(&filter, &page);
            let rows = self.tokio.block_on(self.rig.control.store().read(read)).unwrap().rows;
            let is_here = |key: Option<usize>| key.is_some_and(|key| project_of(key) == project);
            let booked = expected.known.iter().filter(|known| is_here(known.key) && known.is_booked);
            let row = |known: &super::expected::Known| {
                let bill = known.bill.unwrap_or_default();
                let key = expected.template.keys[known.key.unwrap()].0.id.to_string();
                (known.id.clone(), key, bill.cost, bill.fee, bill.attempts, (bill.input, bill.output))
            };
            let want: BTreeSet<_> = booked.clone().filter(|known| !known.is_forgotten).map(row).collect();
            let count = rows.len();
            let got: BTreeSet<_> = rows
                .into_iter()
                .map(|row| {
                    let attempts = u32::try_from(row.attempts().len()).unwrap();
                    assert_eq!(attempts, row.attempts, "I-5");
                    let cost: u64 = row.attempts().iter().map(|attempt| attempt.cost.unwrap_or_default().units()).sum();
                    assert_eq!(cost, row.cost.unwrap_or_default().units(), "I-5: attempts are what the request costs");
                    let (cost, tokens) = (row.cost.map(|cost| cost.units()), (row.tokens.input, row.tokens.output));
                    (row.request_id, row.dimension.key, cost, row.fee.units(), attempts, tokens)
                })
                .collect();
            assert_eq!(got, want, "I-4, I-12, I-13: rows of project {project}");
            assert_eq!(got.len(), count, "I-4: a row stands twice");
        }
    }

    /// I-2: roll-ups hold every request, whatever was folded.
    fn check_rollups(&self, expected: &Expected) {
        for (project, id) in expected.template.projects.iter().enumerate() {
            let name = id.as_str().to_owned();
            let read = move |tx: &dyn Tx| {
                let mut sums = [[0u64; 5]; 2];
                for (sum, span) in sums.iter_mut().zip([Span::Day, Span::Minute]) {
                    let mut add = |rollup: Rollup| {
                        let tally = rollup.tally;
                        let money = (tally.cost.units(), tally.fee.units());
                        let parts = [tally.requests, tally.attempts, tally.tokens.output, money.0, money.1];
                        sum.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
                    };
                    tx.rollups(&name, span, (0, u64::MAX >> 1), &mut add)?;
                }
                Ok::<_, StoreError>(sums)
            };
            let [_, minutes] = self.tokio.block_on(self.rig.control.store().read(read)).unwrap();
            let booked = expected.known.iter().filter(|known| known.is_booked);
            let booked = booked.filter(|known| known.key.is_some_and(|key| project_of(key) == project));
            let mut want = [0u64; 5];
            let mut any_old = false;
            for known in booked {
                let bill = known.bill.unwrap_or_default();
                let parts = [1, u64::from(bill.attempts), bill.output, bill.cost.unwrap_or(0), bill.fee];
                want.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
                any_old |= known.is_old;
            }
            // Minutes are kept for a week; `compare` looks at days as well.
            assert!(any_old || minutes == want, "I-2: minutes of project {project}: {minutes:?}, not {want:?}");
        }
    }

    /// Roll-ups are folded, old rows go, the books agree.
    pub(super) fn upkeep(&self, expected: &mut Expected) {
        self.tokio.block_on(self.keeper.fold()).unwrap();
        self.tokio.block_on(self.keeper.forget()).unwrap();
        assert_eq!(self.tokio.block_on(self.keeper.compare()).unwrap(), 0, "I-2");
        let now = expected.at().wall;
        for known in expected.known.iter_mut().filter(|known| known.is_booked) {
            known.is_forgotten |= known.at < now.saturating_sub(KEPT_DAYS * DAY_NS);
            known.is_old |= known.at < now.saturating_sub(7 * DAY_NS) + 60_000_000_000;
        }
    }

    /// The process is gone: what the database says then is all there is.
    pub(super) fn crash(&self, expected: &mut Expected) {
        // Of all periods: a request that is open for long has its lease in one that is over.
        let open = self.tokio.block_on(self.rig.control.store().read(|tx| tx.open_leases())).unwrap();
        let place = |row: Account| ((row.account, row.period), row.leased - row.posted);
        let reserves: BTreeMap<(String, u64), u64> = open.into_iter().map(place).collect();
        for (account, meter) in &expected.meters {
            if !meter.is_durable() {
                continue;
            }
            let lost = meter.unbooked(|request| expected.known[request].is_booked);
            let reserve = reserves.get(&(account.clone(), meter.newest_period())).copied().unwrap_or(0);
            // I-12, I-13: a crash forgives nothing that was under a lease.
            assert!(expected.may_exceed || reserve >= lost, "{account}: {lost} may be spent, {reserve} is leased");
        }
        for (place, reserve) in &reserves {
            *expected.ledger.entry(place.clone()).or_default() += reserve;
        }
        self.reborn(expected, &reserves);
    }

    /// Buckets begin with what the book says of them.
    pub(super) fn adopt_buckets(&self, expected: &mut Expected) {
        let read = |tx: &dyn Tx| {
            let mut found = BTreeMap::new();
            tx.each_bucket(&mut |row| {
                found.insert(row.account, (row.as_of, row.missing));
            })?;
            Ok::<_, StoreError>(found)
        };
        let levels = self.tokio.block_on(self.rig.control.store().read(read)).unwrap();
        let at = expected.at();
        for (account, meter) in expected.meters.iter_mut().filter(|(_, meter)| meter.is_bucket()) {
            let is_even = !expected.varied.contains(account) && !expected.has_stepped;
            let max = expected.most.get(account).copied().filter(|_| is_even);
            meter.adopt_level(levels.get(account).copied().unwrap_or_default(), max, at);
        }
    }

    /// What the counters of the next process begin with.
    pub(super) fn reborn(&self, expected: &mut Expected, reserves: &BTreeMap<(String, u64), u64>) {
        let accounts = self.accounts();
        if reserves.is_empty() {
            for (place, (posted, leased)) in &accounts {
                assert!(posted == leased || place.1 == 0, "I-3: {place:?} {leased} is leased");
            }
        }
        let read = |tx: &dyn Tx| {
            let mut found: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
            tx.each_slot(&mut |slot| found.entry(slot.account).or_default().push((slot.begins, slot.posted)))?;
            Ok::<_, StoreError>(found)
        };
        let slots = self.tokio.block_on(self.rig.control.store().read(read)).unwrap();
        let at = expected.at();
        let next = super::model::Clocks { steady: at.wall, wall: at.wall };
        for (account, meter) in &mut expected.meters {
            let newest = accounts.keys().filter(|(name, _)| name == account).map(|(_, period)| *period).max();
            let newest = newest.unwrap_or(0);
            let reserve = reserves.get(&(account.clone(), newest)).copied().unwrap_or(0);
            meter
                .keep_slots(|request| expected.known[request].is_booked, slots.get(account).map_or(&[], Vec::as_slice));
            meter.restart(|request| expected.known[request].is_booked, (newest, reserve), next);
        }
        expected.may_exceed = false;
    }
}

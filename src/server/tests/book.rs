//! Lives of a process, one after the other, over one database.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    bill::{OnCancel, Price},
    expected::{Bound, Expected, Served},
    history::{Ask, Commit, How, KeyDeed, Op, Reply},
    requests::{Pending, ending, fitting, text},
    world::{self, LIMITS, Template, WORKERS, project_of, words},
};
use crate::{
    base::{NanoUsd, frozen, now},
    control::{Keeper, LimitPatch, NewLimit, Payment, Stepped, Way, tests::Rig},
    http::block_on,
    proxy::{Begun, Context, Staged, begin},
    store::{KeyStatus, LimitMode, StoreError, Tx},
};

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Over,
    Restart,
    Crash,
}

/// Lives through a history; panics where code and model differ.
pub(super) fn live(history: &[Op]) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let template = Template::get(&tokio);
    let (mut expected, mut steps, mut folder) = (Expected::new(template), history.iter(), template.copy());
    loop {
        let life = life(&mut expected, &mut steps, (&tokio, folder));
        let (end, left) = block_on(life).unwrap();
        folder = left;
        if end == End::Over {
            break;
        }
    }
    frozen::set(None);
}

/// A process at work.
pub(super) struct Process<'a> {
    pub(super) tokio: &'a Runtime,
    pub(super) rig: &'a Rig,
    pub(super) keeper: &'a Keeper,
    turn: RefCell<Stepped<'a>>,
    /// Requests whose records are in no commit yet, and those of the commit that is not answered.
    noted: RefCell<(Vec<usize>, Vec<usize>)>,
}

async fn life(
    expected: &mut Expected,
    steps: &mut std::slice::Iter<'_, Op>,
    (tokio, folder): (&Runtime, TempDir),
) -> (End, TempDir) {
    let place = (folder, expected.template.organization.clone());
    expected.ahead_at_start = expected.ahead;
    let (rig, keeper) = tokio.block_on(world::start(place, expected.readings()));
    let worker = |index| Context::new(index, Arc::clone(&rig.shared), rig.registry().worker(index).unwrap());
    let contexts: Vec<Context> = (0..WORKERS).map(worker).collect();
    let turn = RefCell::new(Stepped::new(&keeper, &rig.shared.meters));
    let process = Process { tokio, rig: &rig, keeper: &keeper, turn, noted: RefCell::default() };
    let mut open = Vec::new();
    process.adopt_buckets(expected);
    process.check(expected);
    let end = loop {
        let Some(op) = steps.next() else { break End::Over };
        match op {
            Op::Begin(ask) => process.begin(expected, &contexts, ask, &mut open).await,
            Op::End { which, how } if !open.is_empty() => {
                let ending = open.remove(which % open.len());
                process.end(expected, ending, how).await;
            }
            Op::Quiesce => process.quiesce(expected, &mut open).await,
            Op::Restart => break End::Restart,
            Op::Crash => break End::Crash,
            Op::Sweep if open.is_empty() => process.sweep(expected),
            other => process.other(expected, other, !open.is_empty()),
        }
        contexts.iter().for_each(Context::tick);
        process.check(expected);
    };
    if end == End::Crash {
        process.crash(expected);
    } else {
        process.quiesce(expected, &mut open).await;
        process.close(expected);
    }
    // What is open settles in memory that nobody reads.
    drop(open);
    drop(process);
    drop((contexts, keeper));
    (end, rig.into_folder())
}

type Open<'a> = Vec<(Pending, Box<Staged<'a>>)>;

impl<'p> Process<'p> {
    async fn begin<'a>(&self, expected: &mut Expected, contexts: &'a [Context], ask: &Ask, open: &mut Open<'a>) {
        self.set_clocks(expected);
        let (bytes, body_len) = text(expected, ask);
        let at = expected.at();
        let generation = self.rig.served().generation();
        let order: Vec<Bound> = self.states(expected, ask.key).into_iter().map(|(bound, _)| bound).collect();
        let early = self.grant_limits(expected, ask.key);
        let asked = expected.asked(ask, (body_len, generation), (&order, early));
        let request = expected.known.len() - 1;
        let waits = RefCell::new(vec![ask.wait]);
        let shared = RefCell::new(&mut *expected);
        let wait = || {
            let way = waits.borrow_mut().pop().unwrap_or(Commit::Stored);
            self.waited(&mut shared.borrow_mut(), way);
        };
        let begun = begin(&contexts[ask.worker], &bytes, wait).await;
        match (begun, asked) {
            (Begun::Open(staged), Ok(pending)) => {
                let began = self.began(expected, ask.key);
                expected.admitted(&pending, &began, at);
                open.push((pending, staged));
            }
            (Begun::Refused(label), Err(why)) => {
                assert_eq!(label == "invalid_api_key", why == "invalid_key", "{label}");
                self.take_record(expected, request, generation);
            }
            (Begun::Refused(label), Ok(pending)) => panic!("I-24: refused as `{label}`: {pending:?}"),
            (Begun::Open(_), Err(why)) => panic!("I-1: admitted against {why}"),
        }
    }

    /// A request waits for its lease: the keeper does its work, and a moment passes.
    fn waited(&self, expected: &mut Expected, way: Commit) {
        self.commit(expected, way);
        expected.since += 1_000_000;
        self.set_clocks(expected);
    }

    /// When the windows have begun that begin with a request, of the limits of a key.
    fn began(&self, expected: &Expected, key: usize) -> BTreeMap<String, u64> {
        let mut began = BTreeMap::new();
        let steady = expected.at().steady;
        for (limit, state) in self.states(expected, key) {
            if let (crate::limit::Window::Fixed(length), Some(left)) = (state.window, state.resets_in)
                && !left.is_zero()
            {
                let ends = steady + u64::try_from(left.as_nanos()).unwrap();
                began.insert(limit.account, ends - u64::try_from(length.as_nanos()).unwrap());
            }
        }
        began
    }

    async fn end(&self, expected: &mut Expected, (mut pending, staged): (Pending, Box<Staged<'_>>), how: &How) {
        self.set_clocks(expected);
        let how = fitting(how, pending.terms.stream);
        let body_len = pending.terms.body_len;
        let shared = RefCell::new(&mut *expected);
        // It may wait for the lease of the credits, so the model decides when that is here.
        let wait = || self.waited(&mut shared.borrow_mut(), Commit::Stored);
        let tried = shared.borrow_mut().falls_back(&mut pending, &how);
        staged.end(&ending(&how, body_len), wait).await;
        expected.ended(&pending, &how, tried);
        self.take_record(expected, pending.request, pending.generation);
    }

    fn take_record(&self, expected: &mut Expected, request: usize, generation: u64) {
        let mut records = Vec::new();
        self.rig.shared.queue.drain(usize::MAX, |record| records.push(record));
        assert_eq!(records.len(), 1, "I-4, I-6: one record a request");
        let record = records.remove(0);
        expected.check_record(request, &record, generation);
        self.keeper.note(record);
        self.noted.borrow_mut().0.push(request);
    }

    fn commit(&self, expected: &mut Expected, way: Commit) {
        let mut turn = self.turn.borrow_mut();
        let mut noted = self.noted.borrow_mut();
        if noted.1.is_empty() && !turn.is_open() {
            noted.1 = std::mem::take(&mut noted.0);
        }
        let asked = match way {
            Commit::Stored | Commit::Repeated | Commit::Away => Way::Stored,
            Commit::Refused => Way::Refused,
            Commit::Unanswered => Way::Unanswered,
        };
        let fails = matches!(way, Commit::Away | Commit::Refused);
        let away = self.rig.folder.path().join("away.db");
        let place = self.rig.folder.path().join("millrace.db");
        if way == Commit::Away {
            std::fs::rename(&place, &away).unwrap();
        }
        let outcome = self.tokio.block_on(turn.commit(asked));
        if way == Commit::Away {
            std::fs::rename(&away, &place).unwrap();
        }
        // Without anything to store nothing fails.
        assert_eq!(outcome.is_err(), fails && turn.is_open(), "{outcome:?}");
        if outcome.is_ok() {
            expected.book(&noted.1);
        }
        if !turn.is_open() {
            noted.1.clear();
        }
        if way == Commit::Repeated {
            self.tokio.block_on(turn.repeat()).unwrap();
        }
    }

    /// Ends everything that is open, stores everything, and compares.
    async fn quiesce(&self, expected: &mut Expected, open: &mut Open<'_>) {
        for ending in std::mem::take(open) {
            let how = How::Answered { dead: 0, answer: Reply::Whole { input: 50, output: 50 } };
            self.end(expected, ending, &how).await;
        }
        // The first may only have answered for a commit from before.
        self.commit(expected, Commit::Stored);
        self.commit(expected, Commit::Repeated);
        self.check(expected);
        self.check_quiet(expected);
    }

    fn close(&self, expected: &mut Expected) {
        let stepped = self.turn.replace(Stepped::new(self.keeper, &self.rig.shared.meters));
        self.tokio.block_on(stepped.close());
        self.reborn(expected, &BTreeMap::new());
    }

    fn sweep(&self, expected: &mut Expected) {
        let at = expected.at();
        self.rig.shared.meters.idle_sweep(self.rig.shared.meters.now());
        expected.meters.values_mut().for_each(|meter| meter.sweep(at));
    }

    /// What needs no request.
    fn other(&self, expected: &mut Expected, op: &Op, is_busy: bool) {
        self.set_clocks(expected);
        match *op {
            Op::Pass(ms) => {
                expected.since += ms * 1_000_000;
                self.set_all_clocks(expected);
            }
            Op::Step(seconds) => {
                expected.ahead += seconds * 1_000_000_000;
                expected.has_stepped = true;
                self.set_all_clocks(expected);
            }
            Op::Commit(way) => {
                self.commit(expected, way);
                self.check_ledger(expected);
            }
            Op::SetLimit { limit, level, shadow } => self.set_limit(expected, limit, (level, shadow)),
            Op::DropLimit { limit } => self.drop_limit(expected, limit),
            Op::Publish { project, price, bounds, on_cancel } => {
                let text = world::project_text(project, price, bounds, on_cancel);
                self.tokio.block_on(self.rig.serve(&expected.template.projects[project], &text));
                let price = Price { input: price.0 * 100, output: price.1 * 100 };
                let on_cancel = [OnCancel::Estimate, OnCancel::Drain, OnCancel::Free][on_cancel];
                expected.served[project] = Served { price, bounds, on_cancel };
                expected.audited += 3;
            }
            Op::Pay(amount) => self.pay(expected, amount),
            Op::Fee(percent) => {
                let rate = format!("{}.{:02}", percent / 100, percent % 100).parse().unwrap();
                let template = expected.template;
                let set = self.rig.control.set_fee(&template.admin, &template.organization, Some(rate));
                self.tokio.block_on(set).unwrap();
                expected.may_exceed |= is_busy && u64::from(percent) > expected.fee;
                // A change to what it is already is none; the first says so all the same.
                expected.fee_set(u64::from(percent));
            }
            Op::Key { key, what } => self.change_key(expected, key, what),
            Op::Upkeep => self.upkeep(expected),
            _ => {}
        }
        self.set_clocks(expected);
    }

    /// As [`Self::set_clocks`], for the thread of the store as well.
    fn set_all_clocks(&self, expected: &Expected) {
        let readings = expected.readings();
        let set = move |_: &mut dyn Tx| {
            frozen::set(Some(readings));
            Ok::<_, StoreError>(())
        };
        self.tokio.block_on(self.rig.control.store().write(set)).unwrap();
        self.set_clocks(expected);
    }

    fn set_clocks(&self, expected: &Expected) {
        frozen::set(Some(expected.readings()));
        // Workers are alive: they look at their clocks all the time.
        self.rig.registry().workers().iter().for_each(|block| block.beat(now(), Duration::ZERO));
    }

    fn set_limit(&self, expected: &mut Expected, limit: usize, (level, shadow): (u64, bool)) {
        let (template, listed) = (expected.template, &LIMITS[limit]);
        if let world::Site::Key(key) = listed.site
            && !expected.keys[key].is_there
        {
            return;
        }
        let (site, amount) = (template.site(listed.site), level * listed.unit);
        let mode = if shadow { LimitMode::Shadow } else { LimitMode::Enforce };
        let control = &self.rig.control;
        let found = self.stored_limit(expected, limit);
        let changed = match found {
            None => {
                let (kind, window, algorithm) = words(listed);
                let new = NewLimit { kind, amount, window, algorithm: Some(algorithm), mode };
                self.tokio.block_on(control.create_limit(&template.admin, site, new))
            }
            Some((id, revision)) => {
                let patch = LimitPatch { amount: Some(amount), mode: Some(mode) };
                self.tokio.block_on(control.change_limit(&template.admin, (site, id), revision, patch))
            }
        };
        changed.unwrap();
        expected.audited += u64::from(expected.limits[limit] != Some((amount, shadow)));
        expected.limits[limit] = Some((amount, shadow));
    }

    fn drop_limit(&self, expected: &mut Expected, limit: usize) {
        let Some((id, revision)) = self.stored_limit(expected, limit) else { return };
        let (template, site) = (expected.template, expected.template.site(LIMITS[limit].site));
        let dropped = self.rig.control.delete_limit(&template.admin, (site, id), revision);
        self.tokio.block_on(dropped).unwrap();
        expected.limits[limit] = None;
        expected.audited += 1;
    }

    fn stored_limit(&self, expected: &Expected, limit: usize) -> Option<(crate::base::Id, u64)> {
        expected.limits[limit]?;
        let (template, listed) = (expected.template, &LIMITS[limit]);
        let stored = self.rig.control.limits(&template.admin, template.site(listed.site));
        let (kind, _, algorithm) = words(listed);
        let mut stored = self.tokio.block_on(stored).unwrap().into_iter().map(|used| used.limit);
        let found = stored.find(|stored| (stored.kind, stored.algorithm) == (kind, algorithm));
        Some(found.map(|stored| (stored.id, stored.revision)).unwrap())
    }

    fn pay(&self, expected: &mut Expected, amount: i64) {
        let template = expected.template;
        expected.payments += 1;
        let payment = Payment {
            amount: NanoUsd(amount),
            comment: "history".to_owned(),
            operation: format!("payment-{}", expected.payments),
        };
        let may = amount != 0 && expected.paid_in + amount >= 0;
        for (time, is_first) in [("once", true), ("again", false)] {
            let (control, payment) = (&self.rig.control, payment.clone());
            let paid = match amount >= 0 {
                true => self.tokio.block_on(control.top_up(&template.admin, &template.organization, payment)),
                false => self.tokio.block_on(control.adjust_credits(&template.admin, &template.organization, payment)),
            };
            assert_eq!(paid.is_ok(), may && is_first, "I-10: {time} {paid:?}");
        }
        if may {
            expected.paid_in += amount;
            expected.audited += 1;
            let posted = expected.ledger.entry((format!("credits:{}", template.organization), 0)).or_default();
            *posted = posted.checked_add_signed(amount).unwrap();
        }
    }

    fn change_key(&self, expected: &mut Expected, key: usize, what: KeyDeed) {
        if !expected.keys[key].is_there {
            return;
        }
        let (template, wall) = (expected.template, expected.at().wall);
        let at = (&template.projects[project_of(key)], &template.keys[key].0.id);
        let (control, admin) = (&self.rig.control, &template.admin);
        let switch = |status| self.tokio.block_on(control.switch_key(admin, at, status, String::new()));
        let state = &mut expected.keys[key];
        match what {
            KeyDeed::Disable | KeyDeed::Enable => {
                let status = if what == KeyDeed::Enable { KeyStatus::Active } else { KeyStatus::Disabled };
                let is_change = state.is_active != (what == KeyDeed::Enable);
                assert_eq!(switch(status).is_ok(), is_change);
                state.is_active = what == KeyDeed::Enable;
                expected.audited += u64::from(is_change);
            }
            KeyDeed::Roll { overlap_s } => {
                let overlap = Duration::from_secs(overlap_s);
                let Ok((_, text)) = self.tokio.block_on(control.roll_key(admin, at, overlap)) else { return };
                let old = std::mem::replace(&mut state.text, text);
                state.old = (overlap_s > 0).then_some((old, wall + overlap_s * 1_000_000_000));
                expected.audited += 1;
            }
            KeyDeed::Delete => {
                let revision = self.tokio.block_on(control.key(admin, at.0, at.1)).unwrap().revision;
                self.tokio.block_on(control.delete_key(admin, at, revision)).unwrap();
                expected.drop_key(key);
                expected.audited += 1;
            }
        }
    }
}

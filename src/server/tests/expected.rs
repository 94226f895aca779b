//! What the model knows: who may spend, what was spent.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bill::{Bill, OnCancel, Price},
    history::PROJECTS,
    model::{Clocks, Due, Meter},
    world::{BOUNDS, FIRST_PRICE, LIMITS, START_S, Site, Template, clocks, member_of, project_of},
};
use crate::{
    base::Secret,
    limit::{Kind, MeterKey, Window},
};

/// A limit as it binds a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bound {
    pub(super) account: String,
    pub(super) max: u64,
    pub(super) is_shadow: bool,
}

/// A key.
#[derive(Debug, Clone)]
pub(super) struct KeyState {
    pub(super) is_there: bool,
    pub(super) is_active: bool,
    pub(super) text: Secret,
    /// The text before, and until when on the wall clock it is good.
    pub(super) old: Option<(Secret, u64)>,
}

/// What a project serves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    pub(super) price: Price,
    pub(super) bounds: usize,
    pub(super) on_cancel: OnCancel,
}

/// A request, from when it came.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) key: Option<usize>,
    /// When it came, on the wall clock.
    pub(super) at: u64,
    /// None where it was refused, or has not ended.
    pub(super) bill: Option<Bill>,
    pub(super) dues: Vec<(String, Due)>,
    pub(super) is_ended: bool,
    /// Whether its commit is in the database.
    pub(super) is_booked: bool,
    /// Whether its row was kept as long as rows are.
    pub(super) is_forgotten: bool,
    /// Whether it is older than the roll-ups of minutes that are kept.
    pub(super) is_old: bool,
}

/// Everything that is expected.
pub(super) struct Expected {
    pub(super) template: &'static Template,
    /// Since the start: the monotonic clock, and what the wall clock is ahead of it.
    pub(super) since: u64,
    pub(super) ahead: i64,
    /// What the wall clock was ahead when the process began.
    pub(super) ahead_at_start: i64,
    pub(super) meters: BTreeMap<String, Meter>,
    /// Accounts whose limits did not stay the same.
    pub(super) varied: BTreeSet<String>,
    /// Whether the wall clock was set.
    pub(super) has_stepped: bool,
    /// By place in [`LIMITS`]: amount, and whether it only counts.
    pub(super) limits: Vec<Option<(u64, bool)>>,
    /// The largest amount that an account was ever given.
    pub(super) most: BTreeMap<String, u64>,
    pub(super) served: [Served; PROJECTS],
    pub(super) keys: Vec<KeyState>,
    pub(super) paid_in: i64,
    pub(super) payments: u64,
    pub(super) fee: u64,
    own_fee: Option<u64>,
    pub(super) known: Vec<Known>,
    /// Accounts, by period, with what is posted.
    pub(super) ledger: BTreeMap<(String, u64), u64>,
    pub(super) audited: u64,
    /// Whether a fee rose while requests were open: then they may cost more than was reserved.
    pub(super) may_exceed: bool,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Expected {
    pub(super) fn new(template: &'static Template) -> Self {
        let key = |(_, text): &(crate::store::ApiKey, Secret)| KeyState {
            is_there: true,
            is_active: true,
            text: text.clone(),
            old: None,
        };
        let price = Price { input: FIRST_PRICE.0 * 100, output: FIRST_PRICE.1 * 100 };
        Self {
            template,
            since: 0,
            ahead: 0,
            ahead_at_start: 0,
            meters: BTreeMap::new(),
            varied: BTreeSet::new(),
            has_stepped: false,
            limits: vec![None; LIMITS.len()],
            most: BTreeMap::new(),
            served: [Served { price, bounds: 0, on_cancel: OnCancel::Estimate }; PROJECTS],
            keys: template.keys.iter().map(key).collect(),
            paid_in: 0,
            payments: 0,
            fee: 0,
            own_fee: None,
            known: Vec::new(),
            ledger: BTreeMap::new(),
            audited: template.audited,
            may_exceed: false,
        }
    }

    pub(super) fn at(&self) -> Clocks {
        let start = START_S * SECOND_NS + self.since;
        Clocks {
            steady: start.checked_add_signed(self.ahead_at_start).unwrap(),
            wall: start.checked_add_signed(self.ahead).unwrap(),
        }
    }

    /// The readings of both clocks.
    pub(super) fn readings(&self) -> (std::time::Duration, std::time::Duration) {
        (clocks(self.since).0, std::time::Duration::from_nanos(self.at().wall))
    }

    pub(super) fn account(&self, limit: usize) -> String {
        let listed = &LIMITS[limit];
        let owner = self.template.owner(listed.site).into();
        MeterKey { owner, kind: listed.kind, window: listed.window }.to_string()
    }

    fn route_bounds(&self, key: usize) -> Vec<(MeterKey, u64)> {
        let project = project_of(key);
        let route = format!("{}/chat", self.template.projects[project]);
        let (_, bounds) = BOUNDS[self.served[project].bounds];
        let meter = |bound: &super::world::RouteBound| {
            let owner = match bound.is_keyed {
                true => format!("route_key:{route}:{}", self.template.keys[key].0.id),
                false => format!("route:{route}"),
            };
            (MeterKey { owner: owner.into(), kind: bound.kind, window: bound.window }, bound.max)
        };
        bounds.iter().map(meter).collect()
    }

    fn credits(&self) -> (MeterKey, u64) {
        let owner = format!("credits:{}", self.template.organization).into();
        (MeterKey { owner, kind: Kind::Money, window: Window::Total }, u64::try_from(self.paid_in).unwrap())
    }

    /// The limits that bind the requests of a key now, all scopes together; those of credits only where they pay from the start.
    pub(super) fn bounds(&mut self, key: usize) -> Vec<Bound> {
        let mut found = Vec::new();
        for (place, listed) in LIMITS.iter().enumerate() {
            let Some((max, is_shadow)) = self.limits[place] else { continue };
            let binds = match listed.site {
                Site::Organization => true,
                Site::Project(project) => project == project_of(key),
                Site::Member(member) => member == member_of(key),
                Site::Key(of) => of == key,
            };
            if binds {
                let account = self.account(place);
                if is_shadow {
                    self.varied.insert(account.clone());
                }
                self.meter(&account, (listed.kind, listed.window), max);
                found.push(Bound { account, max, is_shadow });
            }
        }
        let mut others = self.route_bounds(key);
        others.extend((project_of(key) == 1).then(|| self.credits()));
        for (meter, max) in others {
            let account = meter.to_string();
            self.meter(&account, (meter.kind, meter.window), max);
            found.push(Bound { account, max, is_shadow: false });
        }
        found
    }

    /// The limit of what was paid in.
    pub(super) fn credit_bound(&mut self) -> Bound {
        let (meter, max) = self.credits();
        let account = meter.to_string();
        self.meter(&account, (meter.kind, meter.window), max);
        Bound { account, max, is_shadow: false }
    }

    fn meter(&mut self, account: &str, (kind, window): (Kind, Window), max: u64) {
        self.meters.entry(account.to_owned()).or_insert_with(|| Meter::new(kind, window));
        let most = self.most.entry(account.to_owned()).or_insert(max);
        if *most != max {
            self.varied.insert(account.to_owned());
        }
        *most = (*most).max(max);
    }

    /// The key that a text belongs to now.
    pub(super) fn is_good(&self, key: usize, old_text: bool) -> bool {
        let state = &self.keys[key];
        let is_known = match (&state.old, old_text) {
            (_, false) => true,
            (Some((_, until)), true) => self.at().wall < *until,
            (None, true) => false,
        };
        state.is_there && state.is_active && is_known
    }

    /// A commit is in the database.
    pub(super) fn book(&mut self, requests: &[usize]) {
        for request in requests {
            let known = &mut self.known[*request];
            if std::mem::replace(&mut known.is_booked, true) {
                continue;
            }
            for (account, due) in &known.dues {
                *self.ledger.entry((account.clone(), due.period)).or_default() += due.amount;
            }
            let (Some(key), Some(bill)) = (known.key, known.bill) else { continue };
            let project = &self.template.projects[project_of(key)];
            for (kind, amount) in [("cost", bill.cost.unwrap_or(0)), ("fee", bill.fee)] {
                if amount > 0 {
                    *self.ledger.entry((format!("{kind}:{project}"), 0)).or_default() += amount;
                }
            }
        }
    }

    /// The fee of the organization is set.
    pub(super) fn fee_set(&mut self, fee: u64) {
        self.audited += u64::from(self.own_fee != Some(fee));
        (self.fee, self.own_fee) = (fee, Some(fee));
    }

    /// Deletes what belongs to a key that is gone.
    pub(super) fn drop_key(&mut self, key: usize) {
        self.keys[key].is_there = false;
        for (place, listed) in LIMITS.iter().enumerate() {
            if listed.site == Site::Key(key) {
                self.limits[place] = None;
            }
        }
    }
}

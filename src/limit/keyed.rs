//! Limits of a route that count for each key or group apart.

use std::sync::Arc;

use crate::base::{Caller, FastHash};

use super::queue::Queue;
use super::rule::{Kind, MeterKey, Scope, Terms, Window};
use super::set::{Limit, LimitSet, Mode};
use super::table::Meters;

/// One limit as the configuration says it, before it has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Who shares one counter: [`Scope::Route`], [`Scope::Key`] or [`Scope::Group`].
    pub scope: Scope,
    /// What it counts.
    pub kind: Kind,
    /// Over what time.
    pub window: Window,
    /// What it allows.
    pub terms: Terms,
    /// Whether it refuses.
    pub mode: Mode,
    /// Where requests may wait, of [`Kind::Concurrent`] alone.
    pub queue: Option<Queue>,
}

impl Rule {
    /// The limit of this rule for an owner, such as `route:prj_x/chat`.
    #[must_use]
    pub fn limit(&self, owner: Arc<str>, meters: &Meters) -> Limit {
        let meter = meters.meter(&MeterKey { owner, kind: self.kind, window: self.window });
        Limit { meter, terms: self.terms, scope: self.scope, mode: self.mode, queue: self.queue }
    }
}

/// The limits of a route, of the scopes key and group.
pub struct Keyed {
    /// `prj_x/chat`.
    route: Box<str>,
    rules: Box<[Rule]>,
    meters: Arc<Meters>,
    /// By the id of the key. Requests of one key share a set; there are as many as keys that called the route.
    sets: papaya::HashMap<Arc<str>, KeyedSet, FastHash>,
}

struct KeyedSet {
    group: Option<Arc<str>>,
    set: Arc<LimitSet>,
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("route", &self.route).field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Keyed {
    /// The limits of a route, named by the id of its project and its own name: `prj_x/chat`. None without a rule of the
    /// scopes key or group.
    #[must_use]
    pub fn new(route: &str, rules: &[Rule], meters: Arc<Meters>) -> Option<Self> {
        let rules: Box<[Rule]> = rules.iter().filter(|rule| rule.scope != Scope::Route).copied().collect();
        if rules.is_empty() {
            return None;
        }
        Some(Self { route: route.into(), rules, meters, sets: papaya::HashMap::default() })
    }

    /// The limits that hold for a caller. A key without a group has a group of its own.
    #[must_use]
    pub fn set_for(&self, caller: &Caller) -> Arc<LimitSet> {
        let sets = self.sets.pin();
        if let Some(found) = sets.get(&caller.key)
            && found.group == caller.group
        {
            return Arc::clone(&found.set);
        }
        let set = Arc::new(self.compile(caller));
        sets.insert(Arc::clone(&caller.key), KeyedSet { group: caller.group.clone(), set: Arc::clone(&set) });
        set
    }

    /// Calls `each` with the id of every key that called the route, and its limits.
    pub fn each_set(&self, mut each: impl FnMut(&str, &LimitSet)) {
        for (key, keyed) in &self.sets.pin() {
            each(key, &keyed.set);
        }
    }

    fn compile(&self, caller: &Caller) -> LimitSet {
        let limit = |rule: &Rule| {
            let owner = match (&caller.group, rule.scope) {
                (Some(group), Scope::Group) => format!("route_group:{}:{group}", self.route),
                (None, Scope::Group) => format!("route_ungrouped:{}:{}", self.route, caller.key),
                _ => format!("route_key:{}:{}", self.route, caller.key),
            };
            rule.limit(owner.into(), &self.meters)
        };
        LimitSet::new(self.rules.iter().map(limit).collect())
    }
}

/// The limits of the scope route, named as in [`Keyed::new`].
#[must_use]
pub fn route_limits(route: &str, rules: &[Rule], meters: &Meters) -> LimitSet {
    let owner: Arc<str> = format!("route:{route}").into();
    let own = rules.iter().filter(|rule| rule.scope == Scope::Route);
    LimitSet::new(own.map(|rule| rule.limit(Arc::clone(&owner), meters)).collect())
}

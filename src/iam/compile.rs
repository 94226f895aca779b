//! Rules to bit sets and tables, for the facts of one project.

use std::sync::Arc;

use crate::base::Cidr;

use super::{
    bits::Bits,
    facts::{Facts, RouteFacts},
    ranges::Ranges,
    rule::{Effect, Rule, RuleType, RuleValue, Scope, Step},
};

/// What the rules of some scopes allow in one project. Immutable, and shared by every key that they concern.
#[derive(Debug)]
pub struct Policy {
    /// The facts it was compiled for.
    facts: Arc<Facts>,
    /// Targets that every scope keeps, by their numbers.
    pub(super) targets: Bits,
    /// Routes that every scope allows, by their numbers.
    pub(super) routes: Bits,
    /// Scopes that ask for the address; empty when none does.
    pub(super) gates: Box<[Gate]>,
    /// The rules by scope, in order: to say which of them refused.
    scopes: Box<[(Scope, Arc<[Rule]>)]>,
}

/// The addresses of one scope.
#[derive(Debug)]
pub(super) struct Gate {
    /// The only ones that may come in.
    pub(super) allowed: Option<Ranges>,
    /// Those that may not.
    pub(super) denied: Denied,
}

/// Addresses that rules deny.
#[derive(Debug)]
pub(super) enum Denied {
    /// There is no such rule.
    NoRule,
    /// These, and one that is not known.
    Some(Ranges),
    /// Every one: a rule cannot be read.
    All,
}

impl Policy {
    /// Compiles the active rules of these scopes; scopes without rules may be left out.
    #[must_use]
    pub fn compile(facts: &Arc<Facts>, scopes: &[(Scope, Arc<[Rule]>)]) -> Self {
        let every = || scopes.iter().map(|(_, rules)| &**rules);
        let target_kept = |number: usize| {
            facts.targets.get(number).is_some_and(|target| {
                let matches = |rule: &Rule| rule.value.matches_target(rule.kind, target);
                every().all(|rules| {
                    [Step::Providers, Step::Models, Step::Pricing].into_iter().all(|step| keeps(rules, step, matches))
                })
            })
        };
        let route_kept = |number: usize| {
            facts
                .routes
                .get(number)
                .is_some_and(|route| every().all(|rules| keeps(rules, Step::Routes, |rule| matches_route(rule, route))))
        };
        Self {
            facts: Arc::clone(facts),
            targets: Bits::collect(facts.targets.len(), target_kept),
            routes: Bits::collect(facts.routes.len(), route_kept),
            gates: every().filter_map(gate).collect(),
            scopes: scopes.into(),
        }
    }

    /// The facts that its numbers belong to.
    #[must_use]
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// The rules, by scope and in order.
    #[must_use]
    pub fn scopes(&self) -> &[(Scope, Arc<[Rule]>)] {
        &self.scopes
    }
}

/// The rules of one step and one effect.
pub(super) fn of_step(rules: &[Rule], step: Step, effect: Effect) -> impl Iterator<Item = &Rule> {
    rules.iter().filter(move |rule| rule.kind.step() == step && rule.kind.effect() == effect)
}

/// Whether something that some rules match is kept by a step: by any allow rule if there is one, and by no deny rule.
pub(super) fn keeps(rules: &[Rule], step: Step, matches: impl Fn(&Rule) -> bool) -> bool {
    let mut allows = of_step(rules, step, Effect::Allow).peekable();
    (allows.peek().is_none() || allows.any(&matches)) && !of_step(rules, step, Effect::Deny).any(matches)
}

/// Whether a rule names a route, by its name or by `project/route`.
pub(super) fn matches_route(rule: &Rule, route: &RouteFacts) -> bool {
    match &rule.value {
        RuleValue::Patterns(patterns) => {
            patterns.iter().any(|pattern| pattern.matches(route.name()) || pattern.matches(&route.full_name))
        }
        _ => rule.kind.effect() == Effect::Deny,
    }
}

fn gate(rules: &[Rule]) -> Option<Gate> {
    let networks = |kind: RuleType| {
        let of_kind = rules.iter().filter(move |rule| rule.kind == kind);
        of_kind.filter_map(|rule| match &rule.value {
            RuleValue::Networks(networks) => Some(networks),
            _ => None,
        })
    };
    let ranges = |kind| Ranges::of(networks(kind).flat_map(|networks| networks.iter().collect::<Vec<&Cidr>>()));
    let has = |kind: RuleType| rules.iter().any(|rule| rule.kind == kind);
    let (allow, deny) = (RuleType::AllowIpCidrs, RuleType::DenyIpCidrs);
    if !has(allow) && !has(deny) {
        return None;
    }
    let is_whole = networks(deny).count() == rules.iter().filter(|rule| rule.kind == deny).count();
    let denied = match (has(deny), is_whole) {
        (false, _) => Denied::NoRule,
        (true, true) => Denied::Some(ranges(deny)),
        (true, false) => Denied::All,
    };
    Some(Gate { allowed: has(allow).then(|| ranges(allow)), denied })
}

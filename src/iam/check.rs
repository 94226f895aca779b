//! The check of a request: a load and a few ANDs.

use std::{net::IpAddr, sync::Arc};

use super::{
    bits::Window,
    compile::{Denied, Gate, Policy, keeps, matches_route, of_step},
    rule::{Effect, Rule, RuleValue, Scope, Step},
};

/// What a request asks for, in the numbers of the facts that the policies were compiled for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Number of the route.
    pub route: u32,
    /// Its targets for the endpoint.
    pub targets: Window,
    /// Where the request comes from; none when that cannot be determined.
    pub address: Option<IpAddr>,
}

/// Targets that a request may use, by their places in the list of their route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survivors(u64);

impl Survivors {
    /// Whether the target at this place may be used.
    #[must_use]
    pub fn has(self, place: usize) -> bool {
        u32::try_from(place).ok().and_then(|place| self.0.checked_shr(place)).unwrap_or(0) & 1 == 1
    }

    /// The places, in order.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..Window::LEN_MAX).filter(move |place| self.has(*place))
    }
}

/// Why a request is refused: the first step that leaves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Where its rules stand.
    pub scope: Scope,
    /// The step.
    pub step: Step,
    /// Ids of the rules that decided: the allow rules that matched nothing, the deny rules that matched.
    pub rules: Vec<Arc<str>>,
}

/// Decides on a request by the policy of its project and that of its key. Allocates only to refuse.
///
/// # Errors
/// [`Denial`].
pub fn check(project: Option<&Policy>, key: Option<&Policy>, asked: &Asked) -> Result<Survivors, Denial> {
    let mut targets = asked.targets.mask();
    if let Some(policy) = project {
        targets &= policy.leaves(asked);
    }
    if let Some(policy) = key {
        targets &= policy.leaves(asked);
    }
    if targets != 0 {
        return Ok(Survivors(targets));
    }
    Err(denial([project, key].into_iter().flatten(), asked))
}

impl Policy {
    /// The targets that it leaves of a request, the first at bit 0; none when the route or the address is refused.
    fn leaves(&self, asked: &Asked) -> u64 {
        let is_open = self.routes.has(asked.route) && self.gates.iter().all(|gate| gate.opens(asked.address));
        if is_open { self.targets.window(asked.targets) } else { 0 }
    }
}

impl Gate {
    fn opens(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address.map(|address| address.to_canonical()) else {
            // Where nobody knows the address, rules about addresses refuse it.
            return false;
        };
        self.allowed.as_ref().is_none_or(|ranges| ranges.contain(address))
            && match &self.denied {
                Denied::NoRule => true,
                Denied::Some(ranges) => !ranges.contain(address),
                Denied::All => false,
            }
    }
}

/// Goes through the steps again, as slowly as it takes, to find the one that refused.
#[cold]
fn denial<'a>(policies: impl Iterator<Item = &'a Policy>, asked: &Asked) -> Denial {
    let mut left = asked.targets.mask();
    for policy in policies {
        for (scope, rules) in policy.scopes() {
            for step in Step::ALL.iter().copied() {
                let refused = match step {
                    Step::Providers | Step::Models | Step::Pricing => narrow(policy, (rules, step), asked, &mut left),
                    Step::Routes => refused_route(policy, rules, asked),
                    Step::Addresses => refused_address(rules, asked.address),
                };
                if let Some(rules) = refused {
                    return Denial { scope: *scope, step, rules };
                }
            }
        }
    }
    // Only a route without targets gets here: no rule has to refuse it.
    Denial { scope: Scope::Key, step: Step::Models, rules: Vec::new() }
}

/// Removes what a step removes; returns the rules that did when nothing is left.
fn narrow(policy: &Policy, (rules, step): (&[Rule], Step), asked: &Asked, left: &mut u64) -> Option<Vec<Arc<str>>> {
    let before = *left;
    let targets = policy.facts().targets.iter().skip(asked.targets.start()).take(asked.targets.len());
    let of_place = |place: usize| 1u64.checked_shl(u32::try_from(place).unwrap_or(u32::MAX)).unwrap_or(0);
    let present: Vec<_> = targets
        .enumerate()
        .map(|(place, target)| (of_place(place), target))
        .filter(|(bit, _)| before & bit != 0)
        .collect();
    let mut deciding: Vec<&Rule> = Vec::new();
    *left = 0;
    for (bit, target) in present {
        let matches = |rule: &Rule| rule.value.matches_target(rule.kind, target);
        if keeps(rules, step, matches) {
            *left |= bit;
        } else {
            deciding.extend(deciders(rules, step, matches));
        }
    }
    (*left == 0).then(|| ids(rules, &deciding))
}

fn refused_route(policy: &Policy, rules: &[Rule], asked: &Asked) -> Option<Vec<Arc<str>>> {
    let route = policy.facts().routes.get(usize::try_from(asked.route).ok()?)?;
    let matches = |rule: &Rule| matches_route(rule, route);
    let refused = !keeps(rules, Step::Routes, matches);
    refused.then(|| ids(rules, &deciders(rules, Step::Routes, matches)))
}

fn refused_address(rules: &[Rule], address: Option<IpAddr>) -> Option<Vec<Arc<str>>> {
    let address = address.map(|address| address.to_canonical());
    let matches = |rule: &Rule| match (&rule.value, address) {
        (RuleValue::Networks(networks), Some(address)) => networks.iter().any(|network| network.contains(address)),
        _ => rule.kind.effect() == Effect::Deny,
    };
    let refused = !keeps(rules, Step::Addresses, matches);
    refused.then(|| ids(rules, &deciders(rules, Step::Addresses, matches)))
}

/// The rules of a step that refuse something: all allow rules when none matches it, else the deny rules that do.
fn deciders(rules: &[Rule], step: Step, matches: impl Fn(&Rule) -> bool) -> Vec<&Rule> {
    let allows: Vec<&Rule> = of_step(rules, step, Effect::Allow).collect();
    if !allows.is_empty() && !allows.iter().any(|rule| matches(rule)) {
        return allows;
    }
    of_step(rules, step, Effect::Deny).filter(|rule| matches(rule)).collect()
}

/// Ids of the deciding rules in the order of their scope, each once.
fn ids(rules: &[Rule], deciding: &[&Rule]) -> Vec<Arc<str>> {
    let decided = rules.iter().filter(|rule| deciding.iter().any(|found| found.id == rule.id));
    decided.map(|rule| Arc::clone(&rule.id)).collect()
}

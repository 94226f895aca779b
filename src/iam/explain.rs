//! The same decision, slowly and with reasons.
//!
//! Shares no code with the compiled check but the rules themselves: patterns, prices and addresses are compared in another
//! way here, and a test holds the two against each other.

use std::{net::IpAddr, sync::Arc};

use crate::base::{Cidr, NanoUsd};

use super::{
    facts::{RouteFacts, TargetFacts},
    rule::{Effect, Pricing, PricingType, Rule, RuleValue, Scope, Step},
};

/// A request as the rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Active rules by scope, in the order of the scopes.
    pub scopes: &'a [(Scope, Arc<[Rule]>)],
    /// The route.
    pub route: &'a RouteFacts,
    /// Its targets for the endpoint.
    pub targets: &'a [TargetFacts],
    /// Where the request comes from; none when that cannot be determined.
    pub address: Option<IpAddr>,
}

/// How a request would be decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Places of the targets that it may use; none when it is not allowed.
    pub targets: Vec<usize>,
    /// The steps that have rules, up to the one that refused.
    pub steps: Vec<ExplainedStep>,
}

/// One step of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedStep {
    /// Where its rules stand.
    pub scope: Scope,
    /// The step.
    pub step: Step,
    /// Its rules.
    pub rule_ids: Vec<Arc<str>>,
    /// Those that removed something: the allow rules that matched nothing, the deny rules that matched.
    pub decided_by: Vec<Arc<str>>,
    /// Places of the targets that it removed.
    pub removed: Vec<usize>,
}

/// What a step looks at.
#[derive(Clone, Copy)]
enum Thing<'a> {
    Target(&'a TargetFacts),
    Route(&'a RouteFacts),
    Address(Option<IpAddr>),
}

/// Decides on a request step by step.
#[must_use]
pub fn explain(case: &Case<'_>) -> Explained {
    let mut left: Vec<usize> = (0..case.targets.len()).collect();
    let mut steps = Vec::new();
    for (scope, rules) in case.scopes {
        for step in Step::ALL.iter().copied() {
            let asked: Vec<&Rule> = rules.iter().filter(|rule| rule.kind.step() == step).collect();
            if asked.is_empty() {
                continue;
            }
            let thing = |place: usize| match step {
                Step::Routes => Some(Thing::Route(case.route)),
                Step::Addresses => Some(Thing::Address(case.address)),
                Step::Providers | Step::Models | Step::Pricing => case.targets.get(place).map(Thing::Target),
            };
            let (mut kept, mut removed, mut deciding) = (Vec::new(), Vec::new(), Vec::new());
            for place in left {
                let against = thing(place).map_or_else(Vec::new, |thing| refusing(&asked, thing));
                if against.is_empty() {
                    kept.push(place)
                } else {
                    removed.push(place)
                }
                deciding.extend(against);
            }
            left = kept;
            let rule_ids: Vec<_> = asked.iter().map(|rule| Arc::clone(&rule.id)).collect();
            let decided_by = rule_ids.iter().filter(|id| deciding.contains(id)).cloned().collect();
            steps.push(ExplainedStep { scope: *scope, step, rule_ids, decided_by, removed });
            if left.is_empty() {
                return Explained { allowed: false, targets: left, steps };
            }
        }
    }
    Explained { allowed: !left.is_empty(), targets: left, steps }
}

/// The rules of a step that refuse a thing; none when it passes.
fn refusing(rules: &[&Rule], thing: Thing<'_>) -> Vec<Arc<str>> {
    let (mut allows, mut denies, mut is_allowed) = (Vec::new(), Vec::new(), false);
    for rule in rules {
        match (rule.kind.effect(), fits(rule, thing)) {
            (Effect::Allow, fits) => {
                allows.push(Arc::clone(&rule.id));
                is_allowed |= fits;
            }
            (Effect::Deny, true) => denies.push(Arc::clone(&rule.id)),
            (Effect::Deny, false) => {}
        }
    }
    if allows.is_empty() || is_allowed { denies } else { allows }
}

fn fits(rule: &Rule, thing: Thing<'_>) -> bool {
    let denies = rule.kind.effect() == Effect::Deny;
    match (&rule.value, thing) {
        (RuleValue::Patterns(patterns), Thing::Route(route)) => {
            let (full, bare) = (route.full_name.as_bytes(), route.name().as_bytes());
            patterns
                .iter()
                .any(|pattern| like(pattern.as_str().as_bytes(), full) || like(pattern.as_str().as_bytes(), bare))
        }
        (RuleValue::Patterns(patterns), Thing::Target(target)) => {
            let names: Vec<String> = if rule.kind.step() == Step::Providers {
                vec![target.provider.to_string()]
            } else {
                vec![target.model.to_string(), [&*target.provider, &*target.model].join("/")]
            };
            let fits = |pattern: &[u8]| names.iter().any(|name| like(pattern, name.as_bytes()));
            patterns.iter().any(|pattern| fits(pattern.as_str().as_bytes()))
        }
        (RuleValue::Pricing(pricing), Thing::Target(target)) => match target.price {
            None => denies,
            Some(price) => {
                let Pricing { pricing_type, max_input_price, max_output_price } = *pricing;
                let of_type = match pricing_type {
                    None => true,
                    Some(PricingType::Free) => price.is_free,
                    Some(PricingType::Paid) => !price.is_free,
                };
                // A deny rule means what lies above its maxima.
                let within = |price: NanoUsd, max: Option<NanoUsd>| max.is_none_or(|max| (price > max) == denies);
                of_type && within(price.input, max_input_price) && within(price.output, max_output_price)
            }
        },
        (RuleValue::Networks(networks), Thing::Address(Some(address))) => {
            networks.iter().any(|network| lies_in(address, network))
        }
        _ => denies,
    }
}

/// Whether a text matches a pattern, byte by byte: on a mismatch the last star takes one byte more.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut in_pattern, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match (pattern.get(in_pattern), text.get(in_text)) {
            (Some(b'*'), _) => {
                star = Some((in_pattern, in_text));
                in_pattern += 1;
            }
            (Some(wanted), Some(found)) if wanted == found => {
                in_pattern += 1;
                in_text += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    in_pattern = at + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(in_pattern).all(|rest| *rest == b'*')
}

/// Whether an address has the leading bits of a network, by the text of the network.
fn lies_in(address: IpAddr, network: &Cidr) -> bool {
    let text = network.to_string();
    let Some((first, prefix)) = text.split_once('/') else {
        return false;
    };
    let (Ok(first), Ok(prefix)) = (first.parse::<IpAddr>(), prefix.parse::<usize>()) else {
        return false;
    };
    let address = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        octets.iter().flat_map(|octet| (0..8).map(move |bit| octet & (128 >> bit) != 0)).collect()
    };
    let (ours, theirs) = (bits(address), bits(first));
    ours.len() == theirs.len() && ours.iter().zip(&theirs).take(prefix).all(|(ours, theirs)| ours == theirs)
}

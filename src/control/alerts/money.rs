//! How far the limits in money of some rules are used up.

use std::{collections::HashMap, sync::Arc};

use super::{
    step::Finding,
    world::{CreditsLeft, World},
};
use crate::{
    base::{Id, NanoUsd},
    limit::{Kind, Limit, LimitSet, LimitState, Moment, Scope},
    snapshot::{Grant, Registries, Snapshot},
    store::{Alert, AlertScope},
    wire::Endpoint,
};

/// Grants that are looked at before somebody else gets a turn.
const PARTS_A_TURN: usize = 8;

/// Every limit in money in the scope of each rule that has passed a percentage, by the rule.
///
/// Walks over all keys, a few at a time: it is called only when there is such a rule.
pub(super) async fn spent(rules: &[Alert], world: &World) -> HashMap<Id, Vec<Finding>> {
    let mut found = Found { rules, world, at: world.moment, findings: HashMap::new() };
    let snapshot = Arc::clone(&world.snapshot);
    found.look_at_routes(&snapshot);
    for part in 0..snapshot.grant_parts() {
        snapshot.grants_of_part(part).for_each(|grant| found.look_at_grant(grant));
        if part % PARTS_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    let sorted = found.findings.into_iter().map(|(id, findings)| (id, findings.into_values().collect()));
    sorted.collect()
}

/// What is left of the credits of the organizations of some rules.
pub(super) fn credits(rules: &[Alert], registries: &Registries, at: Moment) -> HashMap<Id, CreditsLeft> {
    let mut found = HashMap::new();
    for rule in rules {
        let terms = registries.credits.of(rule.organization.as_str(), &registries.meters).terms();
        for state in terms.limits.states(at) {
            let balance = nano(state.max).0.saturating_sub(nano(state.posted).0);
            let free = balance.saturating_sub(nano(state.pending).0);
            found.insert(rule.organization.clone(), CreditsLeft { balance: NanoUsd(balance), free: NanoUsd(free) });
        }
    }
    found
}

struct Found<'a> {
    rules: &'a [Alert],
    world: &'a World,
    at: Moment,
    /// By rule and account: many keys share a limit of their project.
    findings: HashMap<Id, HashMap<Arc<str>, Finding>>,
}

/// Where a limit stands.
struct Stands<'a> {
    project: &'a str,
    route: Option<&'a str>,
    key: Option<&'a str>,
}

impl Found<'_> {
    fn look_at_routes(&mut self, snapshot: &Snapshot) {
        for (project, part) in snapshot.projects() {
            // One is enough: the targets of a project draw on the same credits.
            let paid = part.routes().iter().flat_map(|route| Endpoint::ALL.map(|endpoint| route.targets(endpoint)));
            if let Some(paid) = paid.flatten().find_map(|target| target.paid.as_ref()) {
                self.look_at(&paid.credit.terms().limits, &Stands { project, route: None, key: None });
            }
            for route in part.routes() {
                let name = route.full_name.split_once('/').map_or("", |(_, name)| name);
                self.look_at(&route.bounds.limits, &Stands { project, route: Some(name), key: None });
                if let Some(keyed) = &route.bounds.keyed {
                    keyed.each_set(|key, set| {
                        self.look_at(set, &Stands { project, route: Some(name), key: Some(key) });
                    });
                }
            }
        }
    }

    fn look_at_grant(&mut self, grant: &Grant) {
        if !grant.limits.has(Kind::Money) {
            return;
        }
        if let Some(project) = &grant.caller.project {
            self.look_at(&grant.limits, &Stands { project, route: None, key: Some(&grant.caller.key) });
        }
    }

    fn look_at(&mut self, set: &LimitSet, stands: &Stands<'_>) {
        if !set.has(Kind::Money) {
            return;
        }
        for (limit, state) in set.limits().iter().zip(set.states(self.at)) {
            // The balance has a rule of its own.
            if limit.kind() != Kind::Money || limit.scope == Scope::Credits || state.max == 0 {
                continue;
            }
            for rule in self.rules.iter().filter(|rule| covers(rule, limit.scope, stands, self.world)) {
                if let Some(finding) = finding(rule, limit, &state) {
                    let of_rule = self.findings.entry(rule.id.clone()).or_default();
                    of_rule.insert(Arc::clone(limit.meter.account()), finding);
                }
            }
        }
    }
}

/// Whether a limit stands inside the scope of a rule.
fn covers(rule: &Alert, scope: Scope, stands: &Stands<'_>, world: &World) -> bool {
    let in_project = rule.project.as_ref().is_none_or(|project| project.as_str() == stands.project);
    let target = rule.target.as_deref();
    match rule.scope {
        AlertScope::Organization => world.is_in(stands.project, &rule.organization),
        // A limit of a whole organization or member is larger than the project.
        AlertScope::Project => in_project && !matches!(scope, Scope::Organization | Scope::Member),
        AlertScope::Route => in_project && stands.route.is_some() && stands.route == target,
        AlertScope::Key => in_project && scope == Scope::Key && stands.key.is_some() && stands.key == target,
    }
}

/// The highest percentage of a rule that a limit has passed.
fn finding(rule: &Alert, limit: &Limit, state: &LimitState) -> Option<Finding> {
    let passed = |percent: &&u32| u128::from(state.posted) * 100 >= u128::from(state.max) * u128::from(**percent);
    let level = rule.condition.percents.iter().filter(passed).count();
    if level == 0 {
        return None;
    }
    let percent = u128::from(state.posted) * 100 / u128::from(state.max);
    let account = limit.meter.account();
    Some(Finding {
        subject: account.to_string(),
        level: u32::try_from(level).unwrap_or(u32::MAX),
        value: format!("{percent} %"),
        detail: format!(
            "{percent} % of the limit of the {} is spent: {} of {} USD (`{account}`)",
            limit.scope.name(),
            usd(nano(state.posted)),
            usd(nano(state.max))
        ),
    })
}

/// Whole USD as they are counted.
pub(super) fn usd_to_nano(usd: u64) -> i64 {
    i64::try_from(usd).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)
}

fn nano(units: u64) -> NanoUsd {
    NanoUsd(i64::try_from(units).unwrap_or(i64::MAX))
}

/// USD without zeros at the end.
pub(super) fn usd(amount: NanoUsd) -> String {
    let text = amount.to_string();
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

//! How far the limits in money of some rules are used up.

use std::{collections::HashMap, sync::Arc};

use super::{step::Finding, world::World};
use crate::{
    base::{Id, NanoUsd},
    limit::{Kind, Limit, LimitSet, LimitState, Moment, Scope},
    snapshot::{Grant, Snapshot},
    store::{Alert, AlertScope},
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
            if limit.kind() != Kind::Money || state.max == 0 {
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
            usd(state.posted),
            usd(state.max)
        ),
    })
}

fn usd(nano: u64) -> String {
    let text = NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX)).to_string();
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

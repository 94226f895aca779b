//! May this key use that route, and which rule decides?
//!
//! Read from what is stored and what is live; nothing is sent to a provider and nothing is counted.

use std::{net::IpAddr, sync::Arc};

use super::super::{actor::Actor, error::ControlError, gate, grants, instance::Control, permit::Capability};
use super::{live::active, write::OWNED};
use crate::{
    base::Id,
    iam::{self, Case, RouteFacts, Scope, Step, TargetFacts, explain},
    snapshot::Target,
    store::{PolicyPlace, Tx},
    wire::Endpoint,
};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Name of the route, with or without the project.
    pub route: String,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Where the request would come from; none when that would not be known.
    pub address: Option<IpAddr>,
}

/// How a request would be decided, and why.
#[derive(Clone)]
pub struct Explanation {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The targets that it may use, in order.
    pub targets: Vec<Arc<Target>>,
    /// The steps that have rules, up to the one that refused.
    pub steps: Vec<ExplanationStep>,
}

/// One step of one scope.
#[derive(Clone)]
pub struct ExplanationStep {
    /// Where its rules stand.
    pub scope: Scope,
    /// The step.
    pub step: Step,
    /// Its rules.
    pub rule_ids: Vec<Arc<str>>,
    /// Those that removed something.
    pub decided_by: Vec<Arc<str>>,
    /// What it removed.
    pub removed: Vec<Arc<Target>>,
}

/// Rules of one scope.
type Scoped = (Scope, Arc<[iam::Rule]>);

impl Control {
    /// Says how rules would decide on a request with a key. Whether the key is enabled, and limits, are not asked.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`] for a route that is not live; a field problem for an endpoint that the
    /// route does not serve.
    pub async fn explain(
        &self,
        actor: &Actor,
        (project, key): (&Id, &Id),
        question: Question,
    ) -> Result<Explanation, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, project, key) = (actor.clone(), project.clone(), key.clone());
        let id = project.clone();
        let scopes = self.store().read(move |tx| scopes_of(tx, &actor, &id, &key)).await?;
        let snapshot = self.served();
        let part = snapshot.project(project.as_str()).ok_or(ControlError::NotFound)?;
        let found = part.route_by_full_name(&question.route).or_else(|| part.route(&question.route));
        let route = found.ok_or(ControlError::NotFound)?;
        let targets = route.targets(question.endpoint);
        if targets.is_empty() {
            let message = format!("the route has no model for `{}`", question.endpoint.as_str());
            return Err(ControlError::field("endpoint", message));
        }
        let facts: Vec<TargetFacts> = targets.iter().map(|target| target.facts.clone()).collect();
        let case = Case {
            scopes: &scopes,
            route: &RouteFacts { full_name: route.full_name.clone() },
            targets: &facts,
            address: question.address,
        };
        let said = explain(&case);
        let at = |places: Vec<usize>| places.into_iter().filter_map(|place| targets.get(place).cloned()).collect();
        let steps = said.steps.into_iter().map(|step| ExplanationStep {
            scope: step.scope,
            step: step.step,
            rule_ids: step.rule_ids,
            decided_by: step.decided_by,
            removed: at(step.removed),
        });
        Ok(Explanation { allowed: said.allowed, steps: steps.collect(), targets: at(said.targets) })
    }
}

/// The active rules that bind a key, by scope and in order.
fn scopes_of(tx: &dyn Tx, actor: &Actor, project: &Id, key: &Id) -> Result<Vec<Scoped>, ControlError> {
    let found = gate::project(tx, actor, Capability::RulesRead, project)?;
    let key = tx.key(key)?.filter(|key| key.project == *project).ok_or(ControlError::NotFound)?;
    let member = grants::member_of(&key).map(|user| {
        let organization = found.organization.clone();
        (Scope::Member, PolicyPlace::Member { organization, user })
    });
    let places = [
        Some((Scope::Organization, PolicyPlace::Organization(found.organization.clone()))),
        Some((Scope::Project, PolicyPlace::Project(project.clone()))),
        member,
        Some((Scope::Key, PolicyPlace::Key(key.id.clone()))),
    ];
    let mut scopes = Vec::new();
    for (scope, place) in places.into_iter().flatten() {
        let rules = active(tx.rules(&place)?);
        if !rules.is_empty() {
            scopes.push((scope, rules.into()));
        }
    }
    Ok(scopes)
}

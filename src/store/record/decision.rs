//! How a stored request was decided on.

use std::time::Duration;

use super::usage::RequestRow;
use crate::{
    base::NanoUsd,
    usage::{CostParts, CredentialAs, Decided, Details, LimitsSaid, Phases, Record, RefusedBy, RulesSaid},
};

/// What only the row of a request tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DetailsRow {
    /// Why the answer ended, one of the words of `Finish`; empty in rows of versions that kept none.
    pub finish: String,
    /// How it was decided on.
    pub decided: Decided,
    /// What the client wrote as `model`.
    pub requested_model: String,
    /// The program of the client, as it calls itself.
    pub user_agent: String,
    /// From the first byte of the request to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// The rule or limit that refused it.
    pub refused_by: Option<RefusalRow>,
    /// The cost in parts.
    pub costs: Option<CostParts>,
    /// Where its time went.
    pub phases: Option<Phases>,
}

/// The rule or limit that refused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRow {
    /// Where it stands.
    pub scope: String,
    /// What it is about.
    pub what: String,
    /// Ids of the rules that decided.
    pub rules: Vec<String>,
    /// What the client was told.
    pub said: String,
}

impl From<&RefusedBy> for RefusalRow {
    fn from(refused: &RefusedBy) -> Self {
        Self {
            scope: refused.scope.to_owned(),
            what: refused.what.to_owned(),
            rules: refused.rules.iter().map(|id| id.to_string()).collect(),
            said: refused.said.to_string(),
        }
    }
}

impl DetailsRow {
    /// What a record tells that is not stored.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let nothing = Details::default();
        let details = record.details.as_deref().unwrap_or(&nothing);
        Self {
            finish: record.finish.as_str().to_owned(),
            decided: record.decided,
            requested_model: details.requested_model.to_string(),
            user_agent: details.user_agent.to_string(),
            first_byte: details.first_byte,
            refused_by: details.refused_by.as_ref().map(RefusalRow::from),
            costs: kept_costs(details.costs),
            phases: details.phases,
        }
    }
}

/// The parts of a cost, if there is any: those of nothing are not stored.
pub(in crate::store) fn kept_costs(costs: Option<CostParts>) -> Option<CostParts> {
    costs.filter(|costs| costs.list() != [NanoUsd::ZERO; CostParts::COUNT])
}

/// One step of the way from a request to what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRow {
    /// `key`, `route`, `rules`, `target`, `limits`, `credential` or `fallback`, in this order.
    pub step: &'static str,
    /// What was decided, one word.
    pub outcome: &'static str,
    /// What it was decided on, or by: a name, an id, a scope.
    pub subject: String,
    /// Why, as the client was told; empty where the outcome says it.
    pub reason: String,
    /// Ids of the rules that decided.
    pub rules: Vec<String>,
}

impl RequestRow {
    /// The steps of the decision on the request, as far as it got. Empty for a row of a version that noted none, and for what was
    /// not asked of a model.
    #[must_use]
    pub fn decisions(&self) -> Vec<DecisionRow> {
        let of = &self.dimension;
        let mut steps = Vec::new();
        if self.details.finish.is_empty() || !self.is_of_a_model() {
            return steps;
        }
        let key = if of.key.is_empty() { "refused" } else { "accepted" };
        steps.push(DecisionRow::new("key", key, &of.key));
        // Nobody kept the text of a request that is only followed.
        let asked = Some(&*self.details.requested_model).filter(|asked| !asked.is_empty()).unwrap_or(&of.route);
        // Limits of the key that are asked before its route is known.
        let limits = self.limits_step();
        if !of.route.is_empty() || self.details.decided.rules != RulesSaid::NotAsked {
            steps.push(DecisionRow::new("route", "found", asked));
            steps.extend(self.rules_step());
        } else if of.error == "model_not_found" {
            steps.push(DecisionRow::new("route", "not_found", asked));
        }
        if !of.target.is_empty() {
            steps.push(DecisionRow::new("target", self.details.decided.target.as_str(), &of.target));
        }
        steps.extend(limits);
        self.credential_steps(&mut steps);
        steps
    }

    fn is_of_a_model(&self) -> bool {
        matches!(&*self.dimension.endpoint, "chat" | "completions" | "embeddings" | "responses")
    }

    fn rules_step(&self) -> Option<DecisionRow> {
        let said = self.details.decided.rules;
        let refused = self.details.refused_by.as_ref().filter(|_| said == RulesSaid::Denied);
        let step = DecisionRow::new("rules", said.as_str(), refused.map_or("", |refused| &refused.scope));
        (said != RulesSaid::NotAsked).then(|| step.refused(refused))
    }

    fn limits_step(&self) -> Option<DecisionRow> {
        let said = self.details.decided.limits;
        let refused = self.details.refused_by.as_ref().filter(|_| said == LimitsSaid::Refused);
        let step = DecisionRow::new("limits", said.as_str(), refused.map_or("", |refused| &refused.scope));
        (said != LimitsSaid::NotAsked).then(|| step.refused(refused))
    }

    fn credential_steps(&self, steps: &mut Vec<DecisionRow>) {
        let why = self.details.decided.credential;
        let (first, then) = match why {
            CredentialAs::Nothing => return,
            CredentialAs::OnlyOwn | CredentialAs::OwnFirst => ("own", None),
            CredentialAs::OnlyPlatform => ("platform", None),
            CredentialAs::OwnRefused => ("own", Some("platform")),
            CredentialAs::FallbackForbidden => ("own", Some("forbidden")),
        };
        let first_why = if then.is_some() { CredentialAs::OwnFirst } else { why };
        steps.push(DecisionRow::new("credential", first, first_why.as_str()));
        if let Some(then) = then {
            steps.push(DecisionRow::new("fallback", then, CredentialAs::OwnRefused.as_str()));
        }
    }
}

impl DecisionRow {
    fn new(step: &'static str, outcome: &'static str, subject: &str) -> Self {
        Self { step, outcome, subject: subject.to_owned(), reason: String::new(), rules: Vec::new() }
    }

    fn refused(self, by: Option<&RefusalRow>) -> Self {
        let Some(by) = by else { return self };
        Self { reason: by.said.clone(), rules: by.rules.clone(), ..self }
    }
}

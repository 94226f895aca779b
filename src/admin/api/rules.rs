//! IAM rules at organizations, projects, members and keys.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::site_path::SitePath;
use super::words::words;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, KeyId, Listed, NoContent,
    OrganizationId, Plain, ProjectId, RuleId, Tagged, Time, UserId,
};
use crate::control::{Capability, Explanation, NewRule, Question, RulePatch};
use crate::iam::RuleType;
use crate::snapshot::Target;
use crate::store::{Rule, RuleStatus};
use crate::wire::Endpoint as WireEndpoint;

/// Declares the endpoints of one kind of place.
macro_rules! at {
    ($root:literal, $site:ty, $read:ident, $write:ident, $whose:literal) => {{
        let (read, write) = (Needs(Capability::$read), Needs(Capability::$write));
        let archived = &[Code::ProjectArchived];
        [
            Endpoint::post(
                concat!($root, "/rules"),
                write,
                concat!("Makes an IAM rule of ", $whose, "; it holds on every worker at once."),
                create::<$site>,
            )
            .refuses(archived)
            .refuses(&[Code::LimitReached]),
            Endpoint::get(
                concat!($root, "/rules"),
                read,
                concat!("Lists the IAM rules of ", $whose, ", the oldest first."),
                list::<$site>,
            ),
            Endpoint::get(
                concat!($root, "/rules/{rule}"),
                read,
                concat!("Shows an IAM rule of ", $whose, "."),
                show::<$site>,
            ),
            Endpoint::patch(
                concat!($root, "/rules/{rule}"),
                write,
                concat!("Changes an IAM rule of ", $whose, "; it holds on every worker at once."),
                change::<$site>,
            )
            .refuses(archived),
            Endpoint::delete(
                concat!($root, "/rules/{rule}"),
                write,
                concat!("Deletes an IAM rule of ", $whose, "."),
                delete::<$site>,
            ),
        ]
    }};
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let organizations = at!(
        "/organizations/{organization}",
        OrganizationId,
        OrganizationRulesRead,
        OrganizationRulesWrite,
        "an organization"
    );
    let members = at!(
        "/organizations/{organization}/members/{user}",
        (OrganizationId, UserId),
        OrganizationRulesRead,
        OrganizationRulesWrite,
        "a member, for the keys that the member made"
    );
    let projects = at!("/projects/{project}", ProjectId, RulesRead, RulesWrite, "a project");
    let keys = at!("/projects/{project}/keys/{key}", (ProjectId, KeyId), RulesRead, RulesWrite, "a key");
    let explain = Endpoint::post(
        "/projects/{project}/keys/{key}/explain",
        Needs(Capability::RulesRead),
        "Says how IAM rules would decide on a request with a key, and which of them; sends nothing to a provider.",
        explain,
    );
    organizations.into_iter().chain(members).chain(projects).chain(keys).chain([explain]).collect()
}

/// A new IAM rule.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IamRuleCreate {
    /// What it allows or denies.
    #[serde(rename = "type")]
    #[schema(schema_with = type_schema)]
    kind: String,
    /// `{"models": []}`, `{"providers": []}` or `{"routes": []}` with 1 to 100 names or patterns, in which `*` stands for any
    /// text; `{"cidrs": []}` with 1 to 100 networks; for prices one at least of `pricing_type` (`free`, `paid`),
    /// `max_input_price` and `max_output_price` in USD per million tokens.
    #[schema(value_type = Object)]
    value: Value,
    /// Whether it is evaluated. Default `active`.
    status: Option<RuleStatus>,
}

impl IamRuleCreate {
    /// The rule; `path` is where it stands in the request.
    ///
    /// # Errors
    /// A type that there is not.
    pub(super) fn new_rule(self, path: &str) -> Result<NewRule, ApiError> {
        let kind = RuleType::parse(&self.kind).ok_or_else(|| {
            let known: Vec<&str> = RuleType::ALL.iter().map(|known| known.as_str()).collect();
            ApiError::field(format!("{path}type"), format!("expected one of `{}`", known.join("`, `")))
        })?;
        Ok(NewRule { kind, value: self.value, status: self.status.unwrap_or(RuleStatus::Active) })
    }
}

fn type_schema() -> utoipa::openapi::schema::Object {
    let known: Vec<&str> = RuleType::ALL.iter().map(|known| known.as_str()).collect();
    words(&known)
}

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IamRuleChange {
    /// The new value, in the form of the rule's type.
    #[schema(value_type = Option<Object>)]
    value: Option<Value>,
    /// Whether it is evaluated.
    status: Option<RuleStatus>,
}

/// An IAM rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IamRule)]
struct IamRuleView {
    id: IdText,
    /// Where it stands.
    #[schema(schema_with = scope_schema)]
    scope: &'static str,
    /// Id of the organization, project, member or key at which it stands.
    scope_id: IdText,
    /// What it allows or denies.
    #[serde(rename = "type")]
    #[schema(schema_with = type_schema)]
    kind: &'static str,
    /// With what.
    #[schema(value_type = Object)]
    value: Value,
    /// Whether it is evaluated.
    status: RuleStatus,
    created_by: IdText,
    created_at: Time,
}

fn scope_schema() -> utoipa::openapi::schema::Object {
    words(&["organization", "project", "member", "key"])
}

/// A request that might be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExplainQuestion {
    /// Name of a live route, with or without the project.
    #[schema(min_length = 1, max_length = 255)]
    route: String,
    /// The endpoint. Default `chat`.
    #[schema(schema_with = endpoint_schema)]
    endpoint: Option<String>,
    /// Address of the client. Without it the address counts as unknown, which rules about addresses refuse.
    #[schema(max_length = 64)]
    client_ip: Option<String>,
}

fn endpoint_schema() -> utoipa::openapi::schema::Object {
    words(&WireEndpoint::ALL.map(WireEndpoint::as_str))
}

/// How rules would decide, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
struct ExplanationView {
    /// Whether the request would be allowed.
    allowed: bool,
    /// The targets that it may use, in order.
    targets: Vec<ExplainedTargetView>,
    /// The steps that have rules, up to the one that refused.
    steps: Vec<ExplainedStepView>,
}

/// A target as rules see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedTarget)]
struct ExplainedTargetView {
    /// The `model_id` of the configuration.
    target: String,
    /// Name of the provider; `custom:<host>` for an address that is not the provider's own.
    provider: String,
    /// Name of the model as the provider knows it.
    model: String,
}

/// What the rules of one kind did at one place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedStep)]
struct ExplainedStepView {
    /// Where the rules stand.
    #[schema(schema_with = scope_schema)]
    scope: &'static str,
    /// What they decide on.
    #[schema(schema_with = step_schema)]
    step: &'static str,
    /// The rules.
    rule_ids: Vec<String>,
    /// Those that removed something: allow rules that matched nothing, deny rules that matched.
    decided_by: Vec<String>,
    /// `model_id` of each target that was removed.
    removed: Vec<String>,
}

fn step_schema() -> utoipa::openapi::schema::Object {
    words(&["providers", "routes", "models", "pricing", "ip_cidrs"])
}

async fn create<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    place: P,
    Body(body): Body<IamRuleCreate>,
) -> Result<Created<IamRuleView>, ApiError> {
    let (site, path) = place.site();
    let made = api.control.create_rule(&actor, site, body.new_rule("")?).await?;
    let location = format!("{path}/rules/{}", made.id);
    Ok(Created { revision: made.revision, body: made.into(), location })
}

async fn list<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    place: P,
) -> Result<Listed<IamRuleView>, ApiError> {
    let found = api.control.rules(&actor, place.site().0).await?;
    Ok(Listed::whole(found.into_iter().map(IamRuleView::from).collect()))
}

async fn show<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (place, RuleId(id)): (P, RuleId),
) -> Result<Tagged<IamRuleView>, ApiError> {
    api.control.rule(&actor, place.site().0, id).await.map(tagged).map_err(ApiError::from)
}

async fn change<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (place, RuleId(id)): (P, RuleId),
    IfMatch(revision): IfMatch,
    Body(body): Body<IamRuleChange>,
) -> Result<Tagged<IamRuleView>, ApiError> {
    let patch = RulePatch { value: body.value, status: body.status };
    let changed = api.control.change_rule(&actor, (place.site().0, id), revision, patch).await;
    changed.map(tagged).map_err(ApiError::from)
}

async fn delete<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (place, RuleId(id)): (P, RuleId),
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    api.control.delete_rule(&actor, (place.site().0, id), revision).await?;
    Ok(NoContent)
}

async fn explain(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), KeyId(key)): (ProjectId, KeyId),
    Body(body): Body<ExplainQuestion>,
) -> Result<Plain<ExplanationView>, ApiError> {
    let named = |text: &str| WireEndpoint::ALL.into_iter().find(|endpoint| endpoint.as_str() == text);
    let endpoint = named(body.endpoint.as_deref().unwrap_or("chat")).ok_or_else(|| {
        ApiError::field("endpoint", "expected `chat`, `completions`, `embeddings`, `responses` or `transcriptions`")
    })?;
    let address = body.client_ip.as_deref().map(|text| {
        let address = text.parse::<IpAddr>();
        address.map_err(|_| ApiError::field("client_ip", "expected an address such as `192.0.2.7` or `2001:db8::7`"))
    });
    let question = Question { route: body.route, endpoint, address: address.transpose()? };
    Ok(Plain(api.control.explain(&actor, (&project, &key), question).await?.into()))
}

fn tagged(rule: Rule) -> Tagged<IamRuleView> {
    Tagged { revision: rule.revision, body: rule.into() }
}

impl From<Rule> for IamRuleView {
    fn from(rule: Rule) -> Self {
        let (scope, scope_id) = rule.place.scope();
        Self {
            id: rule.id.into(),
            scope,
            scope_id: scope_id.clone().into(),
            kind: rule.kind.as_str(),
            // Stored by us as JSON; were it damaged, it shows as the text that it is.
            value: serde_json::from_str(&rule.value).unwrap_or_else(|_| Value::from(rule.value)),
            status: rule.status,
            created_by: rule.created_by.into(),
            created_at: rule.created_at.into(),
        }
    }
}

impl From<Explanation> for ExplanationView {
    fn from(said: Explanation) -> Self {
        let name = |target: &Arc<Target>| target.labels.target.to_string();
        let texts = |ids: &[Arc<str>]| ids.iter().map(|id| id.to_string()).collect();
        let targets = said.targets.iter().map(|target| ExplainedTargetView {
            target: name(target),
            provider: target.facts.provider.to_string(),
            model: target.facts.model.to_string(),
        });
        let steps = said.steps.iter().map(|step| ExplainedStepView {
            scope: step.scope.as_str(),
            step: step.step.as_str(),
            rule_ids: texts(&step.rule_ids),
            decided_by: texts(&step.decided_by),
            removed: step.removed.iter().map(name).collect(),
        });
        Self { allowed: said.allowed, targets: targets.collect(), steps: steps.collect() }
    }
}

//! API keys: create, list, read, change, roll, disable, delete.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::comment::Comment;
use super::limit_fields::{MoneyLimitsView, PeriodLimitBody, usd};
use super::projects::millis;
use super::rules::IamRuleCreate;
use super::words::words;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, KeyId, Listed, Listing,
    NoContent, OptionalBody, ProjectId, Query, Tagged, Time, present,
};
use crate::base::{Secret, UnixTime, unix_time};
use crate::config::parse_time;
use crate::control::{Capability, FieldPatch, KeyPatch, LimitFields, NewKey};
use crate::store::{ApiKey, KeyFilter, KeyStatus, Page, PolicyPlace};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (read, write) = (Needs(Capability::KeysRead), Needs(Capability::KeysWrite));
    let conflicts = &[Code::IllegalTransition, Code::ProjectArchived];
    vec![
        Endpoint::post("/projects/{project}/keys", write, "Creates an API key; its text is shown here only.", create)
            .refuses(&[Code::LimitReached, Code::ProjectArchived]),
        Endpoint::get("/projects/{project}/keys", read, "Lists API keys; a developer sees the own ones.", list),
        Endpoint::get("/projects/{project}/keys/{key}", read, "Shows an API key.", show),
        Endpoint::patch("/projects/{project}/keys/{key}", write, "Changes an API key; it holds at once.", change)
            .refuses(conflicts)
            .refuses(&[Code::LimitReached]),
        Endpoint::post(
            "/projects/{project}/keys/{key}/roll",
            write,
            "Gives an API key a new text, which is shown here only.",
            roll,
        )
        .refuses(conflicts),
        Endpoint::post(
            "/projects/{project}/keys/{key}/disable",
            write,
            "Disables an API key; when the call returns no worker accepts it.",
            disable,
        )
        .refuses(conflicts),
        Endpoint::post("/projects/{project}/keys/{key}/enable", write, "Enables an API key again.", enable)
            .refuses(conflicts)
            .refuses(&[Code::LimitReached]),
        Endpoint::delete("/projects/{project}/keys/{key}", write, "Deletes an API key for good.", delete),
    ]
}

/// A new API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyCreate {
    /// What it is for.
    #[schema(min_length = 1, max_length = 255)]
    description: String,
    /// From when on it may not be used; in the future.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The group it is reported under.
    #[schema(min_length = 1, max_length = 64)]
    group: Option<String>,
    /// IAM rules that bind it from its first moment on; only by who may write rules.
    #[serde(default)]
    #[schema(max_items = 100)]
    rules: Vec<IamRuleCreate>,
    /// USD for all time; `"0"` blocks everything. Absent or null is unlimited, as for all limits.
    #[schema(max_length = 32)]
    usage_limit: Option<String>,
    /// USD in each period.
    period_limit: Option<PeriodLimitBody>,
    /// Requests a minute.
    requests_per_minute: Option<u64>,
    /// Tokens of requests and answers a minute.
    tokens_per_minute: Option<u64>,
    /// Requests open at once.
    max_concurrent: Option<u64>,
}

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyChange {
    /// What it is for.
    #[schema(min_length = 1, max_length = 255)]
    description: Option<String>,
    /// From when on it may not be used; null is never.
    #[serde(default, deserialize_with = "present")]
    #[schema(format = DateTime)]
    expires_at: Option<Option<String>>,
    /// The group it is reported under; null is none.
    #[serde(default, deserialize_with = "present")]
    #[schema(min_length = 1, max_length = 64)]
    group: Option<Option<String>>,
    /// Whether it may be used.
    status: Option<KeyStatus>,
    /// USD for all time; null is unlimited, as for all limits.
    #[serde(default, deserialize_with = "present")]
    #[schema(max_length = 32)]
    usage_limit: Option<Option<String>>,
    /// USD in each period. Another amount keeps the period, another length or kind begins a new one.
    #[serde(default, deserialize_with = "present")]
    period_limit: Option<Option<PeriodLimitBody>>,
    /// Requests a minute.
    #[serde(default, deserialize_with = "present")]
    requests_per_minute: Option<Option<u64>>,
    /// Tokens of requests and answers a minute.
    #[serde(default, deserialize_with = "present")]
    tokens_per_minute: Option<Option<u64>>,
    /// Requests open at once.
    #[serde(default, deserialize_with = "present")]
    max_concurrent: Option<Option<u64>>,
}

/// How a key gets a new text.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyRoll {
    /// How long the old text goes on working; 0 ends it now, also that of the roll before.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 604_800, default = 0)]
    overlap_seconds: u64,
}

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct ApiKeyView {
    id: IdText,
    project_id: IdText,
    /// The name of the key in logs: `mr_live_` or `mr_test_` and 12 characters.
    public_id: String,
    /// The name and the last four characters: `mr_live_<id>...<last 4>`.
    masked: String,
    description: String,
    status: KeyStatus,
    expires_at: Option<Time>,
    group: Option<String>,
    /// Until when the text before the last roll works; null when none does.
    old_secret_expires_at: Option<Time>,
    created_by: IdText,
    created_at: Time,
    /// To the minute.
    last_used_at: Option<Time>,
    #[serde(flatten)]
    money: MoneyLimitsView,
    /// Requests a minute; null is unlimited.
    requests_per_minute: Option<u64>,
    /// Tokens of requests and answers a minute; null is unlimited.
    tokens_per_minute: Option<u64>,
    /// Requests open at once; null is unlimited.
    max_concurrent: Option<u64>,
}

/// An API key with its text: shown once.
#[derive(Serialize, ToSchema)]
struct ApiKeyShown {
    /// The text. It is stored nowhere and cannot be shown again.
    key: String,
    #[serde(flatten)]
    shown: ApiKeyView,
}

/// Which keys are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ApiKeyQuery {
    /// `mine`: those that the caller made. Default `all`.
    #[param(schema_with = filter_schema)]
    filter: Option<String>,
    /// Only this status.
    #[param(nullable = false)]
    status: Option<KeyStatus>,
    /// Only of this group.
    #[param(nullable = false, max_length = 64)]
    group: Option<String>,
}

fn filter_schema() -> utoipa::openapi::schema::Object {
    words(&["mine", "all"])
}

async fn create(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    Body(body): Body<ApiKeyCreate>,
) -> Result<Created<ApiKeyShown>, ApiError> {
    let expires_at = body.expires_at.as_deref().map(expiry).transpose()?;
    let limits = FieldPatch {
        usage_limit: Some(body.usage_limit.as_deref().map(|text| usd("usage_limit", text)).transpose()?),
        period_limit: Some(body.period_limit.as_ref().map(PeriodLimitBody::read).transpose()?),
        requests_per_minute: Some(body.requests_per_minute),
        tokens_per_minute: Some(body.tokens_per_minute),
        max_concurrent: Some(body.max_concurrent),
    };
    let rules = body.rules.into_iter().enumerate();
    let rules = rules.map(|(index, rule)| rule.new_rule(&format!("rules.{index}."))).collect::<Result<_, _>>()?;
    let new = NewKey { description: body.description, expires_at, group: body.group, rules, limits };
    let (made, text) = api.control.create_key(&actor, &project, new).await?;
    let location = format!("/projects/{project}/keys/{}", made.id);
    Ok(Created { revision: made.revision, body: ApiKeyShown::new(view(&api, made).await?, &text), location })
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    Query(query): Query<ApiKeyQuery>,
    listing: Listing,
) -> Result<Listed<ApiKeyView>, ApiError> {
    let created_by = match query.filter.as_deref() {
        None | Some("all") => None,
        Some("mine") => Some(actor.author.clone()),
        Some(_) => return Err(ApiError::field("filter", "expected `mine` or `all`")),
    };
    let filter = KeyFilter { created_by, status: query.status, group: query.group };
    let page = api.control.keys(&actor, &project, filter, listing.page.clone()).await?;
    let mark = |row: &ApiKey| (millis(row.created_at), row.id.as_str().to_owned());
    let fields = api.control.limit_fields(page.rows.iter().map(place_of).collect()).await?;
    let page = Page { rows: page.rows.into_iter().zip(fields).collect(), has_more: page.has_more };
    Ok(Listed::new(&listing, page, |(row, _): &(ApiKey, LimitFields)| mark(row), ApiKeyView::from))
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), KeyId(key)): (ProjectId, KeyId),
) -> Result<Tagged<ApiKeyView>, ApiError> {
    let found = api.control.key(&actor, &project, &key).await?;
    tagged(&api, found).await
}

async fn change(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), KeyId(key)): (ProjectId, KeyId),
    IfMatch(revision): IfMatch,
    Body(body): Body<ApiKeyChange>,
) -> Result<Tagged<ApiKeyView>, ApiError> {
    let expires_at = body.expires_at.map(|time| time.as_deref().map(expiry).transpose()).transpose()?;
    let usage_limit = body.usage_limit.map(|text| text.map(|text| usd("usage_limit", &text)).transpose());
    let period_limit = body.period_limit.map(|period| period.map(|period| period.read()).transpose());
    let limits = FieldPatch {
        usage_limit: usage_limit.transpose()?,
        period_limit: period_limit.transpose()?,
        requests_per_minute: body.requests_per_minute,
        tokens_per_minute: body.tokens_per_minute,
        max_concurrent: body.max_concurrent,
    };
    let patch = KeyPatch { description: body.description, expires_at, group: body.group, status: body.status, limits };
    let changed = api.control.change_key(&actor, (&project, &key), revision, patch).await?;
    tagged(&api, changed).await
}

async fn roll(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), KeyId(key)): (ProjectId, KeyId),
    OptionalBody(body): OptionalBody<ApiKeyRoll>,
) -> Result<Tagged<ApiKeyShown>, ApiError> {
    let overlap = Duration::from_secs(body.overlap_seconds);
    let (rolled, text) = api.control.roll_key(&actor, (&project, &key), overlap).await?;
    Ok(Tagged { revision: rolled.revision, body: ApiKeyShown::new(view(&api, rolled).await?, &text) })
}

async fn disable(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), KeyId(key)): (ProjectId, KeyId),
    OptionalBody(body): OptionalBody<Comment>,
) -> Result<Tagged<ApiKeyView>, ApiError> {
    let switched = api.control.switch_key(&actor, (&project, &key), KeyStatus::Disabled, body.comment).await?;
    tagged(&api, switched).await
}

async fn enable(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), KeyId(key)): (ProjectId, KeyId),
    OptionalBody(body): OptionalBody<Comment>,
) -> Result<Tagged<ApiKeyView>, ApiError> {
    let switched = api.control.switch_key(&actor, (&project, &key), KeyStatus::Active, body.comment).await?;
    tagged(&api, switched).await
}

async fn delete(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), KeyId(key)): (ProjectId, KeyId),
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    api.control.delete_key(&actor, (&project, &key), revision).await?;
    Ok(NoContent)
}

fn expiry(text: &str) -> Result<UnixTime, ApiError> {
    parse_time(text).ok_or_else(|| ApiError::field("expires_at", "expected a time such as `2027-03-01T12:00:00Z`"))
}

async fn tagged(api: &Api, key: ApiKey) -> Result<Tagged<ApiKeyView>, ApiError> {
    Ok(Tagged { revision: key.revision, body: view(api, key).await? })
}

/// A key with its limits and what is used of them.
async fn view(api: &Api, key: ApiKey) -> Result<ApiKeyView, ApiError> {
    let fields = api.control.limit_fields(vec![place_of(&key)]).await?.pop().unwrap_or_default();
    Ok((key, fields).into())
}

fn place_of(key: &ApiKey) -> PolicyPlace {
    PolicyPlace::Key(key.id.clone())
}

impl ApiKeyShown {
    fn new(shown: ApiKeyView, text: &Secret) -> Self {
        Self { key: text.reveal().to_owned(), shown }
    }
}

impl From<(ApiKey, LimitFields)> for ApiKeyView {
    fn from((key, limits): (ApiKey, LimitFields)) -> Self {
        let overlaps_until = key.old_expires_at.filter(|end| unix_time() < *end);
        Self {
            masked: format!("{}...{}", key.public_id, key.last4),
            id: key.id.into(),
            project_id: key.project.into(),
            public_id: key.public_id,
            description: key.description,
            status: key.status,
            expires_at: key.expires_at.map(Time::from),
            group: key.group,
            old_secret_expires_at: overlaps_until.map(Time::from),
            created_by: key.created_by.into(),
            created_at: key.created_at.into(),
            last_used_at: key.last_used_at.map(Time::from),
            money: MoneyLimitsView::from(&limits),
            requests_per_minute: limits.requests_per_minute,
            tokens_per_minute: limits.tokens_per_minute,
            max_concurrent: limits.max_concurrent,
        }
    }
}

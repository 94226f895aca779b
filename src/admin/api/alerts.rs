//! Alert rules, what they noticed, and a try of their channels.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::owner::OwnerPath;
use super::projects::millis;
use crate::admin::rest::{
    Access::Needs, AlertId, Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, Listed, Listing,
    NoContent, OrganizationId, ProjectId, Tagged, Time,
};
use crate::base::Secret;
use crate::control::{AlertPatch, Capability, Channel, HistoryRow, NewAlert, ShownAlert};
use crate::store::{
    AlertChannel, AlertCondition, AlertDelivery, AlertEvent, AlertScope, AlertState, ChannelKind, DeliveryState,
};

/// Declares the endpoints of one kind of owner.
macro_rules! of_owner {
    ($path:literal, $id:ident, $read:ident, $write:ident) => {
        [
            Endpoint::post($path, Needs(Capability::$write), "Makes an alert rule.", create::<$id>)
                .refuses(&[Code::ProjectArchived, Code::LimitReached]),
            Endpoint::get($path, Needs(Capability::$read), "Lists alert rules, newest first.", list::<$id>),
        ]
    };
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (read, write) = (Needs(Capability::AlertsRead), Needs(Capability::AlertsWrite));
    let archived = &[Code::ProjectArchived];
    let of_projects = of_owner!("/projects/{project}/alerts", ProjectId, AlertsRead, AlertsWrite);
    let of_organizations = of_owner!(
        "/organizations/{organization}/alerts",
        OrganizationId,
        OrganizationAlertsRead,
        OrganizationAlertsWrite
    );
    let own = [
        Endpoint::get("/alerts/{alert}", read, "Shows an alert rule, not the secret of its webhook.", show),
        Endpoint::patch("/alerts/{alert}", write, "Changes an alert rule, which begins anew.", change)
            .refuses(archived),
        Endpoint::delete("/alerts/{alert}", write, "Deletes an alert rule with its history.", delete),
        Endpoint::get("/alerts/{alert}/history", read, "Lists what a rule noticed, newest first.", history),
        Endpoint::post("/alerts/{alert}/test", write, "Sends one fixed message through the channels of a rule.", test)
            .refuses(archived),
    ];
    of_projects.into_iter().chain(of_organizations).chain(own).collect()
}

/// When a rule fires. Each event takes some of the fields; the others are refused.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AlertConditionInput {
    /// Percentages of a limit, rising; for `spend_threshold`. Default 50, 80, 100.
    #[serde(default)]
    #[schema(max_items = 10)]
    percents: Vec<u32>,
    /// From which value on: percent for `error_rate` (5) and `upstream_down` (50), milliseconds for `latency_p95`, days for
    /// `key_expiring` (7), USD that are left for `credits_low` (10), requests for the others (1).
    #[schema(minimum = 1)]
    threshold: Option<u64>,
    /// How far back it looks. Default 300.
    #[schema(minimum = 60, maximum = 86_400)]
    window_seconds: Option<u64>,
    /// With fewer requests or attempts nothing is decided. Default 20 for requests, 5 for attempts.
    #[schema(minimum = 1)]
    minimum_requests: Option<u64>,
}

/// Where notices go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AlertChannelInput {
    /// At most one of a type.
    r#type: ChannelKind,
    /// Address of a webhook, without a query. It must pass the egress rules.
    #[schema(max_length = 1_024)]
    url: Option<String>,
    /// Key of the webhook's signature; never given back. Without one the key stays that is there, for the same place.
    #[schema(write_only, min_length = 16, max_length = 8_192)]
    secret: Option<String>,
    /// Addresses of an e-mail.
    #[serde(default)]
    #[schema(max_items = 10)]
    to: Vec<String>,
}

/// A new rule.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AlertCreate {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 2_000)]
    description: String,
    /// Whether it is looked at. Default true.
    enabled: Option<bool>,
    /// What it looks at; all of its owner when absent.
    scope: Option<AlertScope>,
    /// Name of the route or id of the key.
    #[schema(max_length = 64)]
    target: Option<String>,
    /// What it notices. Events of parts that this version does not have are refused.
    event: AlertEvent,
    #[serde(default)]
    condition: AlertConditionInput,
    /// At most one of a type.
    #[schema(min_items = 1, max_items = 3)]
    channels: Vec<AlertChannelInput>,
}

/// What is to change; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AlertChange {
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    #[schema(max_length = 2_000)]
    description: Option<String>,
    /// Whether it is looked at.
    enabled: Option<bool>,
    /// Why it is not.
    #[schema(max_length = 2_000)]
    disabled_reason: Option<String>,
    /// In the place of the one before.
    condition: Option<AlertConditionInput>,
    /// In the place of those before.
    #[schema(min_items = 1, max_items = 3)]
    channels: Option<Vec<AlertChannelInput>>,
}

/// When a rule fires, with all defaults.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertCondition)]
struct AlertConditionView {
    percents: Vec<u32>,
    threshold: Option<u64>,
    window_seconds: Option<u64>,
    minimum_requests: Option<u64>,
}

/// Where notices go.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertChannel)]
struct AlertChannelView {
    r#type: ChannelKind,
    url: Option<String>,
    to: Vec<String>,
}

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
struct AlertView {
    id: IdText,
    organization_id: IdText,
    /// Null for a rule of the whole organization.
    project_id: Option<IdText>,
    name: String,
    description: String,
    enabled: bool,
    disabled_reason: String,
    scope: AlertScope,
    target: Option<String>,
    /// Whether its route or key is not there any more.
    orphaned: bool,
    event: AlertEvent,
    condition: AlertConditionView,
    channels: Vec<AlertChannelView>,
    created_by: IdText,
    created_at: Time,
}

/// What a rule noticed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertNotice)]
struct AlertNoticeView {
    /// The `notice` of what is sent.
    id: u64,
    at: Time,
    state: AlertState,
    /// What it is about: an account, a key, a project; empty for the rule as a whole.
    subject: String,
    /// The value that was seen.
    value: String,
    detail: String,
    deliveries: Vec<AlertDeliveryView>,
}

/// How a notice arrived.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertDelivery)]
struct AlertDeliveryView {
    channel: ChannelKind,
    state: DeliveryState,
    /// Tries so far, 5 at most.
    attempts: u32,
    /// When the next try is due; null when there is none.
    next_at: Option<Time>,
    /// Why the last try failed.
    error: Option<String>,
}

async fn create<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    owner: O,
    Body(body): Body<AlertCreate>,
) -> Result<Created<AlertView>, ApiError> {
    let new = NewAlert {
        name: body.name,
        description: body.description,
        enabled: body.enabled.unwrap_or(true),
        scope: body.scope,
        target: body.target,
        event: body.event,
        condition: body.condition.into(),
        channels: body.channels.into_iter().map(Channel::from).collect(),
    };
    let made = api.control.create_alert(&actor, &owner.owner(), new).await?;
    let location = format!("/alerts/{}", made.alert.id);
    Ok(Created { revision: made.alert.revision, body: made.into(), location })
}

async fn list<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    owner: O,
    listing: Listing,
) -> Result<Listed<AlertView>, ApiError> {
    let page = api.control.alerts(&actor, &owner.owner(), listing.page.clone()).await?;
    let mark = |row: &ShownAlert| (millis(row.alert.created_at), row.alert.id.as_str().to_owned());
    Ok(Listed::new(&listing, page, mark, AlertView::from))
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    AlertId(id): AlertId,
) -> Result<Tagged<AlertView>, ApiError> {
    let found = api.control.alert(&actor, &id).await?;
    Ok(Tagged { revision: found.alert.revision, body: found.into() })
}

async fn change(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    AlertId(id): AlertId,
    IfMatch(revision): IfMatch,
    Body(body): Body<AlertChange>,
) -> Result<Tagged<AlertView>, ApiError> {
    let patch = AlertPatch {
        name: body.name,
        description: body.description,
        enabled: body.enabled,
        disabled_reason: body.disabled_reason,
        condition: body.condition.map(AlertCondition::from),
        channels: body.channels.map(|channels| channels.into_iter().map(Channel::from).collect()),
    };
    let changed = api.control.change_alert(&actor, &id, revision, patch).await?;
    Ok(Tagged { revision: changed.alert.revision, body: changed.into() })
}

async fn delete(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    AlertId(id): AlertId,
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    api.control.delete_alert(&actor, &id, revision).await?;
    Ok(NoContent)
}

async fn history(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    AlertId(id): AlertId,
    listing: Listing,
) -> Result<Listed<AlertNoticeView>, ApiError> {
    let page = api.control.alert_history(&actor, &id, listing.page.clone()).await?;
    let mark = |row: &HistoryRow| (millis(row.notice.at), row.notice.id.to_string());
    Ok(Listed::new(&listing, page, mark, AlertNoticeView::from))
}

async fn test(State(api): State<Arc<Api>>, Caller(actor): Caller, AlertId(id): AlertId) -> Result<NoContent, ApiError> {
    api.control.test_alert(&actor, &id).await?;
    Ok(NoContent)
}

impl From<AlertConditionInput> for AlertCondition {
    fn from(said: AlertConditionInput) -> Self {
        let AlertConditionInput { percents, threshold, window_seconds, minimum_requests } = said;
        Self { percents, threshold, window_seconds, minimum_requests }
    }
}

impl From<AlertCondition> for AlertConditionView {
    fn from(condition: AlertCondition) -> Self {
        let AlertCondition { percents, threshold, window_seconds, minimum_requests } = condition;
        Self { percents, threshold, window_seconds, minimum_requests }
    }
}

impl From<AlertChannelInput> for Channel {
    fn from(said: AlertChannelInput) -> Self {
        Self { kind: said.r#type, url: said.url, secret: said.secret.map(Secret::new), to: said.to }
    }
}

impl From<AlertChannel> for AlertChannelView {
    fn from(channel: AlertChannel) -> Self {
        let r#type = channel.kind();
        let (url, to) = match channel {
            AlertChannel::Dashboard => (None, Vec::new()),
            AlertChannel::Webhook(url) => (Some(url), Vec::new()),
            AlertChannel::Email(to) => (None, to),
        };
        Self { r#type, url, to }
    }
}

impl From<ShownAlert> for AlertView {
    fn from(shown: ShownAlert) -> Self {
        let alert = shown.alert;
        Self {
            id: alert.id.into(),
            organization_id: alert.organization.into(),
            project_id: alert.project.map(IdText::from),
            name: alert.name,
            description: alert.description,
            enabled: alert.enabled,
            disabled_reason: alert.disabled_reason,
            scope: alert.scope,
            target: alert.target,
            orphaned: shown.orphaned,
            event: alert.event,
            condition: alert.condition.into(),
            channels: alert.channels.into_iter().map(AlertChannelView::from).collect(),
            created_by: alert.created_by.into(),
            created_at: alert.created_at.into(),
        }
    }
}

impl From<HistoryRow> for AlertNoticeView {
    fn from(row: HistoryRow) -> Self {
        let notice = row.notice;
        Self {
            id: notice.id,
            at: notice.at.into(),
            state: notice.state,
            subject: notice.subject,
            value: notice.value,
            detail: notice.detail,
            deliveries: row.deliveries.into_iter().map(AlertDeliveryView::from).collect(),
        }
    }
}

impl From<AlertDelivery> for AlertDeliveryView {
    fn from(row: AlertDelivery) -> Self {
        let is_pending = row.state == DeliveryState::Pending;
        Self {
            channel: row.channel,
            state: row.state,
            attempts: row.attempts,
            next_at: is_pending.then(|| row.next_at.into()),
            error: Some(row.error).filter(|error| !error.is_empty()),
        }
    }
}

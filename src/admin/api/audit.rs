//! The audit log: who did what, and whether the log is whole.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::projects::millis;
use super::times::optional_time;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Caller, Endpoint, IdText, Listed, Listing, OrganizationId, Plain, ProjectId, Query,
    Time,
};
use crate::control::{Actor, AuditScope, Capability};
use crate::store::{ActorKind, AuditEntry, AuditFilter, Chain};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/organizations/{organization}/audit",
            Needs(Capability::AuditRead),
            "Lists events of an organization and its projects, newest first.",
            of_organization,
        ),
        Endpoint::get(
            "/projects/{project}/audit",
            Needs(Capability::ProjectAuditRead),
            "Lists events of a project, newest first.",
            of_project,
        ),
        Endpoint::get(
            "/instance/audit",
            Needs(Capability::InstanceAuditRead),
            "Lists all events, newest first.",
            of_instance,
        ),
        Endpoint::get(
            "/audit/verify",
            Needs(Capability::AuditVerify),
            "Checks every event of the log against its hash and the one before.",
            verify,
        ),
    ]
}

/// Which events are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Id of a user or token; `system` for the process itself.
    #[param(nullable = false, max_length = 64)]
    actor: Option<String>,
    /// Such as `config.serve`.
    #[param(nullable = false, max_length = 64)]
    action: Option<String>,
    /// Id of the object.
    #[param(nullable = false, max_length = 128)]
    object: Option<String>,
    /// From then on, as RFC 3339 has it.
    #[param(nullable = false, format = "date-time")]
    since: Option<String>,
    /// Before, as RFC 3339 has it.
    #[param(nullable = false, format = "date-time")]
    until: Option<String>,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
struct AuditEventView {
    /// 1, 2, 3, ... over the whole instance.
    sequence: u64,
    at: Time,
    actor_kind: ActorKind,
    /// Id of the user or token; `system` for the process itself.
    actor: String,
    /// Address of the caller; empty for the process itself.
    address: String,
    /// What was done, such as `config.serve`.
    action: String,
    /// Id of the object.
    object: String,
    organization_id: Option<IdText>,
    project_id: Option<IdText>,
    /// The object before; null when it did not exist.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// The object after; null when it does not exist any more.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    request_id: String,
    comment: String,
    /// Hash of the event before, in hex.
    previous_hash: String,
    /// Hash of this event and the one before, in hex.
    hash: String,
}

/// What the check of the log found.
#[derive(Debug, Serialize, ToSchema)]
struct AuditVerification {
    /// Whether every event fits.
    ok: bool,
    /// How many events there are, as far as they fit.
    entries: u64,
    /// Hash of the last event, in hex: kept elsewhere it shows later whether the end was cut off.
    last_hash: Option<String>,
    /// The first event that does not fit: missing, changed, or not behind the one before.
    broken_at: Option<u64>,
}

async fn of_organization(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    Query(query): Query<AuditQuery>,
    listing: Listing,
) -> Result<Listed<AuditEventView>, ApiError> {
    list(&api, &actor, AuditScope::Organization(organization), query, &listing).await
}

async fn of_project(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    Query(query): Query<AuditQuery>,
    listing: Listing,
) -> Result<Listed<AuditEventView>, ApiError> {
    list(&api, &actor, AuditScope::Project(project), query, &listing).await
}

async fn of_instance(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Query(query): Query<AuditQuery>,
    listing: Listing,
) -> Result<Listed<AuditEventView>, ApiError> {
    list(&api, &actor, AuditScope::Instance, query, &listing).await
}

async fn verify(State(api): State<Arc<Api>>, Caller(actor): Caller) -> Result<Plain<AuditVerification>, ApiError> {
    Ok(Plain(match api.control.verify_audit(&actor).await? {
        Chain::Whole { entries, last } => {
            AuditVerification { ok: true, entries, last_hash: Some(hex(&last)), broken_at: None }
        }
        Chain::BrokenAt(at) => {
            AuditVerification { ok: false, entries: at.saturating_sub(1), last_hash: None, broken_at: Some(at) }
        }
    }))
}

async fn list(
    api: &Api,
    actor: &Actor,
    scope: AuditScope,
    query: AuditQuery,
    listing: &Listing,
) -> Result<Listed<AuditEventView>, ApiError> {
    let filter = AuditFilter {
        actor: query.actor,
        action: query.action,
        object: query.object,
        since: optional_time("since", query.since.as_deref())?,
        until: optional_time("until", query.until.as_deref())?,
        ..AuditFilter::default()
    };
    let page = api.control.audit(actor, scope, filter, listing.page.clone()).await?;
    let mark = |row: &AuditEntry| (millis(row.event.at), row.sequence.to_string());
    Ok(Listed::new(listing, page, mark, AuditEventView::from))
}

impl From<AuditEntry> for AuditEventView {
    fn from(entry: AuditEntry) -> Self {
        let event = entry.event;
        Self {
            sequence: entry.sequence,
            at: event.at.into(),
            actor_kind: event.actor_kind,
            actor: event.actor,
            address: event.address,
            action: event.action,
            object: event.object,
            organization_id: event.organization.map(IdText),
            project_id: event.project.map(IdText),
            before: serde_json::from_str(&event.before).ok(),
            after: serde_json::from_str(&event.after).ok(),
            request_id: event.request_id,
            comment: event.comment,
            previous_hash: hex(&entry.previous),
            hash: hex(&entry.hash),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

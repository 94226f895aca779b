//! Organizations: create, list, read, change, delete.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::projects::millis;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, Listed, Listing, NoContent,
    OrganizationId, Query, Tagged, Time, present,
};
use crate::control::{Actor, Capability, OrganizationPatch, Scope, permit};
use crate::store::{Organization, OrganizationStatus};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/organizations",
            Needs(Capability::Self_),
            "Lists the organizations of the caller; all of them for an instance administrator.",
            list,
        ),
        Endpoint::post(
            "/organizations",
            Needs(Capability::OrganizationCreate),
            "Creates an organization; the caller becomes its owner.",
            create,
        ),
        Endpoint::get(
            "/organizations/{organization}",
            Needs(Capability::OrganizationRead),
            "Shows an organization and its settings.",
            show,
        ),
        Endpoint::patch(
            "/organizations/{organization}",
            Needs(Capability::OrganizationWrite),
            "Changes settings; suspension refuses its keys at once.",
            change,
        ),
        Endpoint::delete(
            "/organizations/{organization}",
            Needs(Capability::OrganizationDelete),
            "Deletes an organization for good, with everything in it but its audit events.",
            delete,
        )
        .refuses(&[Code::InUse]),
    ]
}

/// A new organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganizationCreate {
    /// What people call it.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
}

/// Settings to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganizationChange {
    /// What people call it.
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// Instance administrators only.
    status: Option<OrganizationStatus>,
    /// Projects at most. Instance administrators only.
    #[schema(maximum = 100_000)]
    project_limit: Option<u32>,
    /// Active keys over all projects, at most; null is unlimited.
    #[serde(default, deserialize_with = "present")]
    active_key_limit: Option<Option<u32>>,
    /// Days that logs are kept. Owners only.
    #[schema(minimum = 1, maximum = 3_650)]
    default_retention_days: Option<u32>,
    /// Whether prompts and answers are kept. Owners only.
    log_payloads: Option<bool>,
    /// Whether approval needs another person.
    require_second_approver: Option<bool>,
}

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization)]
struct OrganizationView {
    id: IdText,
    name: String,
    status: OrganizationStatus,
    created_at: Time,
    // Settings are absent in the list of a member that may not read them.
    /// Projects that are not archived, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    project_limit: Option<u32>,
    /// Active keys over all projects, at most; null is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    active_key_limit: Option<Option<u32>>,
    /// Days that logs are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    default_retention_days: Option<u32>,
    /// Whether prompts and answers are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    log_payloads: Option<bool>,
    /// Whether approval needs another person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    require_second_approver: Option<bool>,
}

/// Confirms a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ConfirmQuery {
    /// The name of the organization.
    #[param(required = true, nullable = false)]
    confirm: Option<String>,
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    listing: Listing,
) -> Result<Listed<OrganizationView>, ApiError> {
    let page = api.control.organizations(&actor, listing.page.clone()).await?;
    let mark = |row: &Organization| (millis(row.created_at), row.id.as_str().to_owned());
    Ok(Listed::new(&listing, page, mark, |row| OrganizationView::for_actor(row, &actor)))
}

async fn create(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Body(body): Body<OrganizationCreate>,
) -> Result<Created<OrganizationView>, ApiError> {
    let made = api.control.create_organization(&actor, &body.name).await?;
    let location = format!("/organizations/{}", made.id);
    Ok(Created { revision: made.revision, body: made.into(), location })
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
) -> Result<Tagged<OrganizationView>, ApiError> {
    api.control.organization(&actor, organization).await.map(tagged).map_err(ApiError::from)
}

async fn change(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    IfMatch(revision): IfMatch,
    Body(body): Body<OrganizationChange>,
) -> Result<Tagged<OrganizationView>, ApiError> {
    let patch = OrganizationPatch {
        name: body.name,
        status: body.status,
        project_limit: body.project_limit,
        active_key_limit: body.active_key_limit,
        default_retention_days: body.default_retention_days,
        log_payloads: body.log_payloads,
        require_second_approver: body.require_second_approver,
    };
    let changed = api.control.change_organization(&actor, organization, revision, patch).await;
    changed.map(tagged).map_err(ApiError::from)
}

async fn delete(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    IfMatch(revision): IfMatch,
    Query(query): Query<ConfirmQuery>,
) -> Result<NoContent, ApiError> {
    let confirm = query.confirm.unwrap_or_default();
    api.control.delete_organization(&actor, organization, revision, confirm).await?;
    Ok(NoContent)
}

fn tagged(row: Organization) -> Tagged<OrganizationView> {
    Tagged { revision: row.revision, body: row.into() }
}

impl From<Organization> for OrganizationView {
    fn from(row: Organization) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            status: row.status,
            created_at: row.created_at.into(),
            project_limit: Some(row.project_limit),
            active_key_limit: Some(row.active_key_limit),
            default_retention_days: Some(row.default_retention_days),
            log_payloads: Some(row.log_payloads),
            require_second_approver: Some(row.require_second_approver),
        }
    }
}

impl OrganizationView {
    /// Every member may know which organization it is in; not every one its settings.
    fn for_actor(row: Organization, actor: &Actor) -> Self {
        let reads = permit(actor, Capability::OrganizationRead, Scope::Organization(&row.id)).is_ok();
        let view = Self::from(row);
        if reads {
            return view;
        }
        Self {
            project_limit: None,
            active_key_limit: None,
            default_retention_days: None,
            log_payloads: None,
            require_second_approver: None,
            ..view
        }
    }
}

//! Admin tokens of the caller.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grant::{ProjectGrantInput, ProjectGrantView, grants};
use super::projects::millis;
use super::times::optional_time;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Endpoint, IdText, Issued, Listed, Listing, NoContent, Time,
    TokenId,
};
use crate::base::{Id, IdKind};
use crate::control::{Capability, ControlError, NewToken};
use crate::store::{AdminToken, OrganizationRole};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let own = Needs(Capability::Self_);
    vec![
        Endpoint::get("/admin-tokens", own, "Lists the tokens that the caller made.", list),
        Endpoint::post(
            "/admin-tokens",
            own,
            "Makes a token that is never more than its maker; the answer has it, once.",
            create,
        )
        // An organization that the caller does not see, and projects of one.
        .refuses(&[Code::NotFound]),
        Endpoint::delete(
            "/admin-tokens/{token}",
            own,
            "Ends a token of the caller, or of an organization whose members the caller may change.",
            end,
        ),
    ]
}

/// A new token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AdminTokenCreate {
    /// What it is for.
    #[schema(min_length = 1, max_length = 255)]
    description: String,
    /// Organization it acts in; the only one of the caller when absent.
    #[schema(pattern = "^org_[0-9A-Za-z]{20}$", nullable = false)]
    organization_id: Option<String>,
    /// Whether it may do what an instance administrator may, such as `/instance/settings`. Only an instance administrator makes
    /// such a token, and it is one only as long as its maker is.
    #[serde(default)]
    instance_admin: bool,
    /// Role in the organization.
    role: OrganizationRole,
    /// Roles in projects.
    #[serde(default)]
    #[schema(max_items = 1_000)]
    project_grants: Vec<ProjectGrantInput>,
    /// When it ends, at most a year from now; as late as possible when absent.
    #[schema(format = "date-time", nullable = false)]
    expires_at: Option<String>,
}

/// A token for programs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminToken)]
struct AdminTokenView {
    id: IdText,
    description: String,
    organization_id: Option<IdText>,
    /// Whether it acts as instance administrator too.
    instance_admin: bool,
    role: OrganizationRole,
    project_grants: Vec<ProjectGrantView>,
    /// Its last four characters.
    last4: String,
    created_at: Time,
    expires_at: Option<Time>,
    /// To the minute.
    last_used_at: Option<Time>,
    /// The token; in the answer that made it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    listing: Listing,
) -> Result<Listed<AdminTokenView>, ApiError> {
    let page = api.control.tokens(&actor, listing.page.clone()).await?;
    let mark = |row: &AdminToken| (millis(row.created_at), row.id.as_str().to_owned());
    Ok(Listed::new(&listing, page, mark, AdminTokenView::from))
}

async fn create(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Body(body): Body<AdminTokenCreate>,
) -> Result<Issued<AdminTokenView>, ApiError> {
    let organization = match body.organization_id {
        None => None,
        Some(text) => Some(Id::parse(IdKind::Organization, &text).ok_or(ControlError::NotFound)?),
    };
    let new = NewToken {
        description: body.description,
        organization,
        instance_admin: body.instance_admin,
        role: body.role,
        grants: grants(body.project_grants)?,
        expires_at: optional_time("expires_at", body.expires_at.as_deref())?,
    };
    let (made, token) = api.control.make_token(&actor, new).await?;
    Ok(Issued(AdminTokenView { token: Some(token.reveal().to_owned()), ..made.into() }))
}

async fn end(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    TokenId(token): TokenId,
) -> Result<NoContent, ApiError> {
    api.control.end_token(&actor, token).await?;
    Ok(NoContent)
}

impl From<AdminToken> for AdminTokenView {
    fn from(row: AdminToken) -> Self {
        Self {
            id: row.id.into(),
            description: row.description,
            organization_id: row.organization.map(IdText),
            instance_admin: row.instance_admin,
            role: row.role,
            project_grants: row.grants.into_iter().map(ProjectGrantView::from).collect(),
            last4: row.last4,
            created_at: row.created_at.into(),
            expires_at: row.expires_at.map(Time),
            last_used_at: row.last_used_at.map(Time),
            token: None,
        }
    }
}

//! Invitations into an organization.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grant::{ProjectGrantInput, ProjectGrantView, grants};
use super::projects::millis;
use super::sessions::{SessionView, entered};
use crate::admin::rest::{
    Access::{Needs, Open},
    Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, InvitationId, Issued, Listed, Listing,
    NoContent, OrganizationId, Time, Visitor, WithCookie,
};
use crate::base::Secret;
use crate::control::{Capability, NewInvitation};
use crate::store::{Invitation, InvitationStatus, OrganizationRole};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/organizations/{organization}/invitations",
            Needs(Capability::MembersRead),
            "Lists the invitations of an organization.",
            list,
        ),
        Endpoint::post(
            "/organizations/{organization}/invitations",
            Needs(Capability::MembersWrite),
            "Invites somebody; the answer has the token that accepts it, once.",
            create,
        )
        .refuses(&[Code::NameTaken]),
        Endpoint::delete(
            "/organizations/{organization}/invitations/{invitation}",
            Needs(Capability::MembersWrite),
            "Takes an invitation back.",
            revoke,
        )
        .refuses(&[Code::IllegalTransition]),
        Endpoint::post(
            "/invitations/accept",
            Open,
            "Joins an organization and logs in; a new user chooses a password, a known one proves it.",
            accept,
        )
        .refuses(&[Code::NotAuthenticated, Code::NotPermitted, Code::NameTaken, Code::RateLimited]),
    ]
}

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InvitationCreate {
    /// E-mail address, which becomes the name to log in with.
    #[schema(min_length = 3, max_length = 254)]
    email: String,
    /// Role in the organization.
    role: OrganizationRole,
    /// Roles in projects.
    #[serde(default)]
    #[schema(max_items = 1_000)]
    project_grants: Vec<ProjectGrantInput>,
}

/// Accepts an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InvitationAccept {
    /// The token of the invitation.
    #[schema(max_length = 200)]
    token: String,
    /// The password to log in with from now on, or the one of a user who exists.
    #[schema(max_length = 1_024)]
    password: String,
    /// Six digits of the second factor, for a user who exists and has one.
    #[schema(max_length = 16, nullable = false)]
    code: Option<String>,
}

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
struct InvitationView {
    id: IdText,
    organization_id: IdText,
    email: String,
    role: OrganizationRole,
    project_grants: Vec<ProjectGrantView>,
    status: InvitationStatus,
    expires_at: Time,
    created_by: IdText,
    created_at: Time,
    /// The number in its `ETag`.
    revision: u64,
    /// Accepts the invitation; in the answer that made it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    listing: Listing,
) -> Result<Listed<InvitationView>, ApiError> {
    let page = api.control.invitations(&actor, organization, listing.page.clone()).await?;
    let mark = |row: &Invitation| (millis(row.created_at), row.id.as_str().to_owned());
    Ok(Listed::new(&listing, page, mark, InvitationView::from))
}

async fn create(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    Body(body): Body<InvitationCreate>,
) -> Result<Created<InvitationView>, ApiError> {
    let new = NewInvitation { email: body.email, role: body.role, grants: grants(body.project_grants)? };
    let (made, token) = api.control.invite(&actor, organization, new).await?;
    let location = format!("/organizations/{}/invitations/{}", made.organization, made.id);
    let revision = made.revision;
    let body = InvitationView { token: Some(token.reveal().to_owned()), ..made.into() };
    Ok(Created { body, revision, location })
}

async fn revoke(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (OrganizationId(organization), InvitationId(invitation)): (OrganizationId, InvitationId),
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    api.control.revoke_invitation(&actor, (organization, invitation), revision).await?;
    Ok(NoContent)
}

async fn accept(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    Body(body): Body<InvitationAccept>,
) -> Result<WithCookie<Issued<SessionView>>, ApiError> {
    let (token, password) = (Secret::new(body.token), Secret::new(body.password));
    let joined = api.control.accept_invitation(&token, password, body.code.as_deref(), &visitor.address).await?;
    entered(joined.login)
}

impl From<Invitation> for InvitationView {
    fn from(row: Invitation) -> Self {
        Self {
            id: row.id.into(),
            organization_id: row.organization.into(),
            email: row.email,
            role: row.role,
            project_grants: row.grants.into_iter().map(ProjectGrantView::from).collect(),
            status: row.status,
            expires_at: row.expires_at.into(),
            created_by: row.created_by.into(),
            created_at: row.created_at.into(),
            revision: row.revision,
            token: None,
        }
    }
}

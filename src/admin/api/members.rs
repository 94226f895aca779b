//! Members of an organization.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grant::{ProjectGrantInput, ProjectGrantView, grants};
use super::projects::millis;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Endpoint, IdText, IfMatch, Listed, Listing, NoContent,
    OrganizationId, Tagged, Time, UserId, present,
};
use crate::control::{Capability, MemberPatch};
use crate::store::{Member, OrganizationRole};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/organizations/{organization}/members",
            Needs(Capability::MembersRead),
            "Lists the members of an organization.",
            list,
        ),
        Endpoint::get(
            "/organizations/{organization}/members/me",
            Needs(Capability::Self_),
            "Shows the caller's own membership.",
            show_own,
        ),
        Endpoint::get(
            "/organizations/{organization}/members/{user}",
            Needs(Capability::MembersRead),
            "Shows a member.",
            show,
        ),
        Endpoint::patch(
            "/organizations/{organization}/members/{user}",
            Needs(Capability::MembersWrite),
            "Changes roles and limits of a member; nobody changes the own role.",
            change,
        )
        .refuses(&[Code::LastOwner]),
        Endpoint::delete(
            "/organizations/{organization}/members/{user}",
            Needs(Capability::MembersWrite),
            "Removes a member and disables the keys it made; a member may leave by itself.",
            remove,
        )
        .refuses(&[Code::LastOwner]),
    ]
}

/// What to change of a member; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberChange {
    /// Role in the organization.
    role: Option<OrganizationRole>,
    /// All roles in projects: they are replaced together.
    #[schema(max_items = 1_000)]
    project_grants: Option<Vec<ProjectGrantInput>>,
    /// Active keys that the member may own, at most; null is unlimited.
    #[serde(default, deserialize_with = "present")]
    max_active_keys: Option<Option<u32>>,
}

/// A member.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberView {
    user_id: IdText,
    organization_id: IdText,
    email: String,
    role: OrganizationRole,
    project_grants: Vec<ProjectGrantView>,
    /// Active keys that the member may own, at most; null is unlimited.
    max_active_keys: Option<u32>,
    /// When the member last used the admin API, to the minute.
    last_seen_at: Option<Time>,
    created_at: Time,
    /// The number in its `ETag`.
    revision: u64,
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    listing: Listing,
) -> Result<Listed<MemberView>, ApiError> {
    let page = api.control.members(&actor, organization, listing.page.clone()).await?;
    let mark = |row: &Member| (millis(row.created_at), row.user.as_str().to_owned());
    Ok(Listed::new(&listing, page, mark, MemberView::from))
}

async fn show_own(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
) -> Result<Tagged<MemberView>, ApiError> {
    let found = api.control.own_membership(&actor, organization).await;
    found.map(tagged).map_err(ApiError::from)
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (OrganizationId(organization), UserId(user)): (OrganizationId, UserId),
) -> Result<Tagged<MemberView>, ApiError> {
    api.control.member(&actor, organization, user).await.map(tagged).map_err(ApiError::from)
}

async fn change(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (OrganizationId(organization), UserId(user)): (OrganizationId, UserId),
    IfMatch(revision): IfMatch,
    Body(body): Body<MemberChange>,
) -> Result<Tagged<MemberView>, ApiError> {
    let patch = MemberPatch {
        role: body.role,
        grants: body.project_grants.map(grants).transpose()?,
        active_key_limit: body.max_active_keys,
    };
    let changed = api.control.change_member(&actor, (organization, user), revision, patch).await;
    changed.map(tagged).map_err(ApiError::from)
}

async fn remove(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (OrganizationId(organization), UserId(user)): (OrganizationId, UserId),
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    api.control.remove_member(&actor, (organization, user), revision).await?;
    Ok(NoContent)
}

fn tagged(row: Member) -> Tagged<MemberView> {
    Tagged { revision: row.revision, body: row.into() }
}

impl From<Member> for MemberView {
    fn from(row: Member) -> Self {
        Self {
            user_id: row.user.into(),
            organization_id: row.organization.into(),
            email: row.email,
            role: row.role,
            project_grants: row.grants.into_iter().map(ProjectGrantView::from).collect(),
            max_active_keys: row.active_key_limit,
            last_seen_at: row.last_seen_at.map(Time),
            created_at: row.created_at.into(),
            revision: row.revision,
        }
    }
}

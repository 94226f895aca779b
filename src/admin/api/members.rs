//! Members of an organization.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grant::{ProjectGrantInput, ProjectGrantView, grants};
use super::limit_fields::{MoneyLimitsView, PeriodLimitBody, usd};
use super::projects::millis;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Endpoint, IdText, IfMatch, Listed, Listing, NoContent,
    OrganizationId, Tagged, Time, UserId, present,
};
use crate::control::{Capability, FieldPatch, LimitFields, MemberPatch};
use crate::store::{Member, OrganizationRole, Page, PolicyPlace};

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
    /// USD for all time over all keys that the member made; null is unlimited.
    #[serde(default, deserialize_with = "present")]
    #[schema(max_length = 32)]
    usage_limit: Option<Option<String>>,
    /// USD in each period over all keys that the member made; null is unlimited.
    #[serde(default, deserialize_with = "present")]
    period_limit: Option<Option<PeriodLimitBody>>,
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
    #[serde(flatten)]
    money: MoneyLimitsView,
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
    let fields = api.control.limit_fields(page.rows.iter().map(place_of).collect()).await?;
    let page = Page { rows: page.rows.into_iter().zip(fields).collect(), has_more: page.has_more };
    Ok(Listed::new(&listing, page, |(row, _): &(Member, LimitFields)| mark(row), MemberView::from))
}

async fn show_own(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
) -> Result<Tagged<MemberView>, ApiError> {
    let found = api.control.own_membership(&actor, organization).await?;
    tagged(&api, found).await
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (OrganizationId(organization), UserId(user)): (OrganizationId, UserId),
) -> Result<Tagged<MemberView>, ApiError> {
    let found = api.control.member(&actor, organization, user).await?;
    tagged(&api, found).await
}

async fn change(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (OrganizationId(organization), UserId(user)): (OrganizationId, UserId),
    IfMatch(revision): IfMatch,
    Body(body): Body<MemberChange>,
) -> Result<Tagged<MemberView>, ApiError> {
    let usage_limit = body.usage_limit.map(|text| text.map(|text| usd("usage_limit", &text)).transpose());
    let period_limit = body.period_limit.map(|period| period.map(|period| period.read()).transpose());
    let patch = MemberPatch {
        role: body.role,
        grants: body.project_grants.map(grants).transpose()?,
        active_key_limit: body.max_active_keys,
        limits: FieldPatch {
            usage_limit: usage_limit.transpose()?,
            period_limit: period_limit.transpose()?,
            ..FieldPatch::default()
        },
    };
    let changed = api.control.change_member(&actor, (organization, user), revision, patch).await?;
    tagged(&api, changed).await
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

async fn tagged(api: &Api, row: Member) -> Result<Tagged<MemberView>, ApiError> {
    let fields = api.control.limit_fields(vec![place_of(&row)]).await?.pop().unwrap_or_default();
    Ok(Tagged { revision: row.revision, body: (row, fields).into() })
}

fn place_of(row: &Member) -> PolicyPlace {
    PolicyPlace::Member { organization: row.organization.clone(), user: row.user.clone() }
}

impl From<(Member, LimitFields)> for MemberView {
    fn from((row, limits): (Member, LimitFields)) -> Self {
        Self {
            user_id: row.user.into(),
            organization_id: row.organization.into(),
            email: row.email,
            role: row.role,
            project_grants: row.grants.into_iter().map(ProjectGrantView::from).collect(),
            max_active_keys: row.active_key_limit,
            money: MoneyLimitsView::from(&limits),
            last_seen_at: row.last_seen_at.map(Time),
            created_at: row.created_at.into(),
            revision: row.revision,
        }
    }
}

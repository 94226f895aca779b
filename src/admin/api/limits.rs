//! Limits at organizations, projects, members and keys.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::limit_fields::{amount_json, amount_schema, read_amount};
use super::site_path::SitePath;
use super::words::words;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, KeyId, LimitId, Listed,
    NoContent, OrganizationId, ProjectId, Tagged, Time, UserId,
};
use crate::base::unix_time;
use crate::control::{Capability, LimitPatch, LimitUse, NewLimit};
use crate::store::{LimitAlgorithm, LimitKind, LimitMode};

/// Declares the endpoints of one kind of place.
macro_rules! at {
    ($root:literal, $site:ty, $read:ident, $write:ident, $whose:literal) => {{
        let (read, write) = (Needs(Capability::$read), Needs(Capability::$write));
        let archived = &[Code::ProjectArchived];
        [
            Endpoint::post(
                concat!($root, "/limits"),
                write,
                concat!("Makes a limit of ", $whose, "; it holds on every worker at once."),
                create::<$site>,
            )
            .refuses(archived)
            .refuses(&[Code::LimitReached, Code::NameTaken]),
            Endpoint::get(
                concat!($root, "/limits"),
                read,
                concat!("Lists the limits of ", $whose, " with what is used, the oldest first."),
                list::<$site>,
            ),
            Endpoint::get(
                concat!($root, "/limits/{limit}"),
                read,
                concat!("Shows a limit of ", $whose, " with what is used."),
                show::<$site>,
            ),
            Endpoint::patch(
                concat!($root, "/limits/{limit}"),
                write,
                concat!("Changes a limit of ", $whose, "; what was used stays used."),
                change::<$site>,
            )
            .refuses(archived),
            Endpoint::delete(
                concat!($root, "/limits/{limit}"),
                write,
                concat!("Deletes a limit of ", $whose, "."),
                delete::<$site>,
            ),
        ]
    }};
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let organizations = at!(
        "/organizations/{organization}",
        OrganizationId,
        OrganizationLimitsRead,
        OrganizationLimitsWrite,
        "an organization"
    );
    let members = at!(
        "/organizations/{organization}/members/{user}",
        (OrganizationId, UserId),
        OrganizationLimitsRead,
        OrganizationLimitsWrite,
        "a member, over all keys that the member made"
    );
    let projects =
        at!("/projects/{project}", ProjectId, ProjectLimitsRead, ProjectLimitsWrite, "a project, over all its keys");
    let keys = at!("/projects/{project}/keys/{key}", (ProjectId, KeyId), KeyLimitsRead, KeyLimitsWrite, "a key");
    organizations.into_iter().chain(members).chain(projects).chain(keys).collect()
}

/// A new limit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LimitCreate {
    /// What it counts.
    kind: LimitKind,
    /// Most in one window; 0 blocks everything.
    #[schema(schema_with = amount_schema)]
    amount: Value,
    /// Length of a window: a count and `seconds`, `minutes`, `hours`, `days`, `weeks` or `months`, up to 12 months. None
    /// for all time, and for `concurrent`.
    #[schema(max_length = 32)]
    window: Option<String>,
    /// How the window moves. Default `fixed_window`, `total` without a window.
    algorithm: Option<LimitAlgorithm>,
    /// `shadow` counts what it would have refused. Default `enforce`.
    mode: Option<LimitMode>,
}

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LimitChange {
    /// Most in one window. The window goes on.
    #[schema(schema_with = amount_schema)]
    amount: Option<Value>,
    /// What it does when it is reached.
    mode: Option<LimitMode>,
}

/// A limit and what is used of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limit)]
struct LimitView {
    id: IdText,
    /// Where it stands.
    #[schema(schema_with = scope_schema)]
    scope: &'static str,
    /// Id of the organization, project, member or key at which it stands.
    scope_id: IdText,
    /// What it counts.
    kind: LimitKind,
    /// Most in one window.
    #[schema(schema_with = amount_schema)]
    amount: Value,
    /// Length of a window; null without one.
    window: Option<String>,
    /// How the window moves.
    algorithm: LimitAlgorithm,
    /// What it does when it is reached.
    mode: LimitMode,
    /// The same as `amount`.
    #[schema(schema_with = amount_schema)]
    limit: Value,
    /// Used by requests that are finished.
    #[schema(schema_with = amount_schema)]
    posted: Value,
    /// Reserved by requests that are open.
    #[schema(schema_with = amount_schema)]
    pending: Value,
    /// What is left.
    #[schema(schema_with = amount_schema)]
    remaining: Value,
    /// When nothing of it will be used, if nobody comes; null when nothing is, and for all time.
    resets_at: Option<Time>,
    created_by: IdText,
    created_at: Time,
}

fn scope_schema() -> utoipa::openapi::schema::Object {
    words(&["organization", "project", "member", "key"])
}

async fn create<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    place: P,
    Body(body): Body<LimitCreate>,
) -> Result<Created<LimitView>, ApiError> {
    let (site, path) = place.site();
    let new = NewLimit {
        kind: body.kind,
        amount: read_amount(body.kind, &body.amount)?,
        window: body.window,
        algorithm: body.algorithm,
        mode: body.mode.unwrap_or(LimitMode::Enforce),
    };
    let made = api.control.create_limit(&actor, site, new).await?;
    let location = format!("{path}/limits/{}", made.limit.id);
    Ok(Created { revision: made.limit.revision, body: made.into(), location })
}

async fn list<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    place: P,
) -> Result<Listed<LimitView>, ApiError> {
    let found = api.control.limits(&actor, place.site().0).await?;
    Ok(Listed::whole(found.into_iter().map(LimitView::from).collect()))
}

async fn show<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (place, LimitId(id)): (P, LimitId),
) -> Result<Tagged<LimitView>, ApiError> {
    api.control.limit(&actor, place.site().0, id).await.map(tagged).map_err(ApiError::from)
}

async fn change<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (place, LimitId(id)): (P, LimitId),
    IfMatch(revision): IfMatch,
    Body(body): Body<LimitChange>,
) -> Result<Tagged<LimitView>, ApiError> {
    let site = place.site().0;
    let amount = match &body.amount {
        None => None,
        // What an amount is depends on the kind, which never changes.
        Some(amount) => {
            let now = api.control.limit(&actor, site.clone(), id.clone()).await?;
            Some(read_amount(now.limit.kind, amount)?)
        }
    };
    let patch = LimitPatch { amount, mode: body.mode };
    api.control.change_limit(&actor, (site, id), revision, patch).await.map(tagged).map_err(ApiError::from)
}

async fn delete<P: SitePath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (place, LimitId(id)): (P, LimitId),
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    api.control.delete_limit(&actor, (place.site().0, id), revision).await?;
    Ok(NoContent)
}

fn tagged(found: LimitUse) -> Tagged<LimitView> {
    Tagged { revision: found.limit.revision, body: found.into() }
}

impl From<LimitUse> for LimitView {
    fn from(found: LimitUse) -> Self {
        let resets_at = found.resets_at(unix_time()).map(Time::from);
        let LimitUse { limit, state } = found;
        let (scope, scope_id) = limit.place.scope();
        let amount = |amount| amount_json(limit.kind, amount);
        let read = |figure: fn(&crate::limit::LimitState) -> u64| state.as_ref().map_or(0, figure);
        Self {
            scope,
            scope_id: scope_id.clone().into(),
            id: limit.id.into(),
            kind: limit.kind,
            amount: amount(limit.amount),
            window: Some(limit.window).filter(|text| !text.is_empty()),
            algorithm: limit.algorithm,
            mode: limit.mode,
            limit: amount(limit.amount),
            posted: amount(read(|state| state.posted)),
            pending: amount(read(|state| state.pending)),
            // What has not begun yet is left: used and left never make more than there is.
            remaining: match limit.kind {
                LimitKind::Audio => Value::from(read(|state| state.remaining) / 1_000),
                _ => amount(read(|state| state.remaining)),
            },
            resets_at,
            created_by: limit.created_by.into(),
            created_at: limit.created_at.into(),
        }
    }
}

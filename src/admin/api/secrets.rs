//! Secrets of owners over the API: values are write-only.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::owner::{ForceQuery, OwnerPath, SecretValue, ValueView, location};
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, Listed, NoContent,
    OrganizationId, ProjectId, Query, SecretId, Tagged, Time, present,
};
use crate::base::{Id, IdKind, Secret as SecretText};
use crate::control::{Capability, ControlError, NewSecret, SecretPatch, Uses};
use crate::store::{Owner, Secret};

/// Declares the endpoints of one kind of owner.
macro_rules! of_owner {
    ($root:literal, $id:ident, $read:ident, $write:ident) => {{
        let (read, write) = (Needs(Capability::$read), Needs(Capability::$write));
        let archived = &[Code::ProjectArchived];
        [
            Endpoint::post(concat!($root, "/secrets"), write, "Stores a secret.", create::<$id>)
                .refuses(archived)
                .refuses(&[Code::NameTaken, Code::LimitReached]),
            Endpoint::get(concat!($root, "/secrets"), read, "Lists secrets, without their values.", list::<$id>),
            Endpoint::get(concat!($root, "/secrets/{secret}"), read, "Shows a secret, not its value.", show::<$id>),
            Endpoint::patch(
                concat!($root, "/secrets/{secret}"),
                write,
                "Changes where a secret may be sent, which clears its value, and who may use it.",
                change::<$id>,
            )
            .refuses(archived),
            Endpoint::put(
                concat!($root, "/secrets/{secret}/value"),
                write,
                "Enters a new value, which is live at once.",
                enter::<$id>,
            )
            .refuses(archived),
            Endpoint::delete(
                concat!($root, "/secrets/{secret}"),
                write,
                "Deletes a secret that no served or open version needs.",
                delete::<$id>,
            )
            .refuses(&[Code::InUse]),
        ]
    }};
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let of_projects = of_owner!("/projects/{project}", ProjectId, SecretsRead, SecretsWrite);
    let of_organizations =
        of_owner!("/organizations/{organization}", OrganizationId, OrganizationSecretsRead, OrganizationSecretsWrite);
    of_projects.into_iter().chain(of_organizations).collect()
}

/// A new secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretCreate {
    /// What configurations name: `!secret NAME`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]{1,64}$")]
    name: String,
    /// Printable ASCII; never given back.
    #[schema(write_only, min_length = 1, max_length = 8_192)]
    value: String,
    /// Where it may be sent: `scheme://host` or `scheme://host:port`.
    #[schema(min_items = 1, max_items = 32)]
    bound_origins: Vec<String>,
    /// Projects that may use a secret of an organization; absent or null is all of them.
    #[schema(max_items = 1_000)]
    shared_with: Option<Vec<String>>,
}

/// What is to change; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretChange {
    /// Where it may be sent. Another list clears the value: it has to be entered again.
    #[schema(min_items = 1, max_items = 32)]
    bound_origins: Option<Vec<String>>,
    /// Projects that may use a secret of an organization; null is all of them.
    #[serde(default, deserialize_with = "present")]
    #[schema(max_items = 1_000)]
    shared_with: Option<Option<Vec<String>>>,
}

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Secret)]
struct SecretView {
    id: IdText,
    name: String,
    bound_origins: Vec<String>,
    shared_with: Option<Vec<IdText>>,
    /// Null when the value has to be entered.
    value: Option<ValueView>,
    /// Served and open versions that name it, as `slug version N`.
    used_by: Vec<String>,
    /// When it was last sent to a provider, to the minute.
    last_used_at: Option<Time>,
    created_at: Time,
}

async fn create<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    owner: O,
    Body(body): Body<SecretCreate>,
) -> Result<Created<SecretView>, ApiError> {
    let owner = owner.owner();
    let new = NewSecret {
        name: body.name,
        value: SecretText::new(body.value),
        bound_origins: body.bound_origins,
        shared_with: body.shared_with.map(projects).transpose()?,
    };
    let made = api.control.create_secret(&actor, &owner, new).await?;
    let location = location(&owner, "secrets", &made.id);
    Ok(Created { revision: made.revision, body: viewed(&api, &owner, made).await?, location })
}

async fn list<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    owner: O,
) -> Result<Listed<SecretView>, ApiError> {
    let owner = owner.owner();
    let found = api.control.secrets(&actor, &owner).await?;
    let found = api.control.uses_of_secrets(&owner, found).await?;
    Ok(Listed::whole(found.into_iter().map(SecretView::from).collect()))
}

async fn show<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, SecretId(id)): (O, SecretId),
) -> Result<Tagged<SecretView>, ApiError> {
    let owner = owner.owner();
    tagged(&api, &owner, api.control.secret(&actor, &owner, &id).await?).await
}

async fn change<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, SecretId(id)): (O, SecretId),
    IfMatch(revision): IfMatch,
    Body(body): Body<SecretChange>,
) -> Result<Tagged<SecretView>, ApiError> {
    let shared_with = body.shared_with.map(|shared| shared.map(projects).transpose()).transpose()?;
    let patch = SecretPatch { bound_origins: body.bound_origins, shared_with };
    let owner = owner.owner();
    let changed = api.control.change_secret(&actor, (&owner, &id), revision, patch).await?;
    tagged(&api, &owner, changed).await
}

async fn enter<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, SecretId(id)): (O, SecretId),
    IfMatch(revision): IfMatch,
    Body(body): Body<SecretValue>,
) -> Result<Tagged<SecretView>, ApiError> {
    let owner = owner.owner();
    let entered = api.control.enter_secret(&actor, (&owner, &id), revision, body.secret()).await?;
    tagged(&api, &owner, entered).await
}

async fn delete<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, SecretId(id)): (O, SecretId),
    IfMatch(revision): IfMatch,
    Query(query): Query<ForceQuery>,
) -> Result<NoContent, ApiError> {
    let owner: Owner = owner.owner();
    api.control.delete_secret(&actor, (&owner, &id), revision, query.force()).await?;
    Ok(NoContent)
}

/// Whether they exist is for `control/` to say.
fn projects(texts: Vec<String>) -> Result<Vec<Id>, ApiError> {
    let refused = |at: usize| ApiError::field(format!("shared_with.{at}"), "expected the id of a project");
    let read = |(at, text): (usize, &String)| Id::parse(IdKind::Project, text).ok_or_else(|| refused(at));
    texts.iter().enumerate().map(read).collect()
}

async fn tagged(api: &Api, owner: &Owner, secret: Secret) -> Result<Tagged<SecretView>, ApiError> {
    Ok(Tagged { revision: secret.revision, body: viewed(api, owner, secret).await? })
}

async fn viewed(api: &Api, owner: &Owner, secret: Secret) -> Result<SecretView, ApiError> {
    let found = api.control.uses_of_secrets(owner, vec![secret]).await?.into_iter().next();
    Ok(found.ok_or(ControlError::NotFound)?.into())
}

impl From<(Secret, Uses)> for SecretView {
    fn from((secret, uses): (Secret, Uses)) -> Self {
        Self {
            id: secret.id.into(),
            name: secret.name,
            bound_origins: secret.bound_origins,
            shared_with: secret.shared_with.map(|ids| ids.into_iter().map(IdText::from).collect()),
            value: secret.value.map(ValueView::from),
            used_by: uses.used_by,
            last_used_at: uses.last_used_at.map(Time),
            created_at: secret.created_at.into(),
        }
    }
}

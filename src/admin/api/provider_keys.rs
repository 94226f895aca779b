//! Provider keys of projects and organizations.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::owner::{ForceQuery, OwnerPath, SecretValue, ValueView, location};
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, Listed, NoContent,
    OrganizationId, ProjectId, ProviderKeyId, Query, Tagged, Time, present,
};
use crate::base::Secret;
use crate::control::{Capability, ControlError, CredentialHealth, NewProviderKey, ProviderKeyPatch, Uses};
use crate::store::{KeyStatus, Owner, ProviderKey};

/// Declares the endpoints of one kind of owner.
macro_rules! of_owner {
    ($root:literal, $id:ident, $read:ident, $write:ident) => {{
        let (read, write) = (Needs(Capability::$read), Needs(Capability::$write));
        let archived = &[Code::ProjectArchived];
        [
            Endpoint::post(
                concat!($root, "/provider-keys"),
                write,
                "Stores a key of a provider; nothing is sent to try it.",
                create::<$id>,
            )
            .refuses(archived)
            .refuses(&[Code::LimitReached]),
            Endpoint::get(
                concat!($root, "/provider-keys"),
                read,
                "Lists provider keys in order, without their values.",
                list::<$id>,
            ),
            Endpoint::get(
                concat!($root, "/provider-keys/{provider_key}"),
                read,
                "Shows a provider key, not its value.",
                show::<$id>,
            ),
            Endpoint::patch(
                concat!($root, "/provider-keys/{provider_key}"),
                write,
                "Changes a provider key; another address clears its value.",
                change::<$id>,
            )
            .refuses(archived),
            Endpoint::put(
                concat!($root, "/provider-keys/{provider_key}/value"),
                write,
                "Enters a new value, which is live at once.",
                enter::<$id>,
            )
            .refuses(archived),
            Endpoint::delete(
                concat!($root, "/provider-keys/{provider_key}"),
                write,
                "Deletes a provider key that no served or open version needs.",
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

/// A new provider key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProviderKeyCreate {
    /// The provider, such as `openai`.
    #[schema(min_length = 1, max_length = 64)]
    provider: String,
    /// What people call it.
    #[schema(min_length = 1, max_length = 255)]
    label: String,
    /// Printable ASCII; never given back.
    #[schema(write_only, min_length = 1, max_length = 8_192)]
    value: String,
    /// The address it may be sent to, instead of the provider's own.
    #[schema(max_length = 2_048)]
    base_url: Option<String>,
    /// Lower is tried first.
    #[serde(default)]
    sort_order: i32,
}

/// What is to change; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProviderKeyChange {
    /// What people call it.
    #[schema(min_length = 1, max_length = 255)]
    label: Option<String>,
    /// The address it may be sent to; null is the provider's own. Another one clears the value.
    #[serde(default, deserialize_with = "present")]
    #[schema(max_length = 2_048)]
    base_url: Option<Option<String>>,
    /// Lower is tried first.
    sort_order: Option<i32>,
    /// Whether it may be used.
    status: Option<KeyStatus>,
}

/// A provider key, without its value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKey)]
struct ProviderKeyView {
    id: IdText,
    provider: String,
    label: String,
    base_url: Option<String>,
    sort_order: i32,
    status: KeyStatus,
    /// Null when the value has to be entered.
    value: Option<ValueView>,
    /// What providers say to it.
    health: HealthWord,
    /// Served and open versions that need it, as `slug version N`.
    used_by: Vec<String>,
    /// When it was last sent to a provider, to the minute.
    last_used_at: Option<Time>,
    created_at: Time,
}

/// What providers say to a key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum HealthWord {
    /// Nothing against it.
    Ok,
    /// The provider answered 401 or 403 and has accepted nothing since.
    #[serde(rename = "refused_401")]
    Refused,
    /// The provider answered 429 within the last minute and has accepted nothing since.
    Cooling,
}

async fn create<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    owner: O,
    Body(body): Body<ProviderKeyCreate>,
) -> Result<Created<ProviderKeyView>, ApiError> {
    let owner = owner.owner();
    let new = NewProviderKey {
        provider: body.provider,
        label: body.label,
        value: Secret::new(body.value),
        base_url: body.base_url,
        sort_order: body.sort_order,
    };
    let made = api.control.create_provider_key(&actor, &owner, new).await?;
    let location = location(&owner, "provider-keys", &made.id);
    Ok(Created { revision: made.revision, body: viewed(&api, &owner, made).await?, location })
}

async fn list<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    owner: O,
) -> Result<Listed<ProviderKeyView>, ApiError> {
    let owner = owner.owner();
    let found = api.control.provider_keys(&actor, &owner).await?;
    let found = api.control.uses_of_provider_keys(&owner, found).await?;
    Ok(Listed::whole(found.into_iter().map(ProviderKeyView::from).collect()))
}

async fn show<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, ProviderKeyId(id)): (O, ProviderKeyId),
) -> Result<Tagged<ProviderKeyView>, ApiError> {
    let owner = owner.owner();
    tagged(&api, &owner, api.control.provider_key(&actor, &owner, &id).await?).await
}

async fn change<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, ProviderKeyId(id)): (O, ProviderKeyId),
    IfMatch(revision): IfMatch,
    Body(body): Body<ProviderKeyChange>,
) -> Result<Tagged<ProviderKeyView>, ApiError> {
    let patch = ProviderKeyPatch {
        label: body.label,
        base_url: body.base_url,
        sort_order: body.sort_order,
        status: body.status,
    };
    let owner = owner.owner();
    let changed = api.control.change_provider_key(&actor, (&owner, &id), revision, patch).await?;
    tagged(&api, &owner, changed).await
}

async fn enter<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, ProviderKeyId(id)): (O, ProviderKeyId),
    IfMatch(revision): IfMatch,
    Body(body): Body<SecretValue>,
) -> Result<Tagged<ProviderKeyView>, ApiError> {
    let owner = owner.owner();
    let entered = api.control.enter_provider_key(&actor, (&owner, &id), revision, body.secret()).await?;
    tagged(&api, &owner, entered).await
}

async fn delete<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, ProviderKeyId(id)): (O, ProviderKeyId),
    IfMatch(revision): IfMatch,
    Query(query): Query<ForceQuery>,
) -> Result<NoContent, ApiError> {
    api.control.delete_provider_key(&actor, (&owner.owner(), &id), revision, query.force()).await?;
    Ok(NoContent)
}

async fn tagged(api: &Api, owner: &Owner, key: ProviderKey) -> Result<Tagged<ProviderKeyView>, ApiError> {
    Ok(Tagged { revision: key.revision, body: viewed(api, owner, key).await? })
}

async fn viewed(api: &Api, owner: &Owner, key: ProviderKey) -> Result<ProviderKeyView, ApiError> {
    let found = api.control.uses_of_provider_keys(owner, vec![key]).await?.into_iter().next();
    Ok(found.ok_or(ControlError::NotFound)?.into())
}

impl From<CredentialHealth> for HealthWord {
    fn from(health: CredentialHealth) -> Self {
        match health {
            CredentialHealth::Ok => Self::Ok,
            CredentialHealth::Refused => Self::Refused,
            CredentialHealth::Cooling => Self::Cooling,
        }
    }
}

impl From<(ProviderKey, Uses)> for ProviderKeyView {
    fn from((key, uses): (ProviderKey, Uses)) -> Self {
        Self {
            id: key.id.into(),
            provider: key.provider,
            label: key.label,
            base_url: key.base_url,
            sort_order: key.sort_order,
            status: key.status,
            value: key.value.map(ValueView::from),
            health: uses.health.into(),
            used_by: uses.used_by,
            last_used_at: uses.last_used_at.map(Time),
            created_at: key.created_at.into(),
        }
    }
}

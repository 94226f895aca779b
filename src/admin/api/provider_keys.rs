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
use crate::control::{Capability, NewProviderKey, ProviderKeyPatch};
use crate::store::{KeyStatus, ProviderKey};

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
    created_at: Time,
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
    Ok(Created { revision: made.revision, body: made.into(), location })
}

async fn list<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    owner: O,
) -> Result<Listed<ProviderKeyView>, ApiError> {
    let found = api.control.provider_keys(&actor, &owner.owner()).await?;
    Ok(Listed::whole(found.into_iter().map(ProviderKeyView::from).collect()))
}

async fn show<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, ProviderKeyId(id)): (O, ProviderKeyId),
) -> Result<Tagged<ProviderKeyView>, ApiError> {
    api.control.provider_key(&actor, &owner.owner(), &id).await.map(tagged).map_err(ApiError::from)
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
    let changed = api.control.change_provider_key(&actor, (&owner.owner(), &id), revision, patch).await;
    changed.map(tagged).map_err(ApiError::from)
}

async fn enter<O: OwnerPath>(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (owner, ProviderKeyId(id)): (O, ProviderKeyId),
    IfMatch(revision): IfMatch,
    Body(body): Body<SecretValue>,
) -> Result<Tagged<ProviderKeyView>, ApiError> {
    let entered = api.control.enter_provider_key(&actor, (&owner.owner(), &id), revision, body.secret()).await;
    entered.map(tagged).map_err(ApiError::from)
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

fn tagged(key: ProviderKey) -> Tagged<ProviderKeyView> {
    Tagged { revision: key.revision, body: key.into() }
}

impl From<ProviderKey> for ProviderKeyView {
    fn from(key: ProviderKey) -> Self {
        Self {
            id: key.id.into(),
            provider: key.provider,
            label: key.label,
            base_url: key.base_url,
            sort_order: key.sort_order,
            status: key.status,
            value: key.value.map(ValueView::from),
            created_at: key.created_at.into(),
        }
    }
}

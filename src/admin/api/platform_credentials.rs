//! Credentials of the platform, which credits pay for.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::owner::ValueView;
use super::provider_keys::HealthWord;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Endpoint, IdText, Listed, NoContent, Plain, ProviderKeyId, Time,
};
use crate::base::Secret;
use crate::control::{Capability, NewPlatformCredential, Uses};
use crate::store::ProviderKey;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let own = Needs(Capability::InstanceSettings);
    vec![
        Endpoint::get(
            "/instance/platform-credentials",
            own,
            "Lists the platform's credentials, without their values.",
            list,
        ),
        Endpoint::put(
            "/instance/platform-credentials",
            own,
            "Enters the platform's credential for a provider, in the place of the one before.",
            enter,
        ),
        Endpoint::delete(
            "/instance/platform-credentials/{provider_key}",
            own,
            "Deletes a credential of the platform that no served or open version needs.",
            delete,
        )
        .refuses(&[Code::InUse]),
    ]
}

/// A credential to enter.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlatformCredentialEnter {
    /// The provider, such as `openai`.
    #[schema(min_length = 1, max_length = 64)]
    provider: String,
    /// Printable ASCII; never given back.
    #[schema(write_only, min_length = 1, max_length = 8_192)]
    value: String,
    /// The address it may be sent to, instead of the provider's own.
    #[schema(max_length = 2_048)]
    base_url: Option<String>,
}

/// A credential of the platform, without its value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlatformCredential)]
struct PlatformCredentialView {
    id: IdText,
    provider: String,
    base_url: Option<String>,
    /// Null when the value has to be entered.
    value: Option<ValueView>,
    /// What the provider says to it.
    health: HealthWord,
    /// Served and open versions that have no other credential, as `slug version N`.
    used_by: Vec<String>,
    /// When it was last sent to the provider, to the minute.
    last_used_at: Option<Time>,
    created_at: Time,
}

async fn list(State(api): State<Arc<Api>>, Caller(actor): Caller) -> Result<Listed<PlatformCredentialView>, ApiError> {
    let found = api.control.platform_credentials(&actor).await?;
    Ok(Listed::whole(found.into_iter().map(PlatformCredentialView::from).collect()))
}

async fn enter(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Body(body): Body<PlatformCredentialEnter>,
) -> Result<Plain<PlatformCredentialView>, ApiError> {
    let PlatformCredentialEnter { provider, value, base_url } = body;
    let new = NewPlatformCredential { provider, value: Secret::new(value), base_url };
    Ok(Plain(api.control.enter_platform_credential(&actor, new).await?.into()))
}

async fn delete(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProviderKeyId(id): ProviderKeyId,
) -> Result<NoContent, ApiError> {
    api.control.delete_platform_credential(&actor, id).await?;
    Ok(NoContent)
}

impl From<(ProviderKey, Uses)> for PlatformCredentialView {
    fn from((key, uses): (ProviderKey, Uses)) -> Self {
        Self {
            id: key.id.into(),
            provider: key.provider,
            base_url: key.base_url,
            value: key.value.map(ValueView::from),
            health: uses.health.into(),
            used_by: uses.used_by,
            last_used_at: uses.last_used_at.map(Time),
            created_at: key.created_at.into(),
        }
    }
}

//! What secrets and provider keys share: owner, value, state.

use axum::extract::FromRequestParts;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

use crate::admin::rest::{Api, ApiError, Input, OrganizationId, ProjectId, Time};
use crate::base::Secret;
use crate::control::Force;
use crate::store::{Owner, Sealed};

/// The part of a path that names an owner.
pub(super) trait OwnerPath: Input + FromRequestParts<Arc<Api>, Rejection = ApiError> + Send + 'static {
    /// The owner.
    fn owner(self) -> Owner;
}

impl OwnerPath for ProjectId {
    fn owner(self) -> Owner {
        Owner::Project(self.0)
    }
}

impl OwnerPath for OrganizationId {
    fn owner(self) -> Owner {
        Owner::Organization(self.0)
    }
}

/// Path of an object of an owner.
pub(super) fn location(owner: &Owner, collection: &str, id: &crate::base::Id) -> String {
    match owner {
        Owner::Project(project) => format!("/projects/{project}/{collection}/{id}"),
        Owner::Instance => format!("/instance/{collection}/{id}"),
        Owner::Organization(organization) => format!("/organizations/{organization}/{collection}/{id}"),
    }
}

/// A new value. It is never given back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretValue {
    /// Printable ASCII.
    #[schema(write_only, min_length = 1, max_length = 8_192)]
    value: String,
}

impl SecretValue {
    pub(super) fn secret(self) -> Secret {
        Secret::new(self.value)
    }
}

/// Whether what is in use is deleted all the same.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ForceQuery {
    /// An owner of the organization may delete what a served or open version needs.
    #[param(nullable = false)]
    force: Option<bool>,
}

impl ForceQuery {
    pub(super) fn force(&self) -> Force {
        if self.force == Some(true) { Force::ByOwner } else { Force::No }
    }
}

/// What is shown of a value: enough to tell it from another, and nothing of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ValueView {
    /// Last four characters; empty for a short value.
    last4: String,
    /// 16 hex digits that are the same for the same value.
    fingerprint: String,
    /// When it was entered.
    entered_at: Time,
}

impl From<Sealed> for ValueView {
    fn from(sealed: Sealed) -> Self {
        Self { last4: sealed.last4, fingerprint: sealed.fingerprint, entered_at: sealed.entered_at.into() }
    }
}

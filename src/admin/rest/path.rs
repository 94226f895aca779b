//! What varies in a path: ids and numbers.
//!
//! A text that cannot be an id names nothing, so it gets the same answer as an id that does not exist.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::code::Code;
use super::endpoint::Input;
use super::error::ApiError;
use super::operation::{Operation, text, whole};
use crate::base::{Id, IdKind, REQUEST_ID_BYTES_MAX, RequestId};
use crate::control::ControlError;

async fn segment<S: Send + Sync, T>(
    parts: &mut Parts,
    state: &S,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, ApiError> {
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ControlError::NotFound)?;
    let found = params.iter().find(|(found, _)| *found == name);
    Ok(found.and_then(|(_, value)| read(value)).ok_or(ControlError::NotFound)?)
}

/// Declares one extractor for each kind of id: its name in the path and its kind.
macro_rules! ids {
    ($($(#[$meta:meta])* $type:ident = $name:literal $kind:ident),+ $(,)?) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone)]
            pub struct $type(pub Id);

            impl Input for $type {
                fn describe(operation: &mut Operation) {
                    let pattern = format!("^{}_[0-9A-Za-z]{{20}}$", IdKind::$kind.prefix());
                    operation.path_parameter($name, text().pattern(Some(pattern)));
                }
            }

            impl<S: Send + Sync> FromRequestParts<S> for $type {
                type Rejection = ApiError;

                async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
                    segment(parts, state, $name, |value| Id::parse(IdKind::$kind, value)).await.map(Self)
                }
            }
        )+
    };
}

ids! {
    /// `{organization}`
    OrganizationId = "organization" Organization,
    /// `{user}`
    UserId = "user" User,
    /// `{invitation}`
    InvitationId = "invitation" Invitation,
    /// `{token}`
    TokenId = "token" AdminToken,
    /// `{project}`
    ProjectId = "project" Project,
    /// `{key}`
    KeyId = "key" Key,
    /// `{secret}`
    SecretId = "secret" Secret,
    /// `{provider_key}`
    ProviderKeyId = "provider_key" ProviderKey,
    /// `{alert}`
    AlertId = "alert" Alert,
    /// `{egress_rule}`
    EgressRuleId = "egress_rule" EgressRule,
    /// `{limit}`
    LimitId = "limit" Limit,
    /// `{rule}`
    RuleId = "rule" Rule,
}

/// `{version}`: number of a version, 1 or more.
#[derive(Debug, Clone, Copy)]
pub struct VersionNumber(pub u32);

impl Input for VersionNumber {
    fn describe(operation: &mut Operation) {
        operation.path_parameter("version", whole(1, i64::from(u32::MAX)));
    }
}

impl<S: Send + Sync> FromRequestParts<S> for VersionNumber {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // A sign or leading zeros would be a second spelling of the same version.
        let read = |value: &str| value.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == value);
        segment(parts, state, "version", read).await.map(Self)
    }
}

/// `{route}`: name of a route.
#[derive(Debug, Clone)]
pub struct RouteName(pub String);

impl Input for RouteName {
    fn describe(operation: &mut Operation) {
        operation.path_parameter("route", text().min_length(Some(1)).max_length(Some(255)));
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RouteName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        segment(parts, state, "route", |value| Some(value.to_owned())).await.map(Self)
    }
}

/// `{request_id}`: id of a request, its client's own or ours.
#[derive(Debug, Clone)]
pub struct RequestName(pub String);

impl Input for RequestName {
    fn describe(operation: &mut Operation) {
        let schema = text().min_length(Some(1)).max_length(Some(REQUEST_ID_BYTES_MAX));
        operation.path_parameter("request_id", schema.pattern(Some("^[A-Za-z0-9._-]+$")));
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = |value: &str| RequestId::from_client(value.as_bytes()).map(|id| id.as_str().to_owned());
        segment(parts, state, "request_id", read).await.map(Self)
    }
}

/// Two arguments in one, where a function would have too many.
impl<A: Input, B: Input> Input for (A, B) {
    fn describe(operation: &mut Operation) {
        A::describe(operation);
        B::describe(operation);
        operation.refuses(&[Code::NotFound]);
    }
}

//! How the admin API is made of endpoints: shared rules.
//!
//! A list of [`Endpoint`]s gives the router ([`routes`]), the document ([`document`]) and the test of the roles matrix.
//! Handlers are plain async functions; what they take and answer are types of this folder, which read the request,
//! refuse what is wrong, and describe themselves. Nothing here knows a project or a key.

mod accept;
mod body;
mod caller;
mod code;
mod endpoint;
mod error;
mod gate;
mod idempotency;
mod if_match;
mod json;
mod openapi;
mod operation;
mod page;
mod path;
mod query;
mod rate;
mod reply;
mod standing;
#[cfg(test)]
mod tests;
mod view;

pub use accept::Wanted;
pub use body::{BODY_BYTES_MAX, Body, OptionalBody, Upload, YAML_BYTES_MAX};
pub(crate) use caller::PeerAddress;
pub use caller::{BROWSER_HEADER, Caller, SESSION_COOKIE, SessionValue, Visitor};
pub use code::Code;
pub use endpoint::{Access, Described, Endpoint, Input, Method};
pub(crate) use error::render;
pub use error::{ApiError, ErrorItem};
pub(crate) use gate::routes;
pub use gate::{Api, BASE, RateLimits};
pub use idempotency::IdempotencyKey;
pub use if_match::{IfMatch, Known};
pub use json::present;
pub(crate) use openapi::document;
pub use operation::Operation;
pub use page::Listing;
pub use path::{
    AlertId, EgressRuleId, InvitationId, KeyId, LimitId, OrganizationId, ProjectId, ProviderKeyId, RequestName,
    RouteName, RuleId, SecretId, TokenId, UserId, VersionNumber,
};
pub use query::Query;
pub use reply::{
    Answer, Created, Document, EventStream, Issued, Listed, NoContent, Plain, Streamed, Tagged, WithCookie,
};
pub use standing::Standing;
pub use view::{IdText, Time};

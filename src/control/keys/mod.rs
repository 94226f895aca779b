//! API keys, secrets and provider keys, and how they change.
//!
//! What is stored opens nothing: API keys as keyed digests, the others sealed. A change is live on every worker before its
//! call returns.

mod api_key;
mod credentials;
mod last_used;
mod live;
mod needed;
mod owner;
mod provider_key;
mod roll;
mod seal;
mod secret;
mod uses;

pub use api_key::{KeyPatch, NewKey};
pub use credentials::{CredentialHealth, keep_credentials};
pub use last_used::{KeyUse, keep_key_use};
pub(in crate::control) use live::KeyChange;
pub use provider_key::{NewProviderKey, ProviderKeyPatch};
pub use secret::{Force, NewSecret, SecretPatch};
pub use uses::Uses;

pub(super) use credentials::Credentials;
pub(super) use needed::needed_by;
pub(super) use provider_key::{checked_provider, shown as shown_key};

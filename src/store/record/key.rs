//! API keys, secrets and provider keys, never in clear.

use super::text_enum::text_enum;
use crate::base::{Id, UnixTime};

text_enum! {
    /// Whether a key may be used.
    KeyStatus {
        /// It may.
        Active = "active",
        /// It may not, until it is enabled again.
        Disabled = "disabled",
    }
}

/// An API key of one project.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// `key_...`
    pub id: Id,
    /// The project.
    pub project: Id,
    /// Prefix and the 12 public characters of the key's text: `mr_live_...`.
    pub public_id: String,
    /// Last four characters of the key's text.
    pub last4: String,
    /// Keyed digest of the whole key.
    pub digest: [u8; 32],
    /// Keyed digest of the key before the last roll, while it still works.
    pub old_digest: Option<[u8; 32]>,
    /// Until when it does.
    pub old_expires_at: Option<UnixTime>,
    /// What it is for, 1 to 255 characters.
    pub description: String,
    /// Whether it may be used.
    pub status: KeyStatus,
    /// From when on it may not.
    pub expires_at: Option<UnixTime>,
    /// Name of the group it is reported under, up to 64 characters.
    pub group: Option<String>,
    /// Who made it: id of a user or token.
    pub created_by: Id,
    /// When.
    pub created_at: UnixTime,
    /// When it was last used, to the minute.
    pub last_used_at: Option<UnixTime>,
    /// Rises by one with each change by a person; `last_used_at` does not count.
    pub revision: u64,
}

/// To whom a secret or a provider key belongs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// To an organization.
    Organization(Id),
    /// To a project.
    Project(Id),
    /// To the platform. Provider keys only.
    Instance,
}

/// A sealed value: who reads the row learns nothing from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// Key id, nonce and ciphertext.
    pub bytes: Vec<u8>,
    /// Rises with each new value; part of what the seal is bound to.
    pub version: u32,
    /// Last four characters of the value; empty when the value is shorter than 12.
    pub last4: String,
    /// First 16 hex digits of a keyed digest of the value.
    pub fingerprint: String,
    /// When the value was entered.
    pub entered_at: UnixTime,
}

/// A value that a configuration names with `!secret NAME`.
#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    /// `sec_...`
    pub id: Id,
    /// To whom it belongs.
    pub owner: Owner,
    /// `^[A-Za-z0-9_.-]{1,64}$`, unique for its owner.
    pub name: String,
    /// `scheme://host:port` to which it may be sent; one at least.
    pub bound_origins: Vec<String>,
    /// Projects that may use one of the organization; none means all of them.
    pub shared_with: Option<Vec<Id>>,
    /// The value; none after a bound origin was changed.
    pub value: Option<Sealed>,
    /// When it was made.
    pub created_at: UnixTime,
    /// Rises by one with each change.
    pub revision: u64,
}

/// A provider's API key that configurations use without naming it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderKey {
    /// `pk_...`
    pub id: Id,
    /// To whom it belongs.
    pub owner: Owner,
    /// The provider, such as `openai`.
    pub provider: String,
    /// What people call it, 1 to 255 characters.
    pub label: String,
    /// Address it may be sent to; none is the provider's own.
    pub base_url: Option<String>,
    /// Lower is tried first.
    pub sort_order: i32,
    /// Whether it may be used.
    pub status: KeyStatus,
    /// The value; none after the address was changed.
    pub value: Option<Sealed>,
    /// When it was made.
    pub created_at: UnixTime,
    /// Rises by one with each change.
    pub revision: u64,
}

//! What a transaction can do with sealed requests and answers.

use super::{record::StoredPayload, tx::Outcome};
use crate::base::{Id, UnixTime};

/// Sealed requests and answers, and the keys they are sealed under. Both go with their project.
pub trait Payloads {
    /// Whether prompts and answers of a project are kept: its own setting, else its organization's. False without a project.
    fn keeps_payloads(&self, project: &Id) -> Outcome<bool>;
    /// The same for every project, of one organization or of all.
    fn payload_settings(&self, organization: Option<&Id>) -> Outcome<Vec<(Id, bool)>>;
    /// The sealed key of a project.
    fn payload_key(&self, project: &str) -> Outcome<Option<Vec<u8>>>;
    /// Stores the sealed key of a project that has none.
    fn insert_payload_key(&mut self, project: &str, sealed: &[u8]) -> Outcome<()>;
    /// Sealed keys that begin with something else than `head`, by project, behind `after`.
    fn stale_payload_keys(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<(String, Vec<u8>)>>;
    /// Adds a payload.
    fn insert_payload(&mut self, row: &StoredPayload) -> Outcome<()>;
    /// How many payloads there are.
    fn payload_count(&self) -> Outcome<u64>;
    /// The newest payload of a project with this id of a request; only that of a member's key, if one is named.
    fn payload(&self, project: &str, request_id: &str, member: Option<&str>) -> Outcome<Option<StoredPayload>>;
    /// Forgets up to `count` payloads of a project from before a time; true when there may be more.
    fn forget_payloads(&mut self, project: &str, before: UnixTime, count: u32) -> Outcome<bool>;
}

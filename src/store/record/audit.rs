//! Audit events and answers kept for a repeated request.

use super::text_enum::text_enum;
use crate::base::{Id, UnixTime};

text_enum! {
    /// What an actor is.
    ActorKind {
        /// A person with a session.
        User = "user",
        /// A program with an admin token.
        Token = "token",
        /// The process itself.
        System = "system",
    }
}

/// What happened, before it has a place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// When.
    pub at: UnixTime,
    /// What the actor is.
    pub actor_kind: ActorKind,
    /// Id of the user or token; `system` for the process.
    pub actor: String,
    /// Address of the caller, empty for the process.
    pub address: String,
    /// Object and verb, such as `project.serve`.
    pub action: String,
    /// Id of the object.
    pub object: String,
    /// The organization, if the object has one.
    pub organization: Option<Id>,
    /// The project, if the object has one.
    pub project: Option<Id>,
    /// The object before as JSON; secrets as fingerprints. Empty when it did not exist.
    pub before: String,
    /// The object after as JSON; secrets as fingerprints. Empty when it does not exist any more.
    pub after: String,
    /// Id of the request.
    pub request_id: String,
    /// What the actor said.
    pub comment: String,
}

/// An event in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// 1, 2, 3, ... without gaps.
    pub sequence: u64,
    /// What happened.
    pub event: AuditEvent,
    /// Hash of the entry before; zeros for the first.
    pub previous: [u8; 32],
    /// SHA-256 of `previous` and the event.
    pub hash: [u8; 32],
}

/// The first answer to a request with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAnswer {
    /// Who asked: id of a user or token.
    pub caller: String,
    /// The header's value, up to 255 characters.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub request_digest: [u8; 32],
    /// Status of the answer.
    pub status: u16,
    /// The answer's body, sealed: it may hold a key that is shown once.
    pub sealed_body: Vec<u8>,
    /// When.
    pub at: UnixTime,
}

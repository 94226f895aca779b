//! What was said in a request, sealed.

use crate::base::UnixTime;

/// A sealed request with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPayload {
    /// Id of the project.
    pub project: String,
    /// When the first byte of the request arrived.
    pub at: UnixTime,
    /// Id of the request.
    pub request_id: String,
    /// Id of who made the key; empty where that is no member.
    pub member: String,
    /// Both texts, sealed under the key of the project.
    pub sealed: Vec<u8>,
}

//! What is set for the whole instance.

use crate::base::{Id, UnixTime};

/// A private network and ports that may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRule {
    /// `egr_...`
    pub id: Id,
    /// Network, as `10.0.0.0/8`.
    pub network: String,
    /// Ports, as `443,8000-8999`, or `any`.
    pub ports: String,
    /// Why, 0 to 2,000 characters.
    pub comment: String,
    /// Who made it.
    pub created_by: Id,
    /// When.
    pub created_at: UnixTime,
}

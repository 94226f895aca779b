//! IAM rules as they are stored.

use super::{place::PolicyPlace, text_enum::text_enum};
use crate::{
    base::{Id, UnixTime},
    iam::RuleType,
};

text_enum! {
    /// Whether a rule is evaluated.
    RuleStatus {
        /// It is.
        Active = "active",
        /// It is kept for later.
        Inactive = "inactive",
    }
}

/// A rule about what keys may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// `rul_...`
    pub id: Id,
    /// Where it stands.
    pub place: PolicyPlace,
    /// What it does.
    pub kind: RuleType,
    /// With what, as JSON: `{"models":["gpt-4o*"]}`.
    pub value: String,
    /// Whether it is evaluated.
    pub status: RuleStatus,
    /// Who made it: id of a user or token.
    pub created_by: Id,
    /// When.
    pub created_at: UnixTime,
    /// Rises by one with each change.
    pub revision: u64,
}

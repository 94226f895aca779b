//! What rules are looked at with, gathered before any decision.

use std::{collections::HashMap, sync::Arc};

use super::{providers::Attempted, step::Finding};
use crate::{
    base::{Id, NanoUsd, UnixTime},
    control::ledger::Observed,
    limit::Moment,
    snapshot::Snapshot,
    store::{AuditEntry, ExpiringKey},
};

/// What is left of the credits of an organization.
#[derive(Debug, Clone, Copy)]
pub(super) struct CreditsLeft {
    /// What is not spent.
    pub(super) balance: NanoUsd,
    /// What is neither spent nor held by open requests.
    pub(super) free: NanoUsd,
}

/// One moment.
pub(super) struct World {
    /// When it is.
    pub(super) now: UnixTime,
    /// When it is for counters of limits.
    pub(super) moment: Moment,
    /// What is served.
    pub(super) snapshot: Arc<Snapshot>,
    /// Organizations of stored projects.
    pub(super) organizations: Arc<HashMap<String, Id>>,
    /// Requests stored since the last look.
    pub(super) observed: Vec<Observed>,
    /// Attempts since the last look.
    pub(super) attempted: Vec<Attempted>,
    /// Limits in money that have passed a percentage, by rule; none when nobody looked this time.
    pub(super) spent: Option<HashMap<Id, Vec<Finding>>>,
    /// What is left of the credits of organizations whose rules ask for it.
    pub(super) credits: HashMap<Id, CreditsLeft>,
    /// Keys that expire soon, by rule; none when nobody looked this time.
    pub(super) expiring: Option<HashMap<Id, Vec<ExpiringKey>>>,
    /// What was done since the last look.
    pub(super) events: Vec<AuditEntry>,
    /// How far the books are apart, in nano-USD.
    pub(super) apart: u64,
}

impl World {
    /// Whether a project belongs to an organization.
    pub(super) fn is_in(&self, project: &str, organization: &Id) -> bool {
        self.organizations.get(project) == Some(organization)
    }
}

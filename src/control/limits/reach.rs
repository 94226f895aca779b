//! How far somebody may go with a limit.

use super::super::{
    actor::Actor,
    error::ControlError,
    permit::{Capability, Scope, permit},
    site::{Needed, PolicySite},
};
use crate::{base::Id, store::StoredLimit};

/// What limits ask for.
pub(super) const NEEDED: Needed = Needed {
    organization: (Capability::OrganizationLimitsRead, Capability::OrganizationLimitsWrite),
    project: (Capability::ProjectLimitsRead, Capability::ProjectLimitsWrite),
    key: (Capability::KeyLimitsRead, Capability::KeyLimitsWrite),
};

/// How far somebody may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Reach {
    /// Any change.
    Any,
    /// Only what allows less than before.
    DownOnly,
}

impl Reach {
    /// How far somebody goes who may write here: who administers the organization may do all; who administers one
    /// project may only tighten what was set over it.
    pub(super) fn of(actor: &Actor, site: &PolicySite, organization: &Id) -> Self {
        if !matches!(site, PolicySite::Project(_)) {
            return Self::Any;
        }
        match permit(actor, Capability::OrganizationLimitsWrite, Scope::Organization(organization)) {
            Ok(_) => Self::Any,
            Err(_) => Self::DownOnly,
        }
    }

    /// Refuses what allows more than before, unless that may be done.
    ///
    /// # Errors
    /// [`ControlError::NotPermitted`].
    pub(super) fn check(self, before: Option<&StoredLimit>, after: Option<&StoredLimit>) -> Result<(), ControlError> {
        let Some(before) = before.filter(|_| self == Self::DownOnly) else {
            return Ok(());
        };
        let is_lower = after.is_some_and(|after| {
            let is_same =
                (&after.window, after.algorithm, after.mode) == (&before.window, before.algorithm, before.mode);
            is_same && after.amount <= before.amount
        });
        if is_lower {
            return Ok(());
        }
        let said = "your role may lower this limit, not raise, change or remove it; ask an admin of the organization";
        Err(ControlError::NotPermitted(said.to_owned()))
    }
}

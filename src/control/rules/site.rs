//! Where a rule stands, and who may see and write it there.

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    permit::{Capability, Scope, permit},
};
use crate::{
    base::Id,
    store::{AuditEvent, Organization, RulePlace, Tx},
};

/// A place for rules, as a path names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleSite {
    /// An organization.
    Organization(Id),
    /// A project.
    Project(Id),
    /// A member of an organization.
    Member {
        /// The organization.
        organization: Id,
        /// The user.
        user: Id,
    },
    /// A key of a project.
    Key {
        /// The project.
        project: Id,
        /// The key.
        key: Id,
    },
}

/// What somebody wants to do with rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// See them.
    Read,
    /// Add or change one: what it stands at must be in use.
    Write,
    /// Remove one.
    Remove,
}

/// To whom a place belongs, for the audit log.
pub(super) struct Belonging {
    organization: Id,
    project: Option<Id>,
}

impl RuleSite {
    /// The place as the store has it.
    #[must_use]
    pub(super) fn place(&self) -> RulePlace {
        match self {
            Self::Organization(id) => RulePlace::Organization(id.clone()),
            Self::Project(id) => RulePlace::Project(id.clone()),
            Self::Member { organization, user } => {
                RulePlace::Member { organization: organization.clone(), user: user.clone() }
            }
            Self::Key { key, .. } => RulePlace::Key(key.clone()),
        }
    }

    /// Checks that the actor may do this here, and that the place exists. The permission is asked first.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`]; [`ControlError::ProjectArchived`] for a change.
    pub(super) fn permitted(&self, tx: &dyn Tx, actor: &Actor, intent: Intent) -> Result<Belonging, ControlError> {
        match self {
            Self::Organization(id) => organization(tx, actor, intent, id),
            Self::Member { organization: id, user } => {
                let found = organization(tx, actor, intent, id)?;
                tx.member(id, user)?.ok_or(ControlError::NotFound)?;
                Ok(found)
            }
            Self::Project(id) => project(tx, actor, intent, id),
            Self::Key { project: id, key } => {
                let found = project(tx, actor, intent, id)?;
                tx.key(key)?.filter(|found| found.project == *id).ok_or(ControlError::NotFound)?;
                Ok(found)
            }
        }
    }
}

impl Belonging {
    /// An event about a rule that stands here.
    pub(super) fn event(&self, actor: &Actor, action: &str, rule: &Id) -> AuditEvent {
        AuditEvent {
            organization: Some(self.organization.clone()),
            project: self.project.clone(),
            ..actor.event(action, rule.as_str())
        }
    }
}

fn organization(tx: &dyn Tx, actor: &Actor, intent: Intent, id: &Id) -> Result<Belonging, ControlError> {
    let capability = match intent {
        Intent::Read => Capability::OrganizationRulesRead,
        Intent::Write | Intent::Remove => Capability::OrganizationRulesWrite,
    };
    permit(actor, capability, Scope::Organization(id))?;
    let Organization { id, .. } = match intent {
        Intent::Read => tx.organization(id)?.ok_or(ControlError::NotFound)?,
        Intent::Write | Intent::Remove => gate::usable_organization(tx, actor, id)?,
    };
    Ok(Belonging { organization: id, project: None })
}

fn project(tx: &dyn Tx, actor: &Actor, intent: Intent, id: &Id) -> Result<Belonging, ControlError> {
    let found = match intent {
        Intent::Read => gate::project(tx, actor, Capability::RulesRead, id)?,
        // Getting rid of a rule of an archived project is never wrong.
        Intent::Remove => gate::project(tx, actor, Capability::RulesWrite, id)?,
        Intent::Write => gate::active_project(tx, actor, Capability::RulesWrite, id)?,
    };
    Ok(Belonging { organization: found.organization, project: Some(found.id) })
}

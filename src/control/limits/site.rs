//! Where a limit stands, and who may see and write it there.

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    permit::{Capability, Extent, Scope, permit},
};
use crate::{
    base::Id,
    store::{AuditEvent, LimitPlace, StoredLimit, Tx},
};

/// A place for limits, as a path names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitSite {
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

/// What somebody wants to do with limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// See them.
    Read,
    /// Add or change one: what it stands at must be in use.
    Write,
    /// Remove one.
    Remove,
}

/// How far somebody may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Reach {
    /// Any change.
    Any,
    /// Only what allows less than before.
    DownOnly,
}

impl Reach {
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

/// To whom a place belongs, and what may be done there.
pub(super) struct Standing {
    pub(super) organization: Id,
    pub(super) project: Option<Id>,
    pub(super) reach: Reach,
}

impl LimitSite {
    /// The place as the store has it.
    #[must_use]
    pub fn place(&self) -> LimitPlace {
        match self {
            Self::Organization(id) => LimitPlace::Organization(id.clone()),
            Self::Project(id) => LimitPlace::Project(id.clone()),
            Self::Member { organization, user } => {
                LimitPlace::Member { organization: organization.clone(), user: user.clone() }
            }
            Self::Key { key, .. } => LimitPlace::Key(key.clone()),
        }
    }

    /// Checks that the actor may do this here, and that the place exists. The permission is asked first.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`]; [`ControlError::ProjectArchived`] for a change.
    pub(super) fn permitted(&self, tx: &dyn Tx, actor: &Actor, intent: Intent) -> Result<Standing, ControlError> {
        match self {
            Self::Organization(id) => organization(tx, actor, intent, id),
            Self::Member { organization: id, user } => {
                let found = organization(tx, actor, intent, id)?;
                tx.member(id, user)?.ok_or(ControlError::NotFound)?;
                Ok(found)
            }
            Self::Project(id) => {
                let capabilities = (Capability::ProjectLimitsRead, Capability::ProjectLimitsWrite);
                let (mut found, _) = project(tx, actor, (intent, capabilities), id)?;
                found.reach = reach_at_project(actor, &found.organization);
                Ok(found)
            }
            Self::Key { project: id, key } => {
                let capabilities = (Capability::KeyLimitsRead, Capability::KeyLimitsWrite);
                let (found, extent) = project(tx, actor, (intent, capabilities), id)?;
                let key = tx.key(key)?.filter(|found| found.project == *id).ok_or(ControlError::NotFound)?;
                if extent == Extent::Own && key.created_by != actor.author {
                    return Err(ControlError::NotFound);
                }
                Ok(found)
            }
        }
    }
}

impl Standing {
    /// An event about a limit that stands here.
    pub(super) fn event(&self, actor: &Actor, action: &str, limit: &Id) -> AuditEvent {
        AuditEvent {
            organization: Some(self.organization.clone()),
            project: self.project.clone(),
            ..actor.event(action, limit.as_str())
        }
    }
}

/// Who administers the organization may do all; who administers one project may only tighten what was set over it.
fn reach_at_project(actor: &Actor, organization: &Id) -> Reach {
    match permit(actor, Capability::OrganizationLimitsWrite, Scope::Organization(organization)) {
        Ok(_) => Reach::Any,
        Err(_) => Reach::DownOnly,
    }
}

fn organization(tx: &dyn Tx, actor: &Actor, intent: Intent, id: &Id) -> Result<Standing, ControlError> {
    let capability = match intent {
        Intent::Read => Capability::OrganizationLimitsRead,
        Intent::Write | Intent::Remove => Capability::OrganizationLimitsWrite,
    };
    permit(actor, capability, Scope::Organization(id))?;
    let found = match intent {
        Intent::Read => tx.organization(id)?.ok_or(ControlError::NotFound)?,
        Intent::Write | Intent::Remove => gate::usable_organization(tx, actor, id)?,
    };
    Ok(Standing { organization: found.id, project: None, reach: Reach::Any })
}

fn project(
    tx: &dyn Tx,
    actor: &Actor,
    (intent, (read, write)): (Intent, (Capability, Capability)),
    id: &Id,
) -> Result<(Standing, Extent), ControlError> {
    let (found, extent) = match intent {
        Intent::Read => gate::project_for(tx, actor, read, id)?,
        // Getting rid of a limit of an archived project is never wrong.
        Intent::Remove => gate::project_for(tx, actor, write, id)?,
        Intent::Write => gate::active_project_for(tx, actor, write, id)?,
    };
    Ok((Standing { organization: found.organization, project: Some(found.id), reach: Reach::Any }, extent))
}

//! Where limits and IAM rules stand, and who may touch them.

use super::{
    actor::Actor,
    error::ControlError,
    gate,
    permit::{Capability, Extent, Scope, permit},
};
use crate::{
    base::Id,
    store::{AuditEvent, PolicyPlace, Tx},
};

/// A place for limits or rules, as a path names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicySite {
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

/// What somebody wants to do with what stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// See it.
    Read,
    /// Add or change something: what it stands at must be in use.
    Write,
    /// Remove something.
    Remove,
}

/// What somebody must be allowed to see and to write, by where it stands.
pub(super) struct Needed {
    /// At an organization and at its members.
    pub(super) organization: (Capability, Capability),
    /// At a project.
    pub(super) project: (Capability, Capability),
    /// At a key of a project.
    pub(super) key: (Capability, Capability),
}

/// To whom a place belongs.
#[derive(Debug)]
pub(super) struct Standing {
    /// The organization.
    pub(super) organization: Id,
    /// The project, if the place is one or in one.
    pub(super) project: Option<Id>,
}

impl PolicySite {
    /// The place as the store has it.
    #[must_use]
    pub(super) fn place(&self) -> PolicyPlace {
        match self {
            Self::Organization(id) => PolicyPlace::Organization(id.clone()),
            Self::Project(id) => PolicyPlace::Project(id.clone()),
            Self::Member { organization, user } => {
                PolicyPlace::Member { organization: organization.clone(), user: user.clone() }
            }
            Self::Key { key, .. } => PolicyPlace::Key(key.clone()),
        }
    }

    /// Checks that the actor may do this here, and that the place exists. The permission is asked first.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`]; [`ControlError::ProjectArchived`] for a change.
    pub(super) fn permitted(
        &self,
        tx: &dyn Tx,
        actor: &Actor,
        intent: Intent,
        needed: &Needed,
    ) -> Result<Standing, ControlError> {
        match self {
            Self::Organization(id) => organization(tx, actor, (intent, needed.organization), id),
            Self::Member { organization: id, user } => {
                let found = organization(tx, actor, (intent, needed.organization), id)?;
                tx.member(id, user)?.ok_or(ControlError::NotFound)?;
                Ok(found)
            }
            Self::Project(id) => project(tx, actor, (intent, needed.project), id).map(|(found, _)| found),
            Self::Key { project: id, key } => {
                let (found, extent) = project(tx, actor, (intent, needed.key), id)?;
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
    /// An event about something that stands here.
    pub(super) fn event(&self, actor: &Actor, action: &str, object: &Id) -> AuditEvent {
        AuditEvent {
            organization: Some(self.organization.clone()),
            project: self.project.clone(),
            ..actor.event(action, object.as_str())
        }
    }
}

fn organization(
    tx: &dyn Tx,
    actor: &Actor,
    (intent, (read, write)): (Intent, (Capability, Capability)),
    id: &Id,
) -> Result<Standing, ControlError> {
    let capability = match intent {
        Intent::Read => read,
        Intent::Write | Intent::Remove => write,
    };
    permit(actor, capability, Scope::Organization(id))?;
    let found = match intent {
        Intent::Read => tx.organization(id)?.ok_or(ControlError::NotFound)?,
        Intent::Write | Intent::Remove => gate::usable_organization(tx, actor, id)?,
    };
    Ok(Standing { organization: found.id, project: None })
}

fn project(
    tx: &dyn Tx,
    actor: &Actor,
    (intent, (read, write)): (Intent, (Capability, Capability)),
    id: &Id,
) -> Result<(Standing, Extent), ControlError> {
    let (found, extent) = match intent {
        Intent::Read => gate::project_for(tx, actor, read, id)?,
        // Getting rid of something at an archived project is never wrong.
        Intent::Remove => gate::project_for(tx, actor, write, id)?,
        Intent::Write => gate::active_project_for(tx, actor, write, id)?,
    };
    Ok((Standing { organization: found.organization, project: Some(found.id) }, extent))
}

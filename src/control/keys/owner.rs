//! To whom secrets belong, and who may touch them.

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    permit::{Capability, Scope, permit},
};
use crate::{
    base::Id,
    store::{AuditEvent, Owner, Tx},
};

/// Who may see secrets: the capability in a project, and in an organization.
pub(super) const READ: (Capability, Capability) = (Capability::SecretsRead, Capability::OrganizationSecretsRead);
/// Who may write them.
pub(super) const WRITE: (Capability, Capability) = (Capability::SecretsWrite, Capability::OrganizationSecretsWrite);

/// The organization behind an owner, after a check that the actor may do this there.
///
/// # Errors
/// The permission's, or the store's.
pub(super) fn permitted(
    tx: &dyn Tx,
    actor: &Actor,
    (in_project, in_organization): (Capability, Capability),
    owner: &Owner,
) -> Result<Id, ControlError> {
    match owner {
        // Platform credentials have a way of their own.
        Owner::Instance => Err(ControlError::NotFound),
        Owner::Project(project) => Ok(gate::project(tx, actor, in_project, project)?.organization),
        Owner::Organization(organization) => {
            tx.organization(organization)?.ok_or(ControlError::NotFound)?;
            permit(actor, in_organization, Scope::Organization(organization))?;
            Ok(organization.clone())
        }
    }
}

/// As [`permitted`] to write, for a change that adds something: the owner must not be archived or suspended.
///
/// # Errors
/// As [`permitted`], [`ControlError::ProjectArchived`].
pub(super) fn writable(tx: &dyn Tx, actor: &Actor, owner: &Owner) -> Result<Id, ControlError> {
    match owner {
        Owner::Project(project) => Ok(gate::active_project(tx, actor, WRITE.0, project)?.organization),
        Owner::Organization(_) | Owner::Instance => {
            let organization = permitted(tx, actor, WRITE, owner)?;
            gate::usable_organization(tx, actor, &organization)?;
            Ok(organization)
        }
    }
}

/// An event about something of an owner.
pub(super) fn event(actor: &Actor, action: &str, object: &Id, (owner, organization): (&Owner, Id)) -> AuditEvent {
    let project = match owner {
        Owner::Project(project) => Some(project.clone()),
        Owner::Organization(_) | Owner::Instance => None,
    };
    AuditEvent { organization: Some(organization), project, ..actor.event(action, object.as_str()) }
}

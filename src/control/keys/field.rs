//! Rules that the fields of keys and secrets share.

use super::super::{
    actor::Actor,
    error::ControlError,
    permit::{Capability, Extent, Scope, permit},
};
use crate::{
    base::Id,
    store::{Lifecycle, Owner, Project, Tx},
};

/// Longest description or label, in characters.
const DESCRIPTION_CHARS_MAX: usize = 255;

/// Brings a description into the form in which it is stored.
pub(super) fn checked_description(path: &str, text: &str) -> Result<String, ControlError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > DESCRIPTION_CHARS_MAX || text.chars().any(char::is_control) {
        let message = format!("1 to {DESCRIPTION_CHARS_MAX} characters without control characters");
        return Err(ControlError::field(path, message));
    }
    Ok(text.to_owned())
}

/// Finds a project that the actor may do this in.
pub(super) fn permitted_project(
    tx: &dyn Tx,
    actor: &Actor,
    capability: Capability,
    project: &Id,
) -> Result<(Project, Extent), ControlError> {
    let found = tx.project(project)?.ok_or(ControlError::NotFound)?;
    let extent = permit(actor, capability, Scope::Project(&found.organization, project))?;
    Ok((found, extent))
}

/// As [`permitted_project`], for a change: an archived project takes none.
pub(super) fn changeable_project(
    tx: &dyn Tx,
    actor: &Actor,
    capability: Capability,
    project: &Id,
) -> Result<(Project, Extent), ControlError> {
    let (found, extent) = permitted_project(tx, actor, capability, project)?;
    if found.lifecycle == Lifecycle::Archived {
        return Err(ControlError::ProjectArchived);
    }
    Ok((found, extent))
}

/// The organization behind an owner, after a check that the actor may do this there. The first capability is for
/// projects, the second for organizations.
pub(super) fn permitted_owner(
    tx: &dyn Tx,
    actor: &Actor,
    (in_project, in_organization): (Capability, Capability),
    owner: &Owner,
) -> Result<Id, ControlError> {
    match owner {
        Owner::Project(project) => Ok(permitted_project(tx, actor, in_project, project)?.0.organization),
        Owner::Organization(organization) => {
            permit(actor, in_organization, Scope::Organization(organization))?;
            Ok(organization.clone())
        }
    }
}

/// The project of an owner, for the audit log.
pub(super) fn project_of(owner: &Owner) -> Option<Id> {
    match owner {
        Owner::Project(project) => Some(project.clone()),
        Owner::Organization(_) => None,
    }
}

/// Id of an owner.
pub(in crate::control) fn owner_id(owner: &Owner) -> &str {
    match owner {
        Owner::Project(id) | Owner::Organization(id) => id.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_is_trimmed_or_refused() {
        assert_eq!(checked_description("description", " Production <b>'; -- ").unwrap(), "Production <b>'; --");
        for text in ["", "  ", "a\nb", "a\0b", &"x".repeat(256)] {
            assert!(checked_description("description", text).is_err(), "{text:?}");
        }
        assert!(checked_description("description", &"é".repeat(255)).is_ok(), "characters are counted, not bytes");
    }
}

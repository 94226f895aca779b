//! How an action finds its project, if it may touch it.

use serde_json::{Value, json};

use crate::{
    base::Id,
    store::{AuditEvent, Lifecycle, Organization, OrganizationStatus, Project, Tx, Version},
};

use super::{
    actor::Actor,
    error::ControlError,
    permit::{Capability, Extent, Scope, permit},
    transitions::Facts,
};

/// Finds a project that the actor may use for this. Absent, deleted and foreign ones look alike.
///
/// # Errors
/// [`ControlError::NotFound`], [`ControlError::NotPermitted`], or the store's.
pub(super) fn project(tx: &dyn Tx, actor: &Actor, capability: Capability, id: &Id) -> Result<Project, ControlError> {
    project_for(tx, actor, capability, id).map(|(found, _)| found)
}

/// As [`project`], with how much of it: everything, or what the actor made.
///
/// # Errors
/// As [`project`].
pub(super) fn project_for(
    tx: &dyn Tx,
    actor: &Actor,
    capability: Capability,
    id: &Id,
) -> Result<(Project, Extent), ControlError> {
    let found = tx.project(id)?.ok_or(ControlError::NotFound)?;
    let extent = permit(actor, capability, Scope::Project(&found.organization, &found.id))?;
    Ok((found, extent))
}

/// As [`project`], for a change: the project must not be archived, nor its organization suspended.
///
/// # Errors
/// As [`project`], [`ControlError::ProjectArchived`].
pub(super) fn active_project(
    tx: &dyn Tx,
    actor: &Actor,
    capability: Capability,
    id: &Id,
) -> Result<Project, ControlError> {
    active_project_for(tx, actor, capability, id).map(|(found, _)| found)
}

/// As [`active_project`], with how much of it.
///
/// # Errors
/// As [`active_project`].
pub(super) fn active_project_for(
    tx: &dyn Tx,
    actor: &Actor,
    capability: Capability,
    id: &Id,
) -> Result<(Project, Extent), ControlError> {
    let (found, extent) = project_for(tx, actor, capability, id)?;
    usable_organization(tx, actor, &found.organization)?;
    match found.lifecycle {
        Lifecycle::Active => Ok((found, extent)),
        Lifecycle::Archived => Err(ControlError::ProjectArchived),
    }
}

/// The organization, if things of it may be changed.
///
/// # Errors
/// [`ControlError::NotFound`], [`ControlError::NotPermitted`] when it is suspended.
pub(super) fn usable_organization(tx: &dyn Tx, actor: &Actor, id: &Id) -> Result<Organization, ControlError> {
    let found = tx.organization(id)?.ok_or(ControlError::NotFound)?;
    if found.status == OrganizationStatus::Suspended && !actor.instance_admin {
        let said = "the organization is suspended; ask an instance administrator to activate it";
        return Err(ControlError::NotPermitted(said.to_owned()));
    }
    Ok(found)
}

/// Finds a version of a project.
///
/// # Errors
/// [`ControlError::NotFound`].
pub(super) fn version(tx: &dyn Tx, project: &Id, number: u32) -> Result<Version, ControlError> {
    tx.version(project, number)?.ok_or(ControlError::NotFound)
}

/// What people call a user or token: e-mail or description, else the id.
///
/// # Errors
/// The store's.
pub(super) fn name_of(tx: &dyn Tx, id: &Id) -> Result<String, ControlError> {
    if let Some(user) = tx.user(id)? {
        return Ok(user.email);
    }
    let token = tx.admin_token(id)?;
    Ok(token.map_or_else(|| id.as_str().to_owned(), |token| token.description))
}

/// What the refusal of an action on a version names.
///
/// # Errors
/// The store's.
pub(super) fn facts(tx: &dyn Tx, project: &Project, version: &Version) -> Result<Facts, ControlError> {
    let approved = match (&version.approver, version.approved_at) {
        (Some(approver), Some(at)) => Some((name_of(tx, approver)?, at.rfc3339())),
        _ => None,
    };
    Ok(Facts { number: version.number, approved, generation: project.generation })
}

/// Refuses unless the object is as the caller last saw it.
///
/// # Errors
/// [`ControlError::Stale`].
pub(super) fn expect_revision(current: u64, expected: u64) -> Result<(), ControlError> {
    if current == expected { Ok(()) } else { Err(ControlError::Stale { current }) }
}

/// An event about a project or something of it.
pub(super) fn event(actor: &Actor, action: &str, object: &str, project: &Project) -> AuditEvent {
    AuditEvent {
        organization: Some(project.organization.clone()),
        project: Some(project.id.clone()),
        ..actor.event(action, object)
    }
}

/// A project as audit events hold it.
pub(super) fn project_json(project: &Project) -> Value {
    let tags: serde_json::Map<String, Value> =
        project.tags.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    json!({
        "name": project.name,
        "slug": project.slug,
        "description": project.description,
        "environment": project.environment,
        "tags": tags,
        "mode": project.mode,
        "caching_enabled": project.caching_enabled,
        "cache_duration_seconds": project.cache_duration_seconds,
        "require_second_approver": project.require_second_approver,
        "retention_days": project.retention_days,
        "log_payloads": project.log_payloads,
        "lifecycle": project.lifecycle,
        "served_version": project.served_version,
        "open_version": project.open_version,
        "generation": project.generation,
    })
}

/// A version as audit events hold it: the text by its digest.
pub(super) fn version_json(version: &Version) -> Value {
    json!({
        "version": version.number,
        "state": version.state,
        "digest": hex(&version.digest),
        "bytes": version.size,
        "approver": version.approver.as_ref().map(Id::as_str),
        "copied_from": version.copied_from,
    })
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

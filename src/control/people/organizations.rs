//! Organizations: list, create, change, suspend, delete.

use std::sync::Arc;

use super::super::{
    actor::Actor,
    error::{ControlError, FieldProblem},
    gate,
    instance::Control,
    instance_settings::{InstanceSettings, PROJECT_LIMIT_MAX, RETENTION_DAYS_MAX, instance_settings},
    keys::KeyChange,
    login::{first_organization, note_environment_owns},
    permit::{Capability, Scope, permit},
};
use super::live::{Gone, keys_of};
use crate::{
    base::{Id, IdKind, unix_time},
    store::{
        ApiKey, Member, Order, Organization, OrganizationRole, OrganizationStatus, Page, PageRequest, ProjectFilter, Tx,
    },
};

/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 255;

/// What is to change; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct OrganizationPatch {
    /// The name.
    pub name: Option<String>,
    /// Active or suspended; by an instance administrator.
    pub status: Option<OrganizationStatus>,
    /// Projects at most; by an instance administrator.
    pub project_limit: Option<u32>,
    /// Active keys at most; `Some(None)` lifts the limit.
    pub active_key_limit: Option<Option<u32>>,
    /// Days that logs are kept; by an owner.
    pub default_retention_days: Option<u32>,
    /// Whether prompts and answers are kept; by an owner.
    pub log_payloads: Option<bool>,
    /// Whether approval needs another person.
    pub require_second_approver: Option<bool>,
}

impl Control {
    /// Organizations that the caller may see: own ones, and all for an instance administrator.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn organizations(&self, actor: &Actor, page: PageRequest) -> Result<Page<Organization>, ControlError> {
        let own: Vec<Id> = actor.memberships.iter().map(|own| own.organization.clone()).collect();
        let everything = actor.instance_admin;
        Ok(self.store().read(move |tx| tx.organizations((!everything).then_some(own.as_slice()), &page)).await?)
    }

    /// One organization.
    ///
    /// # Errors
    /// As [`permit`].
    pub async fn organization(&self, actor: &Actor, id: Id) -> Result<Organization, ControlError> {
        permit(actor, Capability::OrganizationRead, Scope::Organization(&id))?;
        self.store().read(move |tx| tx.organization(&id)?.ok_or(ControlError::NotFound)).await
    }

    /// Makes an organization; a caller who is a user becomes its owner.
    ///
    /// # Errors
    /// As [`permit`]; a field problem for the name.
    pub async fn create_organization(&self, actor: &Actor, name: &str) -> Result<Organization, ControlError> {
        permit(actor, Capability::OrganizationCreate, Scope::Instance)?;
        let (id, name, actor) = (Id::random(IdKind::Organization)?, checked_name(name)?, actor.clone());
        self.store()
            .write(move |tx| {
                let row = new_organization(id, name, &instance_settings(tx)?);
                tx.insert_organization(&row)?;
                match tx.user(&actor.author)? {
                    Some(user) => tx.insert_member(&owner_of(&row, user.id, user.email))?,
                    None => note_environment_owns(tx, &row.id)?,
                }
                let mut event = actor.event("organization.create", row.id.as_str());
                event.organization = Some(row.id.clone());
                event.after = shown(&row);
                tx.append_audit(&event)?;
                Ok(row)
            })
            .await
    }

    /// Changes an organization whose revision is `expected`. Suspension refuses its keys on the data plane before the call
    /// returns; activation lets them in again.
    ///
    /// # Errors
    /// As [`permit`] for each field; [`ControlError::Stale`]; field problems.
    pub async fn change_organization(
        self: &Arc<Self>,
        actor: &Actor,
        id: Id,
        expected: u64,
        patch: OrganizationPatch,
    ) -> Result<Organization, ControlError> {
        let (actor, meters, captures) = (actor.clone(), self.meters(), patch.log_payloads.is_some());
        let whose = id.clone();
        if patch.status.is_none() {
            let changed = self
                .store()
                .write(move |tx| change(tx, &actor, (&id, expected), patch).map(|(changed, _)| changed))
                .await?;
            if captures {
                self.show_captured(whose).await?;
            }
            return Ok(changed);
        }
        let changed = self.commit_and_show(
            move |tx| {
                let (changed, keys) = change(tx, &actor, (&id, expected), patch)?;
                let mut shown = KeyChange::new(meters);
                shown.replace_all(tx, &id, &keys)?;
                Ok((shown, changed))
            },
            |edit, shown| shown.put(edit),
        );
        let changed = changed.await?;
        if captures {
            self.show_captured(whose).await?;
        }
        Ok(changed)
    }

    /// Deletes an organization and everything in it, but for its audit events.
    ///
    /// # Errors
    /// As [`permit`]; a field problem when `confirm` is not its name; [`ControlError::InUse`] while it serves a project.
    pub async fn delete_organization(
        self: &Arc<Self>,
        actor: &Actor,
        id: Id,
        expected: u64,
        confirm: String,
    ) -> Result<(), ControlError> {
        let (actor, registries) = (actor.clone(), self.registries());
        self.commit_and_show(
            move |tx| Ok(((delete(tx, &actor, (&id, expected), &confirm)?, id), ())),
            move |edit, (gone, id)| {
                gone.hide(edit);
                registries.credits.forget_organization(id.as_str());
            },
        )
        .await
    }
}

/// Returns the keys that workers must see anew.
fn change(
    tx: &mut dyn Tx,
    actor: &Actor,
    (id, expected): (&Id, u64),
    patch: OrganizationPatch,
) -> Result<(Organization, Vec<ApiKey>), ControlError> {
    permit_patch(actor, id, &patch)?;
    let before = gate::usable_organization(tx, actor, id)?;
    gate::expect_revision(before.revision, expected)?;
    let after = applied(before.clone(), patch)?;
    if after == before {
        return Ok((before, Vec::new()));
    }
    tx.update_organization(&after)?;
    let mut event = actor.event("organization.update", id.as_str());
    event.organization = Some(id.clone());
    (event.before, event.after) = (shown(&before), shown(&after));
    tx.append_audit(&event)?;
    let keys = if after.status == before.status { Vec::new() } else { keys_of(tx, id)? };
    Ok((tx.organization(id)?.ok_or(ControlError::NotFound)?, keys))
}

fn delete(tx: &mut dyn Tx, actor: &Actor, (id, expected): (&Id, u64), confirm: &str) -> Result<Gone, ControlError> {
    permit(actor, Capability::OrganizationDelete, Scope::Organization(id))?;
    let before = gate::usable_organization(tx, actor, id)?;
    if before.name != confirm {
        return Err(ControlError::field(
            "confirm",
            "must be the name of the organization, since nothing brings it back",
        ));
    }
    gate::expect_revision(before.revision, expected)?;
    if first_organization(tx).is_ok_and(|first| first == *id) {
        return Err(ControlError::InUse("the first organization stays; rename it instead".to_owned()));
    }
    let served = ProjectFilter { served: Some(true), ..ProjectFilter::default() };
    let one = PageRequest { limit: 1, after: None, order: Order::Ascending };
    if let Some(project) = tx.projects(id, &served, &one)?.rows.first() {
        let said = format!("project `{}` is served; unserve or archive it first", project.slug);
        return Err(ControlError::InUse(said));
    }
    let gone = Gone::of(tx, id)?;
    tx.delete_organization(id)?;
    let mut event = actor.event("organization.delete", id.as_str());
    event.organization = Some(id.clone());
    event.before = shown(&before);
    tx.append_audit(&event)?;
    Ok(gone)
}

/// Each field has its own rule in the matrix.
fn permit_patch(actor: &Actor, id: &Id, patch: &OrganizationPatch) -> Result<(), ControlError> {
    let scope = Scope::Organization(id);
    let fields = [
        (Capability::OrganizationCreate, patch.status.is_some() || patch.project_limit.is_some()),
        (Capability::OrganizationDelete, patch.default_retention_days.is_some() || patch.log_payloads.is_some()),
        (
            Capability::OrganizationWrite,
            patch.name.is_some() || patch.active_key_limit.is_some() || patch.require_second_approver.is_some(),
        ),
    ];
    let mut asked = fields.into_iter().filter(|(_, is_asked)| *is_asked).map(|(capability, _)| capability).peekable();
    if asked.peek().is_none() {
        return permit(actor, Capability::OrganizationWrite, scope).map(drop);
    }
    asked.try_for_each(|capability| permit(actor, capability, scope).map(drop))
}

fn applied(mut row: Organization, patch: OrganizationPatch) -> Result<Organization, ControlError> {
    let mut problems = Vec::new();
    if let Some(name) = patch.name {
        match checked_name(&name) {
            Ok(name) => row.name = name,
            Err(ControlError::Invalid(found)) => problems.extend(found),
            Err(error) => return Err(error),
        }
    }
    if let Some(limit) = patch.project_limit {
        if limit > PROJECT_LIMIT_MAX {
            problems.push(FieldProblem::new("project_limit", format!("0 to {PROJECT_LIMIT_MAX}")));
        }
        row.project_limit = limit;
    }
    if let Some(days) = patch.default_retention_days {
        if !(1..=RETENTION_DAYS_MAX).contains(&days) {
            problems.push(FieldProblem::new("default_retention_days", format!("1 to {RETENTION_DAYS_MAX}")));
        }
        row.default_retention_days = days;
    }
    row.status = patch.status.unwrap_or(row.status);
    row.active_key_limit = patch.active_key_limit.unwrap_or(row.active_key_limit);
    row.log_payloads = patch.log_payloads.unwrap_or(row.log_payloads);
    row.require_second_approver = patch.require_second_approver.unwrap_or(row.require_second_approver);
    if problems.is_empty() { Ok(row) } else { Err(ControlError::Invalid(problems)) }
}

/// Brings a name into the form in which it is stored.
fn checked_name(text: &str) -> Result<String, ControlError> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let message = format!("1 to {NAME_CHARS_MAX} characters without control characters");
        return Err(ControlError::field("name", message));
    }
    Ok(name.to_owned())
}

fn new_organization(id: Id, name: String, settings: &InstanceSettings) -> Organization {
    Organization {
        id,
        name,
        status: OrganizationStatus::Active,
        project_limit: settings.default_project_limit,
        active_key_limit: None,
        default_retention_days: settings.default_retention_days,
        log_payloads: false,
        require_second_approver: false,
        created_at: unix_time(),
        revision: 1,
    }
}

fn owner_of(organization: &Organization, user: Id, email: String) -> Member {
    Member {
        organization: organization.id.clone(),
        user,
        email,
        role: OrganizationRole::Owner,
        grants: Vec::new(),
        active_key_limit: None,
        last_seen_at: None,
        created_at: organization.created_at,
        revision: 1,
    }
}

/// The organization as the audit log keeps it.
fn shown(row: &Organization) -> String {
    serde_json::json!({
        "name": row.name,
        "status": row.status,
        "project_limit": row.project_limit,
        "active_key_limit": row.active_key_limit,
        "default_retention_days": row.default_retention_days,
        "log_payloads": row.log_payloads,
        "require_second_approver": row.require_second_approver,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_changes_what_it_names() {
        let row = new_organization(Id::stored("org_a"), "Acme".to_owned(), &InstanceSettings::default());
        let patch = OrganizationPatch {
            project_limit: Some(20),
            active_key_limit: Some(Some(5)),
            ..OrganizationPatch::default()
        };
        let changed = applied(row.clone(), patch).unwrap();
        assert_eq!((changed.project_limit, changed.active_key_limit), (20, Some(5)));
        assert_eq!(applied(row.clone(), OrganizationPatch::default()).unwrap(), row);
        let lifted = OrganizationPatch { active_key_limit: Some(None), ..OrganizationPatch::default() };
        assert_eq!(applied(changed, lifted).unwrap().active_key_limit, None);
    }

    #[test]
    fn every_bad_field_is_named() {
        let row = new_organization(Id::stored("org_a"), "Acme".to_owned(), &InstanceSettings::default());
        let patch = OrganizationPatch {
            name: Some(" \u{7} ".to_owned()),
            project_limit: Some(PROJECT_LIMIT_MAX + 1),
            default_retention_days: Some(0),
            ..OrganizationPatch::default()
        };
        let Err(ControlError::Invalid(problems)) = applied(row, patch) else {
            panic!("accepted");
        };
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["name", "project_limit", "default_retention_days"]);
    }
}

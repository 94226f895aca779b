//! Who needs a secret or a provider key.

use super::super::error::ControlError;
use super::live::projects_of;
use crate::{
    config::{Model, ProjectContext, Provider, check_project},
    store::{KeyStatus, Mode, Owner, Project, ProviderKey, Secret, Tx},
};

/// Served and open versions that name a secret, as `slug version N`.
///
/// # Errors
/// The store's.
pub(super) fn users_of_secret(tx: &dyn Tx, secret: &Secret) -> Result<Vec<String>, ControlError> {
    let mut concerned = Vec::new();
    for project in projects_of(tx, &secret.owner)? {
        let is_shared = secret.shared_with.as_ref().is_none_or(|among| among.contains(&project.id));
        if is_shared && !has_its_own(tx, &project, secret)? {
            concerned.push(project);
        }
    }
    users(tx, concerned, |model| model.api_key.as_ref().is_some_and(|key| key.value == secret.name))
}

/// Whether a project has a secret of this name itself, which comes before that of the organization.
fn has_its_own(tx: &dyn Tx, project: &Project, secret: &Secret) -> Result<bool, ControlError> {
    if matches!(secret.owner, Owner::Project(_)) {
        return Ok(false);
    }
    let own = tx.secrets(&Owner::Project(project.id.clone()))?;
    Ok(own.iter().any(|other| other.name == secret.name && other.value.is_some()))
}

/// Served and open versions with a model of the key's provider that brings no key of its own, as `slug version N`; not
/// those for which another key of the same provider and place stands ready.
///
/// # Errors
/// The store's.
pub(super) fn users_of_provider_key(tx: &dyn Tx, key: &ProviderKey) -> Result<Vec<String>, ControlError> {
    if !is_ready(key) {
        return Ok(Vec::new());
    }
    let mut concerned = Vec::new();
    for project in projects_of(tx, &key.owner)? {
        let mut others = tx.provider_keys(&Owner::Project(project.id.clone()))?;
        others.extend(tx.provider_keys(&Owner::Organization(project.organization.clone()))?);
        let replaces = |other: &ProviderKey| {
            other.id != key.id && is_ready(other) && other.provider == key.provider && other.base_url == key.base_url
        };
        if project.mode != Mode::Credits && !others.iter().any(replaces) {
            concerned.push(project);
        }
    }
    users(tx, concerned, |model| model.api_key.is_none() && model.provider.name() == key.provider)
}

fn is_ready(key: &ProviderKey) -> bool {
    key.status == KeyStatus::Active && key.value.is_some()
}

fn users(tx: &dyn Tx, projects: Vec<Project>, needs: impl Fn(&Model) -> bool) -> Result<Vec<String>, ControlError> {
    let mut found = Vec::new();
    for project in projects {
        let open = project.open_version.filter(|open| project.served_version != Some(*open));
        for number in project.served_version.into_iter().chain(open) {
            let text = tx.version_text(&project.id, number)?.unwrap_or_default();
            if models_of(&text).iter().any(&needs) {
                found.push(format!("`{}` version {number}", project.slug));
            }
        }
    }
    Ok(found)
}

/// A draft may be anything: only what can be read can need something.
fn models_of(text: &[u8]) -> Vec<Model> {
    let context = ProjectContext { secret_names: None, provider_keys: &Provider::ALL };
    check_project(text, context).map(|checked| checked.config.models).unwrap_or_default()
}

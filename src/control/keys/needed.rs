//! Who needs a secret or a provider key.

use std::collections::BTreeSet;

use super::super::error::ControlError;
use crate::{
    base::Id,
    config::{ProjectContext, check_project},
    store::{Owner, Project, ProviderKey, Secret, Tx},
};

/// Served and open versions that name a secret, as `slug version N`.
pub(super) fn needed_by(tx: &dyn Tx, organization: &Id, secret: &Secret) -> Result<Vec<String>, ControlError> {
    users(tx, organization, &secret.owner, |text| names_secret(text, &secret.name))
}

/// Served and open versions with a model of the key's provider that brings no key of its own, as `slug version N`.
pub(super) fn served_by(tx: &dyn Tx, organization: &Id, key: &ProviderKey) -> Result<Vec<String>, ControlError> {
    let others = tx.provider_keys(&key.owner)?;
    let is_spare = others.iter().any(|other| other.id != key.id && other.provider == key.provider && other.value.is_some());
    if is_spare {
        return Ok(Vec::new());
    }
    users(tx, organization, &key.owner, |text| asks_provider(text, &key.provider))
}

fn users(
    tx: &dyn Tx,
    organization: &Id,
    owner: &Owner,
    needs: impl Fn(&[u8]) -> bool,
) -> Result<Vec<String>, ControlError> {
    let concerned: Vec<Project> = match owner {
        Owner::Project(id) => tx.project(id)?.into_iter().collect(),
        Owner::Organization(_) => {
            tx.all_projects()?.into_iter().filter(|project| project.organization == *organization).collect()
        }
    };
    let mut found = Vec::new();
    for project in concerned {
        let numbers: BTreeSet<u32> = [project.served_version, project.open_version].into_iter().flatten().collect();
        for number in numbers {
            let text = tx.version_text(&project.id, number)?.unwrap_or_default();
            if needs(&text) {
                found.push(format!("`{}` version {number}", project.slug));
            }
        }
    }
    Ok(found)
}

/// A draft may be anything; only what can be read can need something.
fn names_secret(text: &[u8], name: &str) -> bool {
    let Ok(checked) = check_project(text, ProjectContext::default()) else {
        return false;
    };
    checked.config.models.iter().any(|model| model.api_key.as_ref().is_some_and(|key| key.value == name))
}

fn asks_provider(text: &[u8], provider: &str) -> bool {
    let Ok(checked) = check_project(text, ProjectContext::default()) else {
        return false;
    };
    checked.config.models.iter().any(|model| model.api_key.is_none() && model.provider.name() == provider)
}

//! What a project's configuration may use: opened seals.
//!
//! Its own secrets win over those of its organization with the same name, its own provider keys come before those of its
//! organization. A value that does not open is left out: the compiler then says which name is missing.

use std::collections::BTreeMap;

use super::super::{error::ControlError, vault::Vault};
use super::{provider_key, secret};
use crate::{
    base::log::{Level, Value, emit},
    config::find_provider,
    snapshot::{BoundSecret, ProviderKey as UsableKey},
    store::{KeyStatus, Owner, Project, ProviderKey, Secret, Tx},
    upstream::BoundOrigin,
};

/// Sealed records that concern one project. Read in a transaction, opened outside of it.
pub struct Sealings {
    secrets: Vec<Secret>,
    provider_keys: Vec<ProviderKey>,
}

/// What a configuration of the project may name or use.
#[derive(Default)]
pub struct Usable {
    /// Values by name.
    pub secrets: BTreeMap<String, BoundSecret>,
    /// Keys in the order in which they are tried.
    pub provider_keys: Vec<UsableKey>,
}

impl Sealings {
    /// Reads what concerns a project, the organization's first.
    ///
    /// # Errors
    /// The store's.
    pub fn of(tx: &dyn Tx, project: &Project) -> Result<Self, ControlError> {
        let organization = Owner::Organization(project.organization.clone());
        let own = Owner::Project(project.id.clone());
        let is_shared = |secret: &Secret| secret.shared_with.as_ref().is_none_or(|ids| ids.contains(&project.id));
        let mut secrets: Vec<_> = tx.secrets(&organization)?.into_iter().filter(is_shared).collect();
        secrets.extend(tx.secrets(&own)?);
        let mut provider_keys = tx.provider_keys(&own)?;
        provider_keys.extend(tx.provider_keys(&organization)?);
        provider_keys.retain(|key| key.status == KeyStatus::Active);
        Ok(Self { secrets, provider_keys })
    }

    /// Opens the seals.
    #[must_use]
    pub fn open(&self, vault: &Vault) -> Usable {
        let mut usable = Usable::default();
        for row in &self.secrets {
            let Some(sealed) = &row.value else {
                // The project's own name without a value hides the organization's: it must not be used by accident.
                usable.secrets.remove(&row.name);
                continue;
            };
            let Ok(value) = vault.open_text(secret::place(row, sealed.version), &sealed.bytes) else {
                unopened("secret", row.id.as_str());
                usable.secrets.remove(&row.name);
                continue;
            };
            let origins = row.bound_origins.iter().filter_map(|text| text.parse::<BoundOrigin>().ok()).collect();
            usable.secrets.insert(row.name.clone(), BoundSecret { value, origins: Some(origins) });
        }
        for row in &self.provider_keys {
            let (Some(sealed), Some(provider)) = (&row.value, find_provider(&row.provider)) else {
                continue;
            };
            let origins = provider_key::origins(row);
            match vault.open_text(provider_key::place(row, sealed.version, &origins), &sealed.bytes) {
                Ok(value) => {
                    usable.provider_keys.push(UsableKey { provider, value, base_url: row.base_url.clone() });
                }
                Err(_) => unopened("provider key", row.id.as_str()),
            }
        }
        usable
    }
}

fn unopened(kind: &str, id: &str) {
    let fields = [("kind", Value::Text(kind)), ("id", Value::Text(id))];
    emit(Level::Error, "a sealed value does not open with any master key; enter it again", &fields);
}

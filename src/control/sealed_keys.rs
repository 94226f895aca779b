//! Secrets and provider keys that a project may use.
//!
//! A project's own come before its organization's. Rows are read inside a transaction and opened outside of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    base::Id,
    config::Provider,
    snapshot::{BoundSecret, ProviderKey as OpenKey},
    store::{KeyStatus, Mode, Owner, Project, ProviderKey, Secret, Tx},
};

use super::{
    error::ControlError,
    vault::{Place, Purpose, Vault},
};

/// What is stored for a project, sealed.
#[derive(Debug, Clone)]
pub struct SealedKeys {
    /// Those that the project may name, the first of a name wins.
    secrets: Vec<Secret>,
    /// Those for models without a key of their own, in order.
    provider_keys: Vec<ProviderKey>,
}

/// What is stored for a project, opened: as long as a configuration is checked and compiled.
pub struct OpenedKeys {
    /// Every name that the project may use, those without a value included.
    pub names: BTreeSet<String>,
    /// Values by name.
    pub secrets: Arc<BTreeMap<String, BoundSecret>>,
    /// Keys in order.
    pub provider_keys: Vec<OpenKey>,
    /// Ids of records whose seal does not open: made under another master key, or damaged.
    pub unreadable: Vec<Id>,
}

impl SealedKeys {
    /// Reads what is stored for a project.
    ///
    /// # Errors
    /// The store's.
    pub fn read(tx: &dyn Tx, project: &Project) -> Result<Self, ControlError> {
        let own = Owner::Project(project.id.clone());
        let of_organization = Owner::Organization(project.organization.clone());
        let mut secrets = tx.secrets(&own)?;
        let shared = tx.secrets(&of_organization)?.into_iter();
        secrets.extend(
            shared.filter(|secret| secret.shared_with.as_ref().is_none_or(|projects| projects.contains(&project.id))),
        );
        let mut provider_keys = Vec::new();
        // SealedKeys of its own are not used where credits pay.
        if project.mode != Mode::Credits {
            provider_keys = tx.provider_keys(&own)?;
            provider_keys.extend(tx.provider_keys(&of_organization)?);
            provider_keys.retain(|key| key.status == KeyStatus::Active);
        }
        Ok(Self { secrets, provider_keys })
    }

    /// Opens the seals.
    #[must_use]
    pub fn open(&self, vault: &Vault) -> OpenedKeys {
        let mut opened = OpenedKeys {
            names: self.secrets.iter().map(|secret| secret.name.clone()).collect(),
            secrets: Arc::default(),
            provider_keys: Vec::new(),
            unreadable: Vec::new(),
        };
        let mut secrets: BTreeMap<String, BoundSecret> = BTreeMap::new();
        for secret in &self.secrets {
            let Some(sealed) = secret.value.as_ref().filter(|_| !secrets.contains_key(&secret.name)) else {
                continue;
            };
            match vault.open_text(place_of_secret(secret, sealed.version), &sealed.bytes) {
                Ok(value) => {
                    // A place that cannot be read is none: the secret is then sent nowhere.
                    let origins = secret.bound_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
                    secrets.insert(secret.name.clone(), BoundSecret { value, origins: Some(origins) });
                }
                Err(_) => opened.unreadable.push(secret.id.clone()),
            }
        }
        opened.secrets = Arc::new(secrets);
        for key in &self.provider_keys {
            let (Some(sealed), Some(provider)) = (&key.value, provider_named(&key.provider)) else {
                continue;
            };
            let origins = origins_of(key);
            match vault.open_text(place_of_provider_key(key, sealed.version, &origins), &sealed.bytes) {
                Ok(value) => opened.provider_keys.push(OpenKey { provider, value, base_url: key.base_url.clone() }),
                Err(_) => opened.unreadable.push(key.id.clone()),
            }
        }
        opened
    }
}

/// The provider of this name.
#[must_use]
pub fn provider_named(name: &str) -> Option<Provider> {
    Provider::ALL.into_iter().find(|provider| provider.name() == name)
}

/// Where the seal of a secret belongs.
#[must_use]
pub fn place_of_secret(secret: &Secret, version: u32) -> Place<'_> {
    Place {
        purpose: Purpose::Secret,
        owner: owner_id(&secret.owner),
        record: secret.id.as_str(),
        version,
        origins: &secret.bound_origins,
    }
}

/// Where the seal of a provider key belongs; `origins` are those of [`origins_of`].
#[must_use]
pub fn place_of_provider_key<'a>(key: &'a ProviderKey, version: u32, origins: &'a [String]) -> Place<'a> {
    Place { purpose: Purpose::ProviderKey, owner: owner_id(&key.owner), record: key.id.as_str(), version, origins }
}

/// The address that a provider key was entered for; none for the provider's own.
#[must_use]
pub fn origins_of(key: &ProviderKey) -> Vec<String> {
    key.base_url.iter().cloned().collect()
}

fn owner_id(owner: &Owner) -> &str {
    match owner {
        Owner::Organization(id) | Owner::Project(id) => id.as_str(),
    }
}

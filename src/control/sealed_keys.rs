//! Secrets and provider keys that a project may use.
//!
//! A project's own come before its organization's. Rows are read inside a transaction and opened outside of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    base::Id,
    config::{self, Provider},
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
    /// Those of the platform.
    platform_keys: Vec<ProviderKey>,
}

/// What is stored for a project, opened: as long as a configuration is checked and compiled.
pub struct OpenedKeys {
    /// Every name that the project may use, those without a value included.
    pub names: BTreeSet<String>,
    /// Values by name.
    pub secrets: Arc<BTreeMap<String, BoundSecret>>,
    /// Keys in order.
    pub provider_keys: Vec<OpenKey>,
    /// Keys of the platform.
    pub platform_keys: Vec<OpenKey>,
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
        // Which of them may be used is for the configuration's mode to say.
        let mut provider_keys = tx.provider_keys(&own)?;
        provider_keys.extend(tx.provider_keys(&of_organization)?);
        provider_keys.retain(|key| key.status == KeyStatus::Active);
        let platform_keys = tx.provider_keys(&Owner::Instance)?;
        Ok(Self { secrets, provider_keys, platform_keys })
    }

    /// Opens the seals.
    #[must_use]
    pub fn open(&self, vault: &Vault) -> OpenedKeys {
        let mut opened = OpenedKeys {
            names: self.secrets.iter().map(|secret| secret.name.clone()).collect(),
            secrets: Arc::default(),
            provider_keys: Vec::new(),
            platform_keys: Vec::new(),
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
                    let record = Some(secret.id.as_str().into());
                    secrets.insert(secret.name.clone(), BoundSecret { value, origins: Some(origins), record });
                }
                Err(_) => opened.unreadable.push(secret.id.clone()),
            }
        }
        opened.secrets = Arc::new(secrets);
        opened.provider_keys = opened_keys(&self.provider_keys, vault, &mut opened.unreadable);
        opened.platform_keys = opened_keys(&self.platform_keys, vault, &mut opened.unreadable);
        opened
    }
}

fn opened_keys(keys: &[ProviderKey], vault: &Vault, unreadable: &mut Vec<Id>) -> Vec<OpenKey> {
    let mut opened = Vec::with_capacity(keys.len());
    for key in keys {
        let (Some(sealed), Some(provider)) = (&key.value, provider_named(&key.provider)) else {
            continue;
        };
        let origins = origins_of(key);
        match vault.open_text(place_of_provider_key(key, sealed.version, &origins), &sealed.bytes) {
            Ok(value) => {
                let (base_url, record) = (key.base_url.clone(), key.id.as_str().into());
                opened.push(OpenKey { provider, value, base_url, record });
            }
            Err(_) => unreadable.push(key.id.clone()),
        }
    }
    opened
}

/// The mode of a project's setting, as configurations have it.
pub(super) fn mode_of(setting: Mode) -> config::Mode {
    match setting {
        Mode::Hybrid => config::Mode::Hybrid,
        Mode::ApiKeys => config::Mode::ApiKeys,
        Mode::Credits => config::Mode::Credits,
    }
}

/// The mode of a configuration, as settings have it.
pub(super) fn setting_of(mode: config::Mode) -> Mode {
    match mode {
        config::Mode::Hybrid => Mode::Hybrid,
        config::Mode::ApiKeys => Mode::ApiKeys,
        config::Mode::Credits => Mode::Credits,
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
        Owner::Instance => "instance",
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        base::{IdKind, unix_time},
        store::Sealed,
    };

    use super::super::{
        ControlError, Intent,
        tests::{Rig, kind},
    };
    use super::*;

    const NAMES_SECRET: &str = "chat_models:\n  - model_id: m\n    model: openai/x\n    credentials: {api_key: !secret KEY, \
                                base_url: \"https://api.example.com/v1\"}\nroutes: {chat: {chat_models: [m]}}\n";

    /// A secret `KEY` for one place, sealed as the vault of the rig does.
    fn secret(vault: &Vault, owner: Owner, bound_to: &str, shared_with: Option<Vec<Id>>) -> Secret {
        let mut row = Secret {
            id: Id::random(IdKind::Secret).unwrap(),
            owner,
            name: "KEY".to_owned(),
            bound_origins: vec![bound_to.to_owned()],
            shared_with,
            value: None,
            created_at: unix_time(),
            revision: 1,
        };
        let bytes = vault.seal(place_of_secret(&row, 1), b"sk-canary").unwrap();
        row.value = Some(Sealed {
            bytes,
            version: 1,
            last4: String::new(),
            fingerprint: "0".repeat(16),
            entered_at: unix_time(),
        });
        row
    }

    #[tokio::test]
    async fn s1_21_approval_needs_the_secret_for_the_place_it_goes_to() {
        const HERE: &str = "https://api.example.com";
        for (name, stored, want) in [
            ("none", None, Some("unknown_secret")),
            ("own", Some((true, HERE, true)), None),
            ("bound to another place", Some((true, "https://evil.example", true)), Some("secret_host_mismatch")),
            ("shared by the organization", Some((false, HERE, true)), None),
            ("kept from the project", Some((false, HERE, false)), Some("unknown_secret")),
        ] {
            let rig = Rig::new().await;
            let id = rig.project_id("chat").await;
            if let Some((own, place, shared)) = stored {
                let owner =
                    if own { Owner::Project(id.clone()) } else { Owner::Organization(rig.organization.clone()) };
                let row = secret(&rig.control.vault(), owner, place, (!shared).then(Vec::new));
                rig.control.store().write(move |tx| Ok::<_, ControlError>(tx.insert_secret(&row)?)).await.unwrap();
            }
            let number = rig.save(&id, NAMES_SECRET).await;
            let outcome = rig.control.approve(&rig.owner, &id, number, String::new()).await;
            match (&outcome, want) {
                (Ok(_), None) => {
                    let served = rig.control.serve(&rig.owner, &id, number, Intent::default()).await;
                    assert_eq!(kind(&served), "ok", "{name}");
                }
                (Err(ControlError::ConfigInvalid(refusals)), Some(code)) => {
                    assert_eq!(refusals[0].problem.code.as_str(), code, "{name}");
                    assert!(!format!("{refusals:?}").contains("canary"), "{name}");
                }
                _ => panic!("{name}: {}", kind(&outcome)),
            }
        }
    }

    #[tokio::test]
    async fn secret_of_another_master_key_breaks_its_project_and_is_not_sent() {
        let rig = Rig::new().await;
        let id = rig.project_id("chat").await;
        let other = Vault::parse(&"a5".repeat(32)).unwrap();
        let row = secret(&other, Owner::Project(id.clone()), "https://api.example.com", None);
        let unreadable = row.id.clone();
        rig.control.store().write(move |tx| Ok::<_, ControlError>(tx.insert_secret(&row)?)).await.unwrap();
        let project = rig.state(&id).await.project;
        let keys = rig.control.store().read(move |tx| SealedKeys::read(tx, &project)).await.unwrap();
        let opened = keys.open(&rig.control.vault());
        assert!(opened.secrets.is_empty() && opened.unreadable == [unreadable]);
        let number = rig.save(&id, NAMES_SECRET).await;
        assert_eq!(kind(&rig.control.approve(&rig.owner, &id, number, String::new()).await), "config_invalid");
    }
}

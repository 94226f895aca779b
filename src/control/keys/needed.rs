//! Who needs a secret or a provider key.

use super::super::{error::ControlError, sealed_keys::mode_of};
use super::live::projects_of;
use crate::{
    config::{Mode, Model, ProjectContext, Provider, check_project},
    store::{KeyStatus, Owner, Project, ProviderKey, Secret, Tx},
};

/// What can be read of the served and open versions that may use what an owner has. Read once for many records.
pub(super) struct Versions {
    projects: Vec<Reader>,
}

struct Reader {
    project: Project,
    /// Secrets of its own that have a value.
    own_secrets: Vec<String>,
    /// Its own provider keys and those of its organization.
    provider_keys: Vec<ProviderKey>,
    versions: Vec<Version>,
}

impl Versions {
    /// Reads them.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn read(tx: &dyn Tx, owner: &Owner) -> Result<Self, ControlError> {
        let mut projects = Vec::new();
        for project in projects_of(tx, owner)? {
            let open = project.open_version.filter(|open| project.served_version != Some(*open));
            let mut versions = Vec::new();
            for number in project.served_version.into_iter().chain(open) {
                let text = tx.version_text(&project.id, number)?.unwrap_or_default();
                versions.push(Version::read(number, mode_of(project.mode), &text));
            }
            let own = Owner::Project(project.id.clone());
            let own_secrets = tx.secrets(&own)?.into_iter().filter(|secret| secret.value.is_some());
            let own_secrets = own_secrets.map(|secret| secret.name).collect();
            let mut provider_keys = tx.provider_keys(&own)?;
            provider_keys.extend(tx.provider_keys(&Owner::Organization(project.organization.clone()))?);
            projects.push(Reader { project, own_secrets, provider_keys, versions });
        }
        Ok(Self { projects })
    }

    /// Those that name a secret, as `slug version N`. A project's own secret of the name comes before the organization's.
    pub(super) fn users_of_secret(&self, secret: &Secret) -> Vec<String> {
        let is_shared = |project: &Project| secret.shared_with.as_ref().is_none_or(|among| among.contains(&project.id));
        let is_hidden = |reader: &Reader| {
            matches!(secret.owner, Owner::Organization(_)) && reader.own_secrets.contains(&secret.name)
        };
        self.users(
            |reader| is_shared(&reader.project) && !is_hidden(reader),
            |_, model| model.api_key.as_ref().is_some_and(|key| key.value == secret.name),
        )
    }

    /// Those with a model of the key's provider that brings no key of its own, as `slug version N`; not those for which
    /// another key of the same provider and place stands ready.
    pub(super) fn users_of_provider_key(&self, key: &ProviderKey) -> Vec<String> {
        if !is_ready(key) {
            return Vec::new();
        }
        let replaces = |other: &ProviderKey| {
            other.id != key.id && is_ready(other) && other.provider == key.provider && other.base_url == key.base_url
        };
        let is_meant = |model: &Model| model.api_key.is_none() && model.provider.name() == key.provider;
        if key.owner == Owner::Instance {
            let has_own =
                |reader: &Reader| reader.provider_keys.iter().any(|own| is_ready(own) && own.provider == key.provider);
            let of_credits = self.users(|_| true, |mode, model| mode == Mode::Credits && is_meant(model));
            let is_last = |mode, model: &Model| mode == Mode::Hybrid && is_meant(model) && model.base_url.is_none();
            let of_hybrid = self.users(|reader| !has_own(reader), is_last);
            return of_credits.into_iter().chain(of_hybrid).collect();
        }
        self.users(
            |reader| !reader.provider_keys.iter().any(replaces),
            |mode, model| mode != Mode::Credits && is_meant(model),
        )
    }

    fn users(&self, concerns: impl Fn(&Reader) -> bool, needs: impl Fn(Mode, &Model) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for reader in self.projects.iter().filter(|reader| concerns(reader)) {
            let is_needing = |version: &&Version| version.models.iter().any(|model| needs(version.mode, model));
            let needing = reader.versions.iter().filter(is_needing);
            found.extend(needing.map(|version| format!("`{}` version {}", reader.project.slug, version.number)));
        }
        found
    }
}

fn is_ready(key: &ProviderKey) -> bool {
    key.status == KeyStatus::Active && key.value.is_some()
}

/// Served and open versions that need a key.
///
/// # Errors
/// The store's.
pub(in crate::control) fn needed_by(tx: &dyn Tx, key: &ProviderKey) -> Result<Vec<String>, ControlError> {
    Ok(Versions::read(tx, &key.owner)?.users_of_provider_key(key))
}

/// What a version may need.
struct Version {
    number: u32,
    mode: Mode,
    models: Vec<Model>,
}

impl Version {
    /// A draft may be anything: only what can be read can need something.
    fn read(number: u32, setting: Mode, text: &[u8]) -> Self {
        let every = Provider::ALL.as_slice();
        let context = ProjectContext { secret_names: None, provider_keys: every, mode: setting, platform: every };
        let config = check_project(text, context).map(|checked| checked.config).unwrap_or_default();
        Self { number, mode: config.mode.unwrap_or(setting), models: config.models }
    }
}

//! Keys of providers that configurations use without naming them.
//!
//! Sealed and write-only, as secrets are. A key goes to its provider's own address, or to the `base_url` it was entered
//! for; whoever changes that has to enter it again (threat T-30).

use super::super::{
    actor::Actor,
    error::ControlError,
    instance::Control,
    permit::Capability,
    vault::{Place, Purpose},
};
use super::{
    field::{checked_description, owner_id, permitted_owner, project_of},
    needed::served_by,
    seal::seal_value,
    secret::Force,
};
use crate::{
    base::{Id, IdKind, Secret as SecretText, UnixTime, unix_time},
    config::{Provider, find_provider},
    store::{KeyStatus, Owner, ProviderKey, Tx},
    upstream::BoundOrigin,
};

/// Most keys of one owner.
const KEYS_MAX: usize = 200;

/// What a new provider key is to be.
#[derive(Debug, Clone)]
pub struct NewProviderKey {
    /// The provider, such as `openai`.
    pub provider: String,
    /// What people call it.
    pub label: String,
    /// The value.
    pub value: SecretText,
    /// Address it may be sent to, instead of the provider's own.
    pub base_url: Option<String>,
    /// Lower is tried first.
    pub sort_order: i32,
}

/// What is to change; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct ProviderKeyPatch {
    /// What people call it.
    pub label: Option<String>,
    /// Address it may be sent to; `Some(None)` is the provider's own. Another address clears the value.
    pub base_url: Option<Option<String>>,
    /// Lower is tried first.
    pub sort_order: Option<i32>,
    /// Active or disabled.
    pub status: Option<KeyStatus>,
}

impl Control {
    /// Provider keys of an owner, without their values.
    ///
    /// # Errors
    /// As `permit`.
    pub async fn provider_keys(&self, actor: &Actor, owner: Owner) -> Result<Vec<ProviderKey>, ControlError> {
        let actor = actor.clone();
        self.store()
            .read(move |tx| {
                permitted_owner(tx, &actor, READ, &owner)?;
                Ok(tx.provider_keys(&owner)?)
            })
            .await
    }

    /// One provider key, without its value.
    ///
    /// # Errors
    /// As `permit`; [`ControlError::NotFound`].
    pub async fn provider_key(&self, actor: &Actor, owner: Owner, id: Id) -> Result<ProviderKey, ControlError> {
        let actor = actor.clone();
        self.store()
            .read(move |tx| {
                permitted_owner(tx, &actor, READ, &owner)?;
                own_key(tx, &owner, &id)
            })
            .await
    }

    /// Stores a provider key. Nothing is sent to try it: a wrong one shows at its first use.
    ///
    /// # Errors
    /// As `permit`; field problems; [`ControlError::LimitReached`].
    pub async fn create_provider_key(
        &self,
        actor: &Actor,
        owner: Owner,
        new: NewProviderKey,
    ) -> Result<ProviderKey, ControlError> {
        let provider = checked_provider(&new.provider)?;
        let mut row = ProviderKey {
            id: Id::random(IdKind::ProviderKey)?,
            owner: owner.clone(),
            provider: provider.name().to_owned(),
            label: checked_description("label", &new.label)?,
            base_url: new.base_url.map(checked_url).transpose()?,
            sort_order: new.sort_order,
            status: KeyStatus::Active,
            value: None,
            created_at: unix_time(),
            revision: 1,
        };
        row.value = Some(seal_value(self, place(&row, 1, &origins(&row)), &new.value)?);
        let (made, actor) = (row.clone(), actor.clone());
        let publication = self.publication().await;
        self.store()
            .write(move |tx| {
                let organization = permitted_owner(tx, &actor, WRITE, &row.owner)?;
                if tx.provider_keys(&row.owner)?.len() >= KEYS_MAX {
                    return Err(ControlError::LimitReached(format!("{KEYS_MAX} of {KEYS_MAX} provider keys; delete one")));
                }
                tx.insert_provider_key(&row)?;
                note(tx, &actor, "provider_key.create", organization, (None, Some(&row)))
            })
            .await?;
        self.publish_owner_locked(publication, &owner).await?;
        Ok(made)
    }

    /// Changes a provider key whose revision is `expected`.
    ///
    /// # Errors
    /// As `permit`; field problems; [`ControlError::Stale`].
    pub async fn change_provider_key(
        &self,
        actor: &Actor,
        (owner, id): (Owner, Id),
        expected: u64,
        patch: ProviderKeyPatch,
    ) -> Result<ProviderKey, ControlError> {
        let label = patch.label.as_deref().map(|text| checked_description("label", text)).transpose()?;
        let base_url = patch.base_url.map(|url| url.map(checked_url).transpose()).transpose()?;
        self.edit_provider_key(actor, (owner, id), Some(expected), "provider_key.update", move |before| {
            let mut after = before.clone();
            after.label = label.unwrap_or(after.label);
            after.sort_order = patch.sort_order.unwrap_or(after.sort_order);
            after.status = patch.status.unwrap_or(after.status);
            if let Some(url) = base_url
                && url != before.base_url
            {
                after.base_url = url;
                after.value = None;
            }
            Ok(after)
        })
        .await
    }

    /// Enters a new value; requests that start from then on use it.
    ///
    /// # Errors
    /// As `permit`; field problems.
    pub async fn enter_provider_key(
        &self,
        actor: &Actor,
        at: (Owner, Id),
        value: SecretText,
    ) -> Result<ProviderKey, ControlError> {
        let sealer = self.sealer();
        self.edit_provider_key(actor, at, None, "provider_key.rotate", move |before| {
            let version = before.value.as_ref().map_or(0, |sealed| sealed.version).saturating_add(1);
            let value = sealer.seal(place(before, version, &origins(before)), &value)?;
            Ok(ProviderKey { value: Some(value), ..before.clone() })
        })
        .await
    }

    /// Deletes a provider key whose revision is `expected`. One that a served or open version needs stays, unless an owner
    /// forces it.
    ///
    /// # Errors
    /// As `permit`; [`ControlError::Stale`]; [`ControlError::InUse`].
    pub async fn delete_provider_key(
        &self,
        actor: &Actor,
        (owner, id): (Owner, Id),
        expected: u64,
        force: Force,
    ) -> Result<(), ControlError> {
        let (actor, of) = (actor.clone(), owner.clone());
        let publication = self.publication().await;
        self.store()
            .write(move |tx| {
                let organization = permitted_owner(tx, &actor, WRITE, &owner)?;
                let before = own_key(tx, &owner, &id)?;
                if before.revision != expected {
                    return Err(ControlError::Stale { current: before.revision });
                }
                force.check(&actor, &organization, &served_by(tx, &organization, &before)?)?;
                tx.delete_provider_key(&id, expected)?;
                note(tx, &actor, "provider_key.delete", organization, (Some(&before), None))
            })
            .await?;
        self.publish_owner_locked(publication, &of).await
    }

    async fn edit_provider_key(
        &self,
        actor: &Actor,
        (owner, id): (Owner, Id),
        expected: Option<u64>,
        action: &'static str,
        edit: impl FnOnce(&ProviderKey) -> Result<ProviderKey, ControlError> + Send + 'static,
    ) -> Result<ProviderKey, ControlError> {
        let (actor, of) = (actor.clone(), owner.clone());
        let publication = self.publication().await;
        let changed = self.store().write(move |tx| {
            let organization = permitted_owner(tx, &actor, WRITE, &owner)?;
            let before = own_key(tx, &owner, &id)?;
            if expected.is_some_and(|expected| expected != before.revision) {
                return Err(ControlError::Stale { current: before.revision });
            }
            let after = edit(&before)?;
            if after == before {
                return Ok(before);
            }
            tx.update_provider_key(&after)?;
            note(tx, &actor, action, organization, (Some(&before), Some(&after)))?;
            own_key(tx, &owner, &id)
        });
        let changed = changed.await?;
        self.publish_owner_locked(publication, &of).await?;
        Ok(changed)
    }
}

const READ: (Capability, Capability) = (Capability::SecretsRead, Capability::OrganizationSecretsRead);
const WRITE: (Capability, Capability) = (Capability::SecretsWrite, Capability::OrganizationSecretsWrite);

/// The destination to which the seal of a provider key is bound: provider and address.
pub(super) fn origins(row: &ProviderKey) -> [String; 2] {
    [row.provider.clone(), row.base_url.clone().unwrap_or_default()]
}

/// Where the seal of a provider key belongs.
pub(super) fn place<'a>(row: &'a ProviderKey, version: u32, origins: &'a [String; 2]) -> Place<'a> {
    Place {
        purpose: Purpose::ProviderKey,
        owner: owner_id(&row.owner),
        record: row.id.as_str(),
        version,
        origins,
    }
}

fn own_key(tx: &dyn Tx, owner: &Owner, id: &Id) -> Result<ProviderKey, ControlError> {
    tx.provider_key(id)?.filter(|found| found.owner == *owner).ok_or(ControlError::NotFound)
}

fn checked_provider(name: &str) -> Result<Provider, ControlError> {
    match find_provider(name) {
        Some(Provider::Mock) => Err(ControlError::field("provider", "the mock provider needs no key")),
        Some(provider) => Ok(provider),
        None => {
            let known = Provider::ALL.into_iter().filter(|known| *known != Provider::Mock).map(Provider::name);
            let list: Vec<_> = known.map(|name| format!("`{name}`")).collect();
            Err(ControlError::field("provider", format!("unknown provider; known: {}", list.join(", "))))
        }
    }
}

/// Whether it may be reached is for the egress guard to say when a configuration is compiled with it.
fn checked_url(text: String) -> Result<String, ControlError> {
    match BoundOrigin::of_url(&text) {
        Ok(_) => Ok(text.trim_end_matches('/').to_owned()),
        Err(error) => Err(ControlError::field("base_url", error.to_string())),
    }
}

fn note(
    tx: &mut dyn Tx,
    actor: &Actor,
    action: &str,
    organization: Id,
    (before, after): (Option<&ProviderKey>, Option<&ProviderKey>),
) -> Result<(), ControlError> {
    let Some(row) = after.or(before) else {
        return Ok(());
    };
    let mut event = actor.event(action, row.id.as_str());
    event.organization = Some(organization);
    event.project = project_of(&row.owner);
    event.before = before.map(shown).unwrap_or_default();
    event.after = after.map(shown).unwrap_or_default();
    tx.append_audit(&event)?;
    Ok(())
}

/// The key as the audit log keeps it: the value as its fingerprint.
fn shown(row: &ProviderKey) -> String {
    serde_json::json!({
        "provider": row.provider,
        "label": row.label,
        "base_url": row.base_url,
        "sort_order": row.sort_order,
        "status": row.status,
        "fingerprint": row.value.as_ref().map(|sealed| sealed.fingerprint.as_str()),
        "entered_at": row.value.as_ref().map(|sealed| UnixTime::rfc3339(sealed.entered_at)),
    })
    .to_string()
}

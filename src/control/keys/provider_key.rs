//! Provider keys that configurations use without a name.
//!
//! Sealed and write-only, as secrets are. A key goes to its provider's own address, or to the `base_url` it was entered
//! for; whoever changes that has to enter it again (threat T-30).

use std::sync::Arc;

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    instance::Control,
    project_settings::checked_name,
    sealed_keys::{origins_of, place_of_provider_key},
};
use super::{
    needed::Versions,
    owner::{self, READ, WRITE},
    secret::{Force, OWNED},
};
use crate::{
    base::{Id, IdKind, Secret as SecretText, UnixTime, unix_time},
    config::{Provider, find_provider},
    store::{KeyStatus, Owner, ProviderKey, Tx},
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
    /// Provider keys of an owner in order, without their values.
    ///
    /// # Errors
    /// The permission's, or the store's.
    pub async fn provider_keys(&self, actor: &Actor, owner: &Owner) -> Result<Vec<ProviderKey>, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, owner) = (actor.clone(), owner.clone());
        self.store()
            .read(move |tx| {
                owner::permitted(tx, &actor, READ, &owner)?;
                Ok(tx.provider_keys(&owner)?)
            })
            .await
    }

    /// One provider key, without its value.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`].
    pub async fn provider_key(&self, actor: &Actor, owner: &Owner, id: &Id) -> Result<ProviderKey, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, owner, id) = (actor.clone(), owner.clone(), id.clone());
        self.store()
            .read(move |tx| {
                owner::permitted(tx, &actor, READ, &owner)?;
                own_key(tx, &owner, &id)
            })
            .await
    }

    /// Stores a provider key. Nothing is sent to try it: a wrong one shows at its first use.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::LimitReached`].
    pub async fn create_provider_key(
        self: &Arc<Self>,
        actor: &Actor,
        owner: &Owner,
        new: NewProviderKey,
    ) -> Result<ProviderKey, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let mut row = ProviderKey {
            id: Id::random(IdKind::ProviderKey)?,
            owner: owner.clone(),
            provider: checked_provider(&new.provider)?.name().to_owned(),
            label: checked_name("label", &new.label)?,
            base_url: new.base_url.map(|url| self.checked_url(&url)).transpose()?,
            sort_order: new.sort_order,
            status: KeyStatus::Active,
            value: None,
            created_at: unix_time(),
            revision: 1,
        };
        row.value = Some(self.sealer().seal(place_of_provider_key(&row, 1, &origins_of(&row)), &new.value)?);
        let actor = actor.clone();
        self.change_secrets(owner, move |tx| {
            let organization = owner::writable(tx, &actor, &row.owner)?;
            if tx.provider_keys(&row.owner)?.len() >= KEYS_MAX {
                let message = format!("{KEYS_MAX} of {KEYS_MAX} provider keys; delete one");
                return Err(ControlError::LimitReached(message));
            }
            tx.insert_provider_key(&row)?;
            note(tx, &actor, "provider_key.create", organization, (None, Some(&row)))?;
            Ok(row)
        })
        .await
    }

    /// Changes a provider key whose revision is `expected`.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::Stale`].
    pub async fn change_provider_key(
        self: &Arc<Self>,
        actor: &Actor,
        (owner, id): (&Owner, &Id),
        expected: u64,
        patch: ProviderKeyPatch,
    ) -> Result<ProviderKey, ControlError> {
        let label = patch.label.as_deref().map(|text| checked_name("label", text)).transpose()?;
        let base_url = patch.base_url.map(|url| url.map(|url| self.checked_url(&url)).transpose()).transpose()?;
        self.edit_provider_key(actor, (owner, id), ("provider_key.update", expected), move |before| {
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
    /// The permission's; field problems; [`ControlError::Stale`].
    pub async fn enter_provider_key(
        self: &Arc<Self>,
        actor: &Actor,
        at: (&Owner, &Id),
        expected: u64,
        value: SecretText,
    ) -> Result<ProviderKey, ControlError> {
        let sealer = self.sealer();
        let entered = self.edit_provider_key(actor, at, ("provider_key.rotate", expected), move |before| {
            // No two values of a record share a version, even if one was cleared in between.
            let version = u32::try_from(before.revision).unwrap_or(u32::MAX).saturating_add(1);
            let value = sealer.seal(place_of_provider_key(before, version, &origins_of(before)), &value)?;
            Ok(ProviderKey { value: Some(value), ..before.clone() })
        });
        let entered = entered.await?;
        self.renew_credential(&entered.id);
        Ok(entered)
    }

    /// Deletes a provider key whose revision is `expected`. One that a served or open version needs stays, unless an owner
    /// forces it.
    ///
    /// # Errors
    /// The permission's; [`ControlError::Stale`]; [`ControlError::InUse`].
    pub async fn delete_provider_key(
        self: &Arc<Self>,
        actor: &Actor,
        (owner, id): (&Owner, &Id),
        expected: u64,
        force: Force,
    ) -> Result<(), ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, of, id) = (actor.clone(), owner.clone(), id.clone());
        self.change_secrets(owner, move |tx| {
            let organization = owner::permitted(tx, &actor, WRITE, &of)?;
            let before = own_key(tx, &of, &id)?;
            gate::expect_revision(before.revision, expected)?;
            force.check(&actor, &organization, &Versions::read(tx, &of)?.users_of_provider_key(&before))?;
            tx.delete_provider_key(&id, expected)?;
            note(tx, &actor, "provider_key.delete", organization, (Some(&before), None))
        })
        .await
    }

    async fn edit_provider_key(
        self: &Arc<Self>,
        actor: &Actor,
        (owner, id): (&Owner, &Id),
        (action, expected): (&'static str, u64),
        edit: impl FnOnce(&ProviderKey) -> Result<ProviderKey, ControlError> + Send + 'static,
    ) -> Result<ProviderKey, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, of, id) = (actor.clone(), owner.clone(), id.clone());
        self.change_secrets(owner, move |tx| {
            let organization = owner::writable(tx, &actor, &of)?;
            let before = own_key(tx, &of, &id)?;
            gate::expect_revision(before.revision, expected)?;
            let after = edit(&before)?;
            if after == before {
                return Ok(before);
            }
            tx.update_provider_key(&after)?;
            note(tx, &actor, action, organization, (Some(&before), Some(&after)))?;
            own_key(tx, &of, &id)
        })
        .await
    }

    /// Checks an address with the rules for the way out, as a configuration with it would be.
    pub(in crate::control) fn checked_url(&self, text: &str) -> Result<String, ControlError> {
        let text = text.trim_end_matches('/');
        match self.registries().origins.check(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(error) => Err(ControlError::field("base_url", error.to_string())),
        }
    }
}

fn own_key(tx: &dyn Tx, owner: &Owner, id: &Id) -> Result<ProviderKey, ControlError> {
    tx.provider_key(id)?.filter(|found| found.owner == *owner).ok_or(ControlError::NotFound)
}

/// The provider of this name, if it takes keys.
///
/// # Errors
/// A field problem.
pub(in crate::control) fn checked_provider(name: &str) -> Result<Provider, ControlError> {
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
    let mut event = owner::event(actor, action, &row.id, (&row.owner, organization));
    event.before = before.map(shown).unwrap_or_default();
    event.after = after.map(shown).unwrap_or_default();
    tx.append_audit(&event)?;
    Ok(())
}

/// The key as the audit log keeps it: the value as its fingerprint.
pub(in crate::control) fn shown(row: &ProviderKey) -> String {
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

//! Provider keys of the platform, which credits pay for.
//!
//! One a provider, sealed and write-only as all provider keys are. It goes to the provider's own address or to the one it was
//! entered for. Projects use it as their mode says; an own key never meets it.

use std::sync::Arc;

use super::{
    actor::Actor,
    error::ControlError,
    instance::Control,
    keys::{Uses, checked_provider, needed_by, shown_key},
    permit::{Capability, Scope, permit},
    sealed_keys::{origins_of, place_of_provider_key},
};
use crate::{
    base::{Id, IdKind, Secret, unix_time},
    store::{KeyStatus, Owner, ProviderKey, Tx},
};

/// What files own in file mode.
const OWNED: &str = "platform credentials";

/// A platform credential to enter.
#[derive(Debug, Clone)]
pub struct NewPlatformCredential {
    /// The provider, such as `openai`.
    pub provider: String,
    /// The value.
    pub value: Secret,
    /// Address it may be sent to, instead of the provider's own.
    pub base_url: Option<String>,
}

impl Control {
    /// The platform's credentials by provider, without their values, and who uses them.
    ///
    /// # Errors
    /// As [`permit`]; the store's.
    pub async fn platform_credentials(&self, actor: &Actor) -> Result<Vec<(ProviderKey, Uses)>, ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        self.refuse_if_files_own(OWNED)?;
        let mut rows = self.store().read(|tx| tx.provider_keys(&Owner::Instance)).await?;
        rows.sort_by(|a, b| a.provider.cmp(&b.provider));
        self.uses_of_provider_keys(&Owner::Instance, rows).await
    }

    /// Enters the credential for a provider, in the place of the one before. It is live at once.
    ///
    /// # Errors
    /// As [`permit`]; field problems; the store's.
    pub async fn enter_platform_credential(
        self: &Arc<Self>,
        actor: &Actor,
        new: NewPlatformCredential,
    ) -> Result<(ProviderKey, Uses), ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        self.refuse_if_files_own(OWNED)?;
        let provider = checked_provider(&new.provider)?.name().to_owned();
        let base_url = new.base_url.map(|url| self.checked_url(&url)).transpose()?;
        let fresh = Id::random(IdKind::ProviderKey)?;
        let (sealer, actor) = (self.sealer(), actor.clone());
        let entered = self.change_secrets(&Owner::Instance, move |tx| {
            let before = of_provider(tx, &provider)?;
            let mut row = before.clone().unwrap_or_else(|| ProviderKey {
                id: fresh,
                owner: Owner::Instance,
                label: provider.clone(),
                provider,
                base_url: None,
                sort_order: 0,
                status: KeyStatus::Active,
                value: None,
                created_at: unix_time(),
                revision: 1,
            });
            row.base_url = base_url;
            // No two values of a record share a version.
            let version =
                before.as_ref().map_or(1, |row| u32::try_from(row.revision).unwrap_or(u32::MAX).saturating_add(1));
            row.value = Some(sealer.seal(place_of_provider_key(&row, version, &origins_of(&row)), &new.value)?);
            match before {
                Some(_) => tx.update_provider_key(&row)?,
                None => tx.insert_provider_key(&row)?,
            }
            note(tx, &actor, "platform_credential.enter", (before.as_ref(), Some(&row)))?;
            tx.provider_key(&row.id)?.ok_or(ControlError::NotFound)
        });
        let entered = entered.await?;
        self.renew_credential(&entered.id);
        let shown = self.uses_of_provider_keys(&Owner::Instance, vec![entered]).await?;
        shown.into_iter().next().ok_or(ControlError::NotFound)
    }

    /// Deletes a credential of the platform.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::NotFound`]; [`ControlError::InUse`] while a served or open version has no other.
    pub async fn delete_platform_credential(self: &Arc<Self>, actor: &Actor, id: Id) -> Result<(), ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        self.refuse_if_files_own(OWNED)?;
        let actor = actor.clone();
        self.change_secrets(&Owner::Instance, move |tx| {
            let found = tx.provider_key(&id)?.filter(|found| found.owner == Owner::Instance);
            let before = found.ok_or(ControlError::NotFound)?;
            let users = needed_by(tx, &before)?;
            if !users.is_empty() {
                let users = users.join(", ");
                let said =
                    format!("{users} would have no credential for `{}`; enter another value instead", before.provider);
                return Err(ControlError::InUse(said));
            }
            tx.delete_provider_key(&id, before.revision)?;
            note(tx, &actor, "platform_credential.delete", (Some(&before), None))
        })
        .await
    }
}

fn of_provider(tx: &dyn Tx, provider: &str) -> Result<Option<ProviderKey>, ControlError> {
    Ok(tx.provider_keys(&Owner::Instance)?.into_iter().find(|row| row.provider == provider))
}

fn note(
    tx: &mut dyn Tx,
    actor: &Actor,
    action: &str,
    (before, after): (Option<&ProviderKey>, Option<&ProviderKey>),
) -> Result<(), ControlError> {
    let object = after.or(before).map_or("", |row| row.id.as_str());
    let mut event = actor.event(action, object);
    event.before = before.map(shown_key).unwrap_or_default();
    event.after = after.map(shown_key).unwrap_or_default();
    tx.append_audit(&event)?;
    Ok(())
}

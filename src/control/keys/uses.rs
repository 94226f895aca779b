//! Where a secret or provider key is used, and how it fares.

use std::sync::Arc;

use super::super::{error::ControlError, instance::Control};
use super::{credentials::CredentialHealth, needed::Versions};
use crate::{
    base::{Id, UnixTime, unix_time},
    store::{Owner, ProviderKey, Secret, Tx},
};

/// What is known of a record beside what was written into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uses {
    /// Served and open versions that need it, as `slug version N`.
    pub used_by: Vec<String>,
    /// When it was last sent to a provider, to the minute.
    pub last_used_at: Option<UnixTime>,
    /// What providers say to it.
    pub health: CredentialHealth,
}

impl Control {
    /// Uses of secrets of one owner, in their order. The caller has been allowed to see them.
    ///
    /// # Errors
    /// The store's.
    pub async fn uses_of_secrets(&self, owner: &Owner, rows: Vec<Secret>) -> Result<Vec<(Secret, Uses)>, ControlError> {
        self.uses(owner, rows, |secret| &secret.id, Versions::users_of_secret).await
    }

    /// Uses of provider keys of one owner, in their order. The caller has been allowed to see them.
    ///
    /// # Errors
    /// The store's.
    pub async fn uses_of_provider_keys(
        &self,
        owner: &Owner,
        rows: Vec<ProviderKey>,
    ) -> Result<Vec<(ProviderKey, Uses)>, ControlError> {
        self.uses(owner, rows, |key| &key.id, Versions::users_of_provider_key).await
    }

    async fn uses<R: Send + 'static>(
        &self,
        owner: &Owner,
        rows: Vec<R>,
        id: fn(&R) -> &Id,
        users: fn(&Versions, &R) -> Vec<String>,
    ) -> Result<Vec<(R, Uses)>, ControlError> {
        let now = unix_time();
        self.credentials().observe(&self.served(), now);
        let known: Arc<[_]> = rows.iter().map(|row| self.credentials().of(id(row), now)).collect();
        let owner = owner.clone();
        let read = self.store().read(move |tx| {
            let versions = Versions::read(tx, &owner)?;
            let mut found = Vec::with_capacity(rows.len());
            for (row, (used, health)) in rows.into_iter().zip(known.iter()) {
                let last_used_at = last_used(tx, id(&row), *used)?;
                let uses = Uses { used_by: users(&versions, &row), last_used_at, health: *health };
                found.push((row, uses));
            }
            Ok::<_, ControlError>(found)
        });
        read.await
    }
}

/// The later of what was seen since the start and what is stored.
fn last_used(tx: &dyn Tx, id: &Id, seen: Option<UnixTime>) -> Result<Option<UnixTime>, ControlError> {
    Ok(seen.max(tx.credential_use(id)?))
}

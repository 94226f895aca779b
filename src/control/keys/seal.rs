//! From a value as it was entered to what is stored.

use std::sync::Arc;

use super::super::{
    error::ControlError,
    instance::Control,
    vault::{Pepper, Place, Vault, VaultError, last4},
};
use crate::{
    base::{Secret as SecretText, unix_time},
    config::secret_text,
    store::Sealed,
};

/// Seals values on the threads of the store too.
pub(super) struct Sealer {
    vault: Arc<Vault>,
    pepper: Pepper,
}

impl Control {
    pub(super) fn sealer(&self) -> Sealer {
        Sealer { vault: Arc::clone(self.vault()), pepper: self.pepper().clone() }
    }
}

impl Sealer {
    /// Seals a value at its place, and keeps of it what people need to tell it from another.
    pub(super) fn seal(&self, place: Place<'_>, value: &SecretText) -> Result<Sealed, ControlError> {
        // It goes into a header: the same rules as for a variable or a file.
        let value = secret_text(value.reveal()).map_err(|error| ControlError::field("value", error.to_string()))?;
        let bytes = self.vault.seal(place, value.reveal().as_bytes())?;
        Ok(Sealed {
            bytes,
            version: place.version,
            last4: last4(value.reveal()),
            fingerprint: self.pepper.fingerprint(value.reveal().as_bytes()),
            entered_at: unix_time(),
        })
    }
}

/// As [`Sealer::seal`], at once.
pub(super) fn seal_value(control: &Control, place: Place<'_>, value: &SecretText) -> Result<Sealed, ControlError> {
    control.sealer().seal(place, value)
}

impl From<VaultError> for ControlError {
    fn from(error: VaultError) -> Self {
        Self::Internal(error.to_string())
    }
}

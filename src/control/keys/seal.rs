//! From a value as it was entered to what is stored.

use std::sync::Arc;

use super::super::{
    error::ControlError,
    instance::Control,
    vault::{Pepper, Place, Vault, last4},
};
use crate::{
    base::{Secret, unix_time},
    config::secret_text,
    store::Sealed,
};

/// Seals values, on the threads of the store too: a seal holds the version that the record has then.
pub(in crate::control) struct Sealer {
    vault: Arc<Vault>,
    pepper: Pepper,
}

impl Control {
    pub(in crate::control) fn sealer(&self) -> Sealer {
        Sealer { vault: self.vault(), pepper: self.pepper().clone() }
    }
}

impl Sealer {
    /// Seals a value at its place, and keeps of it what people need to tell it from another.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a value that cannot go into a header.
    pub(in crate::control) fn seal(&self, place: Place<'_>, value: &Secret) -> Result<Sealed, ControlError> {
        let version = place.version;
        let value = secret_text(value.reveal()).map_err(|error| ControlError::field("value", error.to_string()))?;
        let text = value.reveal();
        let bytes =
            self.vault.seal(place, text.as_bytes()).map_err(|error| ControlError::Internal(error.to_string()))?;
        let fingerprint = self.pepper.fingerprint(text.as_bytes());
        Ok(Sealed { bytes, version, last4: last4(text), fingerprint, entered_at: unix_time() })
    }
}

//! Reading what was said, by whom the matrix lets.
//!
//! Each reading is an event of the audit log, committed before anything is shown, and a line in the log.

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    instance::Control,
    permit::{Capability, Extent},
};
use super::cipher::{PayloadText, ProjectKey};
use crate::{
    base::{
        Id,
        log::{Level, Value, emit},
    },
    store::StoredPayload,
};

impl Control {
    /// Bytes of payloads that are not stored yet, and how many payloads were dropped.
    #[must_use]
    pub fn payload_room(&self) -> (usize, u64) {
        let room = &self.shared().payloads;
        (room.held(), room.dropped())
    }

    /// What a request of a project and its answer said. Whoever sees only own keys sees only theirs. That the actor read it
    /// stands in the audit log before this returns; what was said never does.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`] when it was not kept, or is gone; the store's when the event cannot be
    /// written, and then nothing is read.
    pub async fn payload(
        &self,
        actor: &Actor,
        project: &Id,
        request_id: &str,
    ) -> Result<(StoredPayload, PayloadText), ControlError> {
        // Files have no place for the setting.
        if self.files().is_some() {
            return Err(ControlError::NotFound);
        }
        let (asker, id, wanted) = (actor.clone(), project.clone(), request_id.to_owned());
        // Permission, payload and event are of one transaction: no reading without its event.
        let read = self.store().write(move |tx| {
            let (found, extent) = gate::project_for(tx, &asker, Capability::PayloadsRead, &id)?;
            let member = (extent == Extent::Own).then(|| asker.author.as_str());
            let row = tx.payload(found.id.as_str(), &wanted, member)?.ok_or(ControlError::NotFound)?;
            let key = tx.payload_key(found.id.as_str())?.ok_or(ControlError::NotFound)?;
            tx.append_audit(&gate::event(&asker, "payload.read", &wanted, &found))?;
            Ok::<_, ControlError>((row, key))
        });
        let (row, key) = read.await?;
        let text = ProjectKey::open(&self.vault(), project.as_str(), &key).and_then(|key| key.read(&row));
        let text = text.map_err(|error| ControlError::Internal(error.to_string()))?;
        let fields = [
            ("actor", Value::Text(actor.id.as_str())),
            ("project", Value::Text(project.as_str())),
            ("payload_of", Value::Text(request_id)),
        ];
        emit(Level::Info, "somebody read what a request said", &fields);
        Ok((row, text))
    }
}

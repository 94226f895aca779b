//! The control plane as one object, shared by all callers.
//!
//! Each file of this folder adds the actions of one kind of object as `impl Control`. An action takes its actor first, asks
//! `permit` inside the transaction that reads the object's tenancy, and writes its audit event in the same transaction as
//! the change. What workers must see goes live under the publication lock, so changes become visible one after the other.

use tokio::sync::{Mutex, MutexGuard};

use super::publish::Publisher;

/// Everything that the rules of the control plane act on.
pub struct Control {
    publication: Mutex<Publisher>,
}

impl Control {
    /// Starts behind the first snapshot.
    #[must_use]
    pub fn new(publisher: Publisher) -> Self {
        Self { publication: Mutex::new(publisher) }
    }

    /// Takes the publication lock. It is held from the read of what is stored until the workers show the new snapshot.
    pub async fn publication(&self) -> MutexGuard<'_, Publisher> {
        self.publication.lock().await
    }
}

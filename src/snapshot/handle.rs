//! Where workers find the current snapshot.

use std::sync::Arc;

use crate::base::Swap;

use super::view::Snapshot;

/// The published snapshot. One writer, the admin thread; any number of readers.
pub struct Handle(Swap<Snapshot>);

impl Handle {
    /// Starts with a first snapshot.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self(Swap::new(first))
    }

    /// Returns the current snapshot. A request loads it once and keeps it to its end.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load()
    }

    /// Makes `next` current. It cannot fail: everything that could was done when it was compiled.
    pub fn publish(&self, next: Snapshot) {
        self.0.store(next);
    }
}

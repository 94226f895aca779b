//! The next snapshot in the making.
//!
//! It shares with its base everything that is not changed: one key costs a copy of one shard, one project a copy of the
//! table of pointers, whatever the number of keys and routes.

use std::sync::Arc;

use crate::base::{Digest, KeyHasher};

use super::{
    grant::Grant,
    part::ProjectPart,
    shards::Shards,
    view::{Parts, Snapshot},
};

/// Changes to a snapshot, not visible to anybody before they are published.
pub struct Edit {
    hasher: Arc<KeyHasher>,
    grants: Shards,
    projects: Arc<Parts>,
}

impl Edit {
    /// Starts from nothing: no project, no key.
    #[must_use]
    pub fn empty(hasher: KeyHasher) -> Self {
        Self { hasher: Arc::new(hasher), grants: Shards::default(), projects: Arc::default() }
    }

    pub(super) fn of(base: &Snapshot) -> Self {
        Self { hasher: Arc::clone(&base.hasher), grants: base.grants.clone(), projects: Arc::clone(&base.projects) }
    }

    /// Adds or replaces a project, by its id.
    pub fn put_project(&mut self, id: Arc<str>, part: ProjectPart) {
        Arc::make_mut(&mut self.projects).insert(id, Arc::new(part));
    }

    /// Removes a project: its routes are unknown from then on. Its keys stay.
    pub fn remove_project(&mut self, id: &str) {
        if self.projects.contains_key(id) {
            Arc::make_mut(&mut self.projects).remove(id);
        }
    }

    /// Adds or replaces what the key with this digest may do.
    pub fn put_grant(&mut self, digest: Digest, grant: Grant) {
        self.grants.insert(digest, Arc::new(grant));
    }

    /// Removes a key: it is unknown from then on.
    pub fn remove_grant(&mut self, digest: &Digest) {
        self.grants.remove(digest);
    }

    /// Makes the snapshot of this generation.
    #[must_use]
    pub fn finish(self, generation: u64) -> Snapshot {
        let any_archived = self.projects.values().any(|part| part.is_archived());
        Snapshot { generation, hasher: self.hasher, grants: self.grants, projects: self.projects, any_archived }
    }
}

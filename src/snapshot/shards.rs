//! All grants, in shards that snapshots share.
//!
//! A change of one key copies one shard of 256; the others go on being the same memory in the old and the new snapshot.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use crate::base::Digest;

use super::grant::Grant;

/// One for each value of [`Digest::shard`].
const SHARDS: usize = 256;

type Shard = HashMap<Digest, Arc<Grant>, BuildHasherDefault<Uniform>>;

/// Some digests.
pub(super) type DigestSet = HashSet<Digest, BuildHasherDefault<Uniform>>;

/// Grants by the digests of their keys.
#[derive(Clone)]
pub(super) struct Shards(Arc<[Arc<Shard>]>);

impl Shards {
    /// Finds a grant. The digest is compared whole and in constant time.
    pub(super) fn get(&self, digest: &Digest) -> Option<&Arc<Grant>> {
        self.0.get(digest.shard())?.get(digest)
    }

    /// Adds or replaces a grant; copies what another snapshot still shares.
    pub(super) fn insert(&mut self, digest: Digest, grant: Arc<Grant>) {
        if let Some(shard) = Arc::make_mut(&mut self.0).get_mut(digest.shard()) {
            Arc::make_mut(shard).insert(digest, grant);
        }
    }

    /// Removes a grant; nothing is copied when there is none.
    pub(super) fn remove(&mut self, digest: &Digest) {
        if self.get(digest).is_none() {
            return;
        }
        if let Some(shard) = Arc::make_mut(&mut self.0).get_mut(digest.shard()) {
            Arc::make_mut(shard).remove(digest);
        }
    }

    /// The grants of one shard; nothing beyond the last.
    pub(super) fn shard(&self, index: usize) -> impl Iterator<Item = &Arc<Grant>> {
        self.0.get(index).into_iter().flat_map(|shard| shard.values())
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.0.len()
    }

    /// How many grants there are.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|shard| shard.len()).sum()
    }
}

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Arc::default()).collect())
    }
}

/// Takes the number that a digest hands over as the hash: it is uniform already, and nobody without the pepper or a
/// place in the keys file chooses one that is stored.
#[derive(Default)]
pub(super) struct Uniform(u64);

impl Hasher for Uniform {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grant::Scope;
    use super::*;

    fn grant(id: &str) -> Arc<Grant> {
        Arc::new(Grant {
            caller: Arc::new(crate::base::Caller::of_key(id)),
            limits: crate::limit::LimitSet::default(),
            scope: Scope::Project("prj_1".into()),
            routes: None,
            enabled: true,
            expires: None,
            policy: None,
        })
    }

    #[test]
    fn change_of_one_key_copies_one_shard() {
        let mut shards = Shards::default();
        let digest = |number: usize| Digest::of(&number.to_le_bytes());
        for number in 0..5_000 {
            shards.insert(digest(number), grant(&number.to_string()));
        }
        let before = shards.clone();
        shards.remove(&digest(7));
        shards.remove(&Digest::of(b"unknown"));
        let copied = before.0.iter().zip(shards.0.iter()).filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
        assert_eq!((copied, before.count(), shards.count()), (1, 5_000, 4_999));
        assert!(before.get(&digest(7)).is_some() && shards.get(&digest(7)).is_none());
        assert_eq!(shards.get(&digest(8)).map(|grant| &*grant.caller.key_id), Some("8"));
    }
}

//! From stored API keys to what workers look up.

use crate::{
    base::Digest,
    snapshot::{Grant, Scope},
    store::{ApiKey, KeyStatus},
};

/// What a key may do, under each digest by which it is found: after a roll the old one works until it ends.
#[must_use]
pub fn grants_of(key: &ApiKey) -> Vec<(Digest, Grant)> {
    let mut grants = vec![(Digest::from_bytes(key.digest), grant(key, key.expires_at))];
    if let (Some(old), Some(ends)) = (key.old_digest, key.old_expires_at) {
        let ends = key.expires_at.map_or(ends, |expires| expires.min(ends));
        grants.push((Digest::from_bytes(old), grant(key, Some(ends))));
    }
    grants
}

/// The digests by which a key is found.
#[must_use]
pub fn digests_of(key: &ApiKey) -> Vec<Digest> {
    [Some(key.digest), key.old_digest].into_iter().flatten().map(Digest::from_bytes).collect()
}

fn grant(key: &ApiKey, expires: Option<crate::base::UnixTime>) -> Grant {
    Grant {
        key_id: key.public_id.as_str().into(),
        scope: Scope::Project(key.project.as_str().into()),
        routes: None,
        enabled: key.status == KeyStatus::Active,
        expires,
    }
}

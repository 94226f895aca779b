//! From stored API keys to what workers look up.

use std::sync::Arc;

use crate::{
    base::{Caller, Digest, Id, IdKind},
    snapshot::{Grant, Scope},
    store::{ApiKey, KeyStatus, OrganizationStatus},
};

/// What a key of an organization with this status may do, under each digest by which it is found: after a roll the old one
/// works until it ends. Keys of a suspended organization are refused, whatever their own status.
#[must_use]
pub fn grants_of(key: &ApiKey, organization: OrganizationStatus) -> Vec<(Digest, Grant)> {
    let enabled = key.status == KeyStatus::Active && organization == OrganizationStatus::Active;
    let caller = Arc::new(caller_of(key));
    let grant = |expires| Grant {
        caller: Arc::clone(&caller),
        limits: crate::limit::LimitSet::default(),
        scope: Scope::Project(key.project.as_str().into()),
        routes: None,
        enabled,
        expires,
        policy: None,
    };
    let mut grants = vec![(Digest::from_bytes(key.digest), grant(key.expires_at))];
    if let (Some(old), Some(ends)) = (key.old_digest, key.old_expires_at) {
        let ends = key.expires_at.map_or(ends, |expires| expires.min(ends));
        grants.push((Digest::from_bytes(old), grant(Some(ends))));
    }
    grants
}

fn caller_of(key: &ApiKey) -> Caller {
    Caller {
        key_id: key.public_id.as_str().into(),
        key: key.id.as_str().into(),
        project: Some(key.project.as_str().into()),
        member: member_of(key).map(|user| user.as_str().into()),
        group: key.group.as_deref().map(Arc::from),
    }
}

/// The member whose limits and rules bind a key. Keys made by an admin token without a user belong to nobody's.
pub(super) fn member_of(key: &ApiKey) -> Option<Id> {
    Id::parse(IdKind::User, key.created_by.as_str())
}

/// The digests by which a key is found.
#[must_use]
pub fn digests_of(key: &ApiKey) -> Vec<Digest> {
    [Some(key.digest), key.old_digest].into_iter().flatten().map(Digest::from_bytes).collect()
}

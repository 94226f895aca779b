//! The chain of hashes that holds the audit log together.
//!
//! An entry's hash covers the hash before it, so that no entry can be changed, left out or put in between unseen. Cutting off
//! the newest entries leaves a whole chain: only a copy of the last hash kept elsewhere shows that.

use sha2::{Digest as _, Sha256};

use super::{
    record::AuditEvent,
    tx::{Outcome, Tx},
};
use crate::base::UnixTime;

/// Stands before every entry, so that its hash can be nothing else's.
const DOMAIN: &[u8] = b"millrace audit 1";
/// Entries that are read at once.
const PAGE_ROWS: u32 = 500;

/// What the check of the chain found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// No entry was changed, left out or put in between.
    Whole {
        /// How many entries there are.
        entries: u64,
        /// Hash of the last one; zeros without any.
        last: [u8; 32],
    },
    /// The first entry that does not fit: missing, changed, or not hashed over the one before.
    BrokenAt(u64),
}

/// Checks every entry of the audit log against its hash and its predecessor.
///
/// # Errors
/// The store cannot be read.
pub fn verify_chain(tx: &dyn Tx) -> Outcome<Chain> {
    let (mut entries, mut last) = (0u64, [0u8; 32]);
    loop {
        let page = tx.audit_after(entries, PAGE_ROWS)?;
        if page.is_empty() {
            return Ok(Chain::Whole { entries, last });
        }
        for entry in page {
            let expected = entries + 1;
            let hash = hash_of(&last, expected, &entry.event);
            if entry.sequence != expected || entry.previous != last || entry.hash != hash {
                return Ok(Chain::BrokenAt(expected));
            }
            (entries, last) = (expected, hash);
        }
    }
}

/// Hashes an entry: the hash before it, its number, and each field with its length in front.
pub(super) fn hash_of(previous: &[u8; 32], sequence: u64, event: &AuditEvent) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(previous);
    hash.update(sequence.to_le_bytes());
    hash.update(milliseconds(event.at).to_le_bytes());
    // An absent id is not the empty one.
    let (organization, project) = (event.organization.as_ref(), event.project.as_ref());
    hash.update([u8::from(organization.is_some()), u8::from(project.is_some())]);
    for field in [
        event.actor_kind.as_str(),
        &event.actor,
        &event.address,
        &event.action,
        &event.object,
        organization.map_or("", |id| id.as_str()),
        project.map_or("", |id| id.as_str()),
        &event.before,
        &event.after,
        &event.request_id,
        &event.comment,
    ] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field.as_bytes());
    }
    hash.finalize().into()
}

/// The time as it is stored.
fn milliseconds(time: UnixTime) -> u64 {
    u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX)
}

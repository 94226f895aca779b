//! Seals what was said under the key of its project.
//!
//! AES-256-GCM, as all seals; the key is random, one a project, and itself sealed by the vault. Project, request, time and
//! member are associated data, so a row that was copied elsewhere, or given to somebody else, does not open.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::vault::{Place, Purpose, Vault, VaultError};
use crate::store::StoredPayload;

/// Bytes of a key.
const KEY_LEN: usize = 32;
/// First byte of a sealed payload: the form of what follows.
const FORM: u8 = 1;

/// What was said, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadText {
    /// The beginning of the body of the request.
    pub request: String,
    /// Length of the whole body.
    pub request_bytes: u64,
    /// Whether there was more of it.
    pub request_is_cut: bool,
    /// The beginning of the body of the answer.
    pub answer: String,
    /// Length of the whole answer.
    pub answer_bytes: u64,
    /// Whether there was more of it.
    pub answer_is_cut: bool,
    /// How many places were taken out of both as secrets.
    pub redacted: u32,
}

/// The key of one project, in clear.
pub(super) struct ProjectKey(LessSafeKey);

/// Makes the key of a project, sealed.
pub(super) fn make_key(vault: &Vault, project: &str) -> Result<Vec<u8>, VaultError> {
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| VaultError::Random)?;
    vault.seal(place_of_payload_key(project), key.as_slice())
}

/// Where the seal of a project's key belongs.
pub(in crate::control) fn place_of_payload_key(project: &str) -> Place<'_> {
    Place { purpose: Purpose::PayloadKey, owner: project, record: "payload-key", version: 1, origins: &[] }
}

impl ProjectKey {
    pub(super) fn open(vault: &Vault, project: &str, sealed: &[u8]) -> Result<Self, VaultError> {
        let bytes = vault.open_seal(place_of_payload_key(project), sealed)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| VaultError::Seal)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Fills in the seal of a row whose other fields are known.
    pub(super) fn seal(&self, row: &mut StoredPayload, text: &PayloadText) -> Result<(), VaultError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::Random)?;
        let mut bytes = serde_json::to_vec(text).map_err(|_| VaultError::Seal)?;
        let tag = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(bound_to(row)),
            &mut bytes,
        );
        let tag = tag.map_err(|_| VaultError::Seal)?;
        row.sealed = Vec::with_capacity(1 + NONCE_LEN + bytes.len() + tag.as_ref().len());
        row.sealed.push(FORM);
        row.sealed.extend_from_slice(&nonce);
        row.sealed.extend_from_slice(&bytes);
        row.sealed.extend_from_slice(tag.as_ref());
        Ok(())
    }

    pub(super) fn read(&self, row: &StoredPayload) -> Result<PayloadText, VaultError> {
        let (nonce, bytes) = match row.sealed.as_slice() {
            [FORM, rest @ ..] => rest.split_at_checked(NONCE_LEN).ok_or(VaultError::Seal)?,
            _ => return Err(VaultError::Seal),
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Seal)?;
        let mut bytes = bytes.to_vec();
        let text = self.0.open_in_place(nonce, Aad::from(bound_to(row)), &mut bytes);
        serde_json::from_slice(text.map_err(|_| VaultError::Seal)?).map_err(|_| VaultError::Seal)
    }
}

/// The associated data. Each part has its length in front, so that no two rows read the same.
fn bound_to(row: &StoredPayload) -> Vec<u8> {
    let mut bound = b"payload".to_vec();
    let at = row.at.0.as_millis().to_string();
    for part in [row.project.as_str(), &row.request_id, &row.member, &at] {
        bound.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bound.extend_from_slice(part.as_bytes());
    }
    bound
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::UnixTime;

    fn row() -> StoredPayload {
        let at = UnixTime(Duration::from_millis(1_700_000_000_125));
        let (project, request_id, member) = ("prj_a".to_owned(), "req_1".to_owned(), "usr_a".to_owned());
        StoredPayload { project, at, request_id, member, sealed: Vec::new() }
    }

    #[test]
    fn payload_opens_in_its_row_with_the_key_of_its_project_and_nowhere_else() {
        let vault = Vault::parse(&"a5".repeat(32)).unwrap();
        let [sealed, other] = [(); 2].map(|()| make_key(&vault, "prj_a").unwrap());
        assert_ne!(sealed, other);
        assert!(ProjectKey::open(&vault, "prj_b", &sealed).is_err(), "the key of another project");
        let [key, other] = [&sealed, &other].map(|sealed| ProjectKey::open(&vault, "prj_a", sealed).ok().unwrap());
        let text = PayloadText {
            request: "canary".to_owned(),
            request_bytes: 6,
            request_is_cut: false,
            answer: String::new(),
            answer_bytes: 0,
            answer_is_cut: false,
            redacted: 0,
        };
        let mut kept = row();
        key.seal(&mut kept, &text).unwrap();
        assert!(!kept.sealed.windows(6).any(|window| window == b"canary"));
        assert_eq!(key.read(&kept).unwrap(), text);
        assert!(other.read(&kept).is_err(), "another key");
        let changes: [fn(&mut StoredPayload); 6] = [
            |row| row.project = "prj_b".to_owned(),
            |row| row.request_id = "req_2".to_owned(),
            |row| row.member = "usr_b".to_owned(),
            |row| row.at = UnixTime(row.at.0 + Duration::from_millis(1)),
            |row| row.sealed[0] = 2,
            |row| row.sealed.truncate(20),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut copied = kept.clone();
            change(&mut copied);
            assert!(key.read(&copied).is_err(), "{index}");
        }
        let mut again = row();
        key.seal(&mut again, &text).unwrap();
        assert_ne!(again.sealed, kept.sealed, "no seal is made twice");
    }
}

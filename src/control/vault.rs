//! Seals what must not be read from the store.
//!
//! AES-256-GCM under keys derived from the master key by HKDF-SHA-256, one label a purpose. A seal is bound to its place:
//! purpose, owner, record, version and destinations are associated data, so a row copied elsewhere does not open. The
//! master key is in a file of its own; whoever has the store alone has no secret.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    hkdf::{HKDF_SHA256, Prk, Salt},
    hmac,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::base::Secret;

/// Bytes of a key.
const KEY_LEN: usize = 32;
/// First byte of a seal: the form of what follows.
const FORM: u8 = 1;
/// Bytes that name the master key in a seal.
const KEY_ID_LEN: usize = 4;
/// Most master keys that are accepted at the same time.
const KEYS_MAX: usize = 8;
/// Shortest value whose last four characters are shown: of a shorter one they would tell too much.
const LAST4_CHARS_MIN: usize = 12;

/// Where the sealed pepper belongs.
pub(super) const PEPPER_PLACE: Place<'static> =
    Place { purpose: Purpose::Pepper, owner: "instance", record: "pepper", version: 1, origins: &[] };

/// What a derived key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Values of `!secret NAME`.
    Secret,
    /// Provider keys.
    ProviderKey,
    /// Answers kept for a repeated request.
    KeptAnswer,
    /// The pepper of API keys.
    Pepper,
    /// Shared secrets of second factors.
    SecondFactor,
    /// Keys of the signatures of webhooks.
    Webhook,
    /// Keys of what requests said, one a project.
    PayloadKey,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::ProviderKey => "provider-key",
            Self::KeptAnswer => "kept-answer",
            Self::Pepper => "api-key-pepper",
            Self::SecondFactor => "second-factor",
            Self::Webhook => "webhook",
            Self::PayloadKey => "payload-key",
        }
    }
}

/// Where a seal belongs: it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// What the value is for.
    pub purpose: Purpose,
    /// Id of the project or organization that owns the record, or of the caller.
    pub owner: &'a str,
    /// Id of the record.
    pub record: &'a str,
    /// Version of the value.
    pub version: u32,
    /// Destinations to which the value may be sent.
    pub origins: &'a [String],
}

/// Why the vault cannot be opened, or a seal.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The master key file cannot be read or written.
    #[error("cannot use the master key file `{0}`: {1}")]
    File(String, #[source] io::Error),
    /// There is no master key, but the store has secrets under one.
    #[error(
        "the master key file `{0}` is missing, but the store was made with one; put it back or restore it from your backup"
    )]
    Missing(String),
    /// Others can read the file.
    #[error("the master key file `{0}` has mode {1:o}; only its owner may read it: chmod 600 {0}")]
    Mode(String, u32),
    /// The file does not hold keys.
    #[error("the master key file `{0}` must hold one to {KEYS_MAX} lines of 64 hex digits, the current key first")]
    Form(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The seal was made with another master key, for another place, or is damaged.
    #[error("the sealed value does not open: another master key, another place, or damaged")]
    Seal,
}

/// The master keys, in memory. Never shown, never stored.
pub struct Vault {
    keys: Vec<MasterKey>,
}

struct MasterKey {
    id: [u8; KEY_ID_LEN],
    root: Prk,
}

impl Vault {
    /// Reads the master keys from a file; makes the file with a new key if it is absent and `store_is_new`.
    ///
    /// # Errors
    /// [`VaultError`], all but [`VaultError::Seal`].
    pub fn open(path: &Path, store_is_new: bool) -> Result<Self, VaultError> {
        let name = path.display().to_string();
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && store_is_new => make_file(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VaultError::Missing(name)),
            Err(error) => return Err(VaultError::File(name, error)),
        };
        let mode = fs::metadata(path).map_err(|error| VaultError::File(name.clone(), error))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(VaultError::Mode(name, mode));
        }
        Self::parse(&text).ok_or(VaultError::Form(name))
    }

    /// Reads master keys from text: lines of 64 hex digits, the current one first.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let keys: Option<Vec<MasterKey>> = lines.iter().map(|line| MasterKey::parse(line)).collect();
        keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len())).map(|keys| Self { keys })
    }

    /// Makes the instance's pepper and seals it: done once, for a new store.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn make_pepper(&self) -> Result<Vec<u8>, VaultError> {
        let mut pepper = Zeroizing::new([0u8; KEY_LEN]);
        getrandom::fill(pepper.as_mut_slice()).map_err(|_| VaultError::Random)?;
        self.seal(PEPPER_PLACE, pepper.as_slice())
    }

    /// Opens the sealed pepper.
    ///
    /// # Errors
    /// [`VaultError::Seal`].
    pub fn open_pepper(&self, sealed: &[u8]) -> Result<Pepper, VaultError> {
        let opened = self.open_seal(PEPPER_PLACE, sealed)?;
        let bytes: [u8; KEY_LEN] = opened.as_slice().try_into().map_err(|_| VaultError::Seal)?;
        Ok(Pepper(Zeroizing::new(bytes)))
    }

    /// Seals a value under the current master key.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn seal(&self, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>, VaultError> {
        let key = self.keys.first().ok_or(VaultError::Seal)?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::Random)?;
        let mut sealed = Vec::with_capacity(1 + KEY_ID_LEN + NONCE_LEN + value.len() + AES_256_GCM.tag_len());
        sealed.push(FORM);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        let mut text = Zeroizing::new(value.to_vec());
        let tag = key
            .cipher(place.purpose)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound_to(place)), &mut text)
            .map_err(|_| VaultError::Seal)?;
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a seal at its place, whichever of the master keys made it.
    ///
    /// # Errors
    /// [`VaultError::Seal`].
    pub fn open_seal(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (head, rest) = sealed.split_at_checked(1 + KEY_ID_LEN).ok_or(VaultError::Seal)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(VaultError::Seal)?;
        let key = match head {
            [FORM, id @ ..] => self.keys.iter().find(|key| key.id == *id).ok_or(VaultError::Seal)?,
            _ => return Err(VaultError::Seal),
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Seal)?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = key.cipher(place.purpose)?.open_in_place(nonce, Aad::from(bound_to(place)), &mut text);
        let length = opened.map_err(|_| VaultError::Seal)?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Opens a seal that holds text.
    ///
    /// # Errors
    /// [`VaultError::Seal`].
    pub fn open_text(&self, place: Place<'_>, sealed: &[u8]) -> Result<Secret, VaultError> {
        let bytes = self.open_seal(place, sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| VaultError::Seal)?;
        Ok(Secret::new(text.to_owned()))
    }

    /// How seals of the current master key begin: others are made anew after a rotation.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let id = self.keys.first().map(|key| key.id).unwrap_or_default();
        [&[FORM], id.as_slice()].concat()
    }

    /// Whether a seal was made under the current master key.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.head())
    }

    /// Seals what a seal of the same place holds under the current master key.
    ///
    /// # Errors
    /// [`VaultError::Seal`], [`VaultError::Random`].
    pub fn reseal(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.seal(place, &self.open_seal(place, sealed)?)
    }
}

/// Key of the digests of API keys and of fingerprints. It is sealed in the store and stays when the master key changes:
/// digests cannot be made again without the keys.
#[derive(Clone)]
pub struct Pepper(Zeroizing<[u8; KEY_LEN]>);

impl Pepper {
    /// The bytes, for the table of the data plane.
    #[must_use]
    pub fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Digest under which an API key is stored: HMAC-SHA-256 of the whole key.
    #[must_use]
    pub fn digest(&self, key: &str) -> [u8; KEY_LEN] {
        let tag = self.sign(b"", key.as_bytes());
        tag.as_ref().try_into().unwrap_or([0; KEY_LEN])
    }

    /// 16 hex digits that tell whether two values are the same and nothing else about them.
    #[must_use]
    pub fn fingerprint(&self, value: &[u8]) -> String {
        let tag = self.sign(b"fingerprint\0", value);
        tag.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Digest of a request, which may hold a password: without the pepper it does not help to guess one.
    #[must_use]
    pub fn request_digest(&self, digest: &[u8; KEY_LEN]) -> [u8; KEY_LEN] {
        let tag = self.sign(b"request\0", digest);
        tag.as_ref().try_into().unwrap_or([0; KEY_LEN])
    }

    fn sign(&self, label: &[u8], value: &[u8]) -> hmac::Tag {
        let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice()));
        signing.update(label);
        signing.update(value);
        signing.sign()
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pepper(..)")
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Vault(..)")
    }
}

impl MasterKey {
    fn parse(line: &str) -> Option<Self> {
        if line.len() != KEY_LEN * 2 || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = Zeroizing::new([0u8; KEY_LEN]);
        for (slot, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *slot = u8::from_str_radix(line.get(at..at + 2)?, 16).ok()?;
        }
        let root = Salt::new(HKDF_SHA256, b"millrace master key").extract(bytes.as_slice());
        let mut wide = [0; KEY_LEN];
        let mut key = Self { id: [0; KEY_ID_LEN], root };
        key.derive("key-id", &mut wide).ok()?;
        key.id = *wide.first_chunk()?;
        wide.zeroize();
        Some(key)
    }

    /// It fails only for a length beyond 255 blocks.
    fn derive(&self, label: &str, into: &mut [u8; KEY_LEN]) -> Result<(), Unspecified> {
        self.root.expand(&[label.as_bytes()], HKDF_SHA256)?.fill(into)
    }

    fn cipher(&self, purpose: Purpose) -> Result<LessSafeKey, VaultError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        self.derive(purpose.label(), &mut key).map_err(|_| VaultError::Seal)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| VaultError::Seal)?;
        Ok(LessSafeKey::new(key))
    }
}

/// The associated data. Each part has its length in front, so that no two places read the same.
fn bound_to(place: Place<'_>) -> Vec<u8> {
    let version = place.version.to_string();
    let mut bound = Vec::new();
    let fixed = [place.purpose.label(), place.owner, place.record, &version];
    for part in fixed.into_iter().chain(place.origins.iter().map(String::as_str)) {
        bound.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bound.extend_from_slice(part.as_bytes());
    }
    bound
}

/// The last four characters of a value, if they tell little of it.
#[must_use]
pub fn last4(value: &str) -> String {
    let count = value.chars().count();
    if count < LAST4_CHARS_MIN { String::new() } else { value.chars().skip(count - 4).collect() }
}

fn make_file(path: &Path) -> Result<Zeroizing<String>, VaultError> {
    let mut bytes = Zeroizing::new([0u8; KEY_LEN]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| VaultError::Random)?;
    let mut text = Zeroizing::new(String::with_capacity(KEY_LEN * 2 + 1));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    // The name must be durable before anything is sealed with the key.
    let written = written.and_then(|()| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    });
    written.map_err(|error| VaultError::File(path.display().to_string(), error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const PLACE: Place<'static> =
        Place { purpose: Purpose::Secret, owner: "prj_a", record: "sec_a", version: 1, origins: &[] };

    fn vault(keys: &[char]) -> Vault {
        let lines: Vec<String> = keys.iter().map(|digit| digit.to_string().repeat(64)).collect();
        Vault::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn seal_opens_only_at_its_place() {
        let vault = vault(&['a']);
        let origins = ["https://a:443".to_owned()];
        let sealed = vault.seal(Place { origins: &origins, ..PLACE }, b"sk-canary").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        let own = vault.open_text(Place { origins: &origins, ..PLACE }, &sealed).unwrap();
        assert_eq!(own.reveal(), "sk-canary");
        let others = ["https://b:443".to_owned()];
        for (name, place) in [
            ("other purpose", Place { purpose: Purpose::ProviderKey, origins: &origins, ..PLACE }),
            ("other owner", Place { owner: "prj_b", origins: &origins, ..PLACE }),
            ("other record", Place { record: "sec_b", origins: &origins, ..PLACE }),
            ("other version", Place { version: 2, origins: &origins, ..PLACE }),
            ("other origin", Place { origins: &others, ..PLACE }),
            ("no origin", PLACE),
        ] {
            assert!(vault.open_seal(place, &sealed).is_err(), "{name}");
        }
    }

    #[test]
    fn damaged_seal_is_refused() {
        let vault = vault(&['a']);
        let sealed = vault.seal(PLACE, b"value").unwrap();
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(vault.open_seal(PLACE, &damaged).is_err(), "byte {at}");
            assert!(vault.open_seal(PLACE, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn old_master_key_opens_and_new_one_seals() {
        let old = vault(&['a']);
        let both = vault(&['b', 'a']);
        let sealed = old.seal(PLACE, b"value").unwrap();
        assert_eq!(both.open_seal(PLACE, &sealed).unwrap().as_slice(), b"value");
        assert!(!both.is_current(&sealed));
        let anew = both.seal(PLACE, b"value").unwrap();
        assert!(both.is_current(&anew) && old.open_seal(PLACE, &anew).is_err());
    }

    #[test]
    fn pepper_stays_when_the_master_key_changes() {
        let sealed = vault(&['a']).make_pepper().unwrap();
        let [before, after] = [vault(&['a']), vault(&['b', 'a'])].map(|vault| vault.open_pepper(&sealed).unwrap());
        assert_eq!(before.digest("mr_test_key"), after.digest("mr_test_key"));
        assert_ne!(before.digest("mr_test_key"), before.digest("mr_test_kez"));
        assert_eq!(before.fingerprint(b"value").len(), 16);
        assert!(vault(&['b']).open_pepper(&sealed).is_err());
    }

    #[test]
    fn digest_is_plain_hmac() {
        // RFC 4231, test case 2, has a shorter key; the same key padded with zeros signs the same.
        let mut key = [0u8; KEY_LEN];
        key[..4].copy_from_slice(b"Jefe");
        let digest = Pepper(Zeroizing::new(key)).digest("what do ya want for nothing?");
        assert_eq!(digest[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }

    #[test]
    fn master_key_file_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(matches!(Vault::open(&path, false), Err(VaultError::Missing(_))));
        let sealed = Vault::open(&path, true).unwrap().seal(PLACE, b"value").unwrap();
        assert!(Vault::open(&path, false).unwrap().open_seal(PLACE, &sealed).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Vault::open(&path, false), Err(VaultError::Mode(_, 0o640))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "zz", &"a".repeat(63), &format!("{}\nshort", "a".repeat(64))] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Vault::open(&path, false), Err(VaultError::Form(_))), "{text}");
        }
    }

    #[test]
    fn last_characters_of_a_short_value_are_not_shown() {
        assert_eq!(last4("sk-0123456789abcd"), "abcd");
        assert_eq!(last4("short-value"), "");
    }
}

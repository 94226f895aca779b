//! The form of API keys: prefix, id, secret, check.
//!
//! `mr_live_` or `mr_test_`, 12 characters of id, 43 of secret (256 bits), 6 of check, all `[0-9A-Za-z]`.
//! The check is a CRC-32 of everything before it: typing errors and scanner hits are decided offline.

use super::{id::push_random, secret::Secret};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIXES: [&str; 2] = ["mr_live_", "mr_test_"];
const ID_LEN: usize = 12;
const SECRET_LEN: usize = 43;
const CHECK_LEN: usize = 6;

/// Why a text is not a Millrace key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormError {
    /// Neither `mr_live_` nor `mr_test_`.
    #[error("a key starts with `mr_live_` or `mr_test_`")]
    Prefix,
    /// Wrong length or characters.
    #[error("a key has 61 letters and digits after its prefix")]
    Shape,
    /// The last six characters do not match the rest.
    #[error("the check characters do not match: the key is mistyped or cut")]
    Check,
}

/// Makes a new key of the `mr_test_` or `mr_live_` kind from the system's random source.
///
/// # Errors
/// The error of the random source.
pub fn generate_key(live: Kind) -> Result<Secret, getrandom::Error> {
    let mut text = String::with_capacity(8 + ID_LEN + SECRET_LEN + CHECK_LEN);
    text.push_str(match live {
        Kind::Live => PREFIXES[0],
        Kind::Test => PREFIXES[1],
    });
    push_random(&mut text, ID_LEN + SECRET_LEN)?;
    let check = check_of(&text);
    text.push_str(&check);
    Ok(Secret::new(text))
}

/// Makes a new secret behind the public id of a key, for a roll: logs and counters go on under the same name.
///
/// # Errors
/// The error of the random source.
pub fn renew_key(public_id: &str) -> Result<Secret, getrandom::Error> {
    let mut text = String::with_capacity(public_id.len() + SECRET_LEN + CHECK_LEN);
    text.push_str(public_id);
    push_random(&mut text, SECRET_LEN)?;
    let check = check_of(&text);
    text.push_str(&check);
    Ok(Secret::new(text))
}

/// Which prefix a new key gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `mr_live_`, for production.
    Live,
    /// `mr_test_`, for everything else.
    Test,
}

/// Checks the form of a key, its check characters included, without any table.
///
/// # Errors
/// [`KeyFormError`] names the first thing that is wrong.
pub fn verify_key_form(key: &str) -> Result<(), KeyFormError> {
    let rest = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)).ok_or(KeyFormError::Prefix)?;
    if rest.len() != ID_LEN + SECRET_LEN + CHECK_LEN || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(KeyFormError::Shape);
    }
    let (body, check) = key.split_at(key.len() - CHECK_LEN);
    if check_of(body) == check { Ok(()) } else { Err(KeyFormError::Check) }
}

/// Returns the public id inside a well-formed key: prefix and 12 characters, safe to log.
#[must_use]
pub fn key_id(key: &str) -> Option<&str> {
    verify_key_form(key).ok()?;
    key.get(..PREFIXES[0].len() + ID_LEN)
}

fn check_of(body: &str) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(body.as_bytes());
    let mut crc = crc.sum();
    let mut out = [0u8; CHECK_LEN];
    for slot in out.iter_mut().rev() {
        *slot = u8::try_from(letter(crc % 62)).unwrap_or(b'0');
        crc /= 62;
    }
    out.iter().map(|byte| char::from(*byte)).collect()
}

fn letter(draw: u32) -> char {
    let index = usize::try_from(draw % 62).unwrap_or(0);
    char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_key_has_the_documented_form() {
        let key = generate_key(Kind::Live).unwrap();
        assert_eq!(key.reveal().len(), 69);
        assert_eq!(verify_key_form(key.reveal()), Ok(()));
        assert_eq!(key_id(key.reveal()).map(str::len), Some(20));
    }

    #[test]
    fn renewed_key_keeps_its_public_id_and_nothing_else() {
        let key = generate_key(Kind::Live).unwrap();
        let id = key_id(key.reveal()).unwrap();
        let renewed = renew_key(id).unwrap();
        assert_eq!(key_id(renewed.reveal()), Some(id));
        assert_ne!(renewed.reveal(), key.reveal());
    }

    #[test]
    fn mistyped_key_is_refused() {
        let key = generate_key(Kind::Test).unwrap();
        let text = key.reveal();
        let mut swapped = text.to_owned();
        let last = if text.ends_with('0') { '1' } else { '0' };
        swapped.pop();
        swapped.push(last);
        for (name, text, want) in [
            ("other prefix", "sk-live-1", KeyFormError::Prefix),
            ("cut", &text[..40], KeyFormError::Shape),
            ("last character", &swapped, KeyFormError::Check),
        ] {
            assert_eq!(verify_key_form(text), Err(want), "{name}");
        }
    }
}

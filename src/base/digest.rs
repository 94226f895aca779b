//! Digests of API keys: what is stored instead of the key.
//!
//! A key has 256 random bits, so one fast hash is enough; slow hashes are for passwords. Files hold the plain SHA-256, a
//! store the HMAC-SHA-256 under its pepper (`key_hasher.rs`).

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 or HMAC-SHA-256 of a whole API key.
#[derive(Clone, Copy, Eq)]
pub struct Digest([u8; 32]);

/// Why a digest line is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 hex digits, as `millrace key new` prints it")]
pub struct DigestError;

impl Digest {
    /// Computes the SHA-256 of a key as the client sends it.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Takes over the bytes of a digest that was stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads `sha256:` and 64 hex digits.
    ///
    /// # Errors
    /// [`DigestError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:").ok_or(DigestError)?;
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(DigestError);
        }
        let mut bytes = [0u8; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = hex.get(index * 2..index * 2 + 2).ok_or(DigestError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }

    /// The first eight bytes as a number, for hash tables: the digest is uniform already.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        self.0.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Which of 256 shards holds the key: the last byte, of which [`Self::prefix`] knows nothing.
    #[must_use]
    pub fn shard(&self) -> usize {
        let [.., last] = self.0;
        usize::from(last)
    }
}

/// Compares in constant time, so that the time tells nothing about where two digests differ.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        let (words, others) = (self.0.as_chunks::<8>().0, other.0.as_chunks::<8>().0);
        let differing =
            words.iter().zip(others).map(|(word, other)| u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(*other));
        differing.fold(0, |sum, bits| sum | bits).ct_eq(&0).into()
    }
}

/// Hashes by the first eight bytes: the digest is already uniform.
impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("sha256:")?;
        for byte in self.0 {
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Digest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_text_round_trips() {
        // The test vector of FIPS 180-4 for "abc".
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::parse(text), Ok(digest));
    }

    #[test]
    fn malformed_digest_is_refused() {
        for text in ["", "sha256:", "ba7816bf", "sha256:zz", "sha512:00", "sha256:é"] {
            assert_eq!(Digest::parse(text), Err(DigestError), "{text}");
        }
        let plus = format!("sha256:+f{}", "0".repeat(62));
        assert_eq!(Digest::parse(&plus), Err(DigestError), "a sign is no hex digit");
    }
}

//! How keys become digests: plainly, or under a pepper.
//!
//! With a pepper a stolen table of digests tells nothing about a guessed key (threat T-01). HMAC is RFC 2104; its two
//! padded blocks are hashed once, so that a key of 69 bytes costs three compressions and no allocation.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::digest::Digest;

const BLOCK_BYTES: usize = 64;
const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;

/// Computes the digest under which a key is looked up.
#[derive(Clone)]
pub enum KeyHasher {
    /// SHA-256, as files of keys hold it.
    Plain,
    /// HMAC-SHA-256 under a pepper, as a store holds it.
    Keyed(Box<Keyed>),
}

/// The pepper as two states of SHA-256. They are overwritten when dropped.
#[derive(Clone)]
pub struct Keyed {
    inner: Sha256,
    outer: Sha256,
}

impl KeyHasher {
    /// Takes a pepper, 32 random bytes or more. The caller overwrites its own copy.
    #[must_use]
    pub fn keyed(pepper: &[u8]) -> Self {
        let mut block = Zeroizing::new([0u8; BLOCK_BYTES]);
        let hashed: Zeroizing<[u8; 32]>;
        let key = if pepper.len() > BLOCK_BYTES {
            hashed = Zeroizing::new(Sha256::digest(pepper).into());
            hashed.as_slice()
        } else {
            pepper
        };
        for (slot, byte) in block.iter_mut().zip(key) {
            *slot = *byte;
        }
        let state = |pad: u8| {
            let mut padded = Zeroizing::new([0u8; BLOCK_BYTES]);
            for (slot, byte) in padded.iter_mut().zip(block.iter()) {
                *slot = byte ^ pad;
            }
            Sha256::new_with_prefix(padded.as_slice())
        };
        Self::Keyed(Box::new(Keyed { inner: state(INNER_PAD), outer: state(OUTER_PAD) }))
    }

    /// Computes the digest of a key as the client sends it.
    #[must_use]
    pub fn digest(&self, key: &[u8]) -> Digest {
        match self {
            Self::Plain => Digest::of(key),
            Self::Keyed(state) => {
                let inner = state.inner.clone().chain_update(key).finalize();
                Digest::from_bytes(state.outer.clone().chain_update(inner).finalize().into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: &Digest) -> String {
        digest.to_string().split_off("sha256:".len())
    }

    #[test]
    fn keyed_digest_is_hmac_sha_256() {
        // RFC 4231, test cases 1, 2 and 6.
        for (pepper, key, want) in [
            (&[0x0b; 20][..], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&KeyHasher::keyed(pepper).digest(key.as_bytes())), want, "{key}");
        }
    }

    #[test]
    fn plain_digest_is_that_of_key_files() {
        assert_eq!(KeyHasher::Plain.digest(b"abc"), Digest::of(b"abc"));
        assert_ne!(KeyHasher::keyed(&[7; 32]).digest(b"abc"), Digest::of(b"abc"));
    }
}

//! The id of one request: the client's own, or time and chance.

use super::{clock::UnixTime, hex::hex16};

/// Longest id that is taken over from a client, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
const MADE_LEN: usize = 36;
/// Bits of a made id below its time.
const RANDOM_BITS: u32 = 80;

/// Names one request in headers, logs and records.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Made([u8; MADE_LEN]),
    Client(Box<str>),
}

impl RequestId {
    /// Makes an id of the milliseconds since 1970, 48 bits, and the lower 80 of the bits that the caller draws at random.
    ///
    /// The time comes first because rows are found by their ids: those of one moment lie together in the store, where ids
    /// without any order would change a page of the index each.
    #[must_use]
    pub fn begun(at: UnixTime, random: u128) -> Self {
        let random = random & ((1 << RANDOM_BITS) - 1);
        Self::made((at.0.as_millis() << RANDOM_BITS) | random)
    }

    /// Makes `req_` and 32 hex digits from 128 bits.
    #[must_use]
    pub fn made(bits: u128) -> Self {
        let mut text = *b"req_00000000000000000000000000000000";
        let halves = [bits >> 64, bits & u128::from(u64::MAX)].map(|half| hex16(u64::try_from(half).unwrap_or(0)));
        if let Some(slots) = text.get_mut(4..) {
            slots.copy_from_slice(halves.as_flattened());
        }
        Self(Form::Made(text))
    }

    /// Takes over a client's id if it is 1 to 128 characters of `[A-Za-z0-9._-]`.
    #[must_use]
    pub fn from_client(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > REQUEST_ID_BYTES_MAX {
            return None;
        }
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !text.iter().all(allowed) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        Some(Self(Form::Client(text.into())))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Made(bytes) => std::str::from_utf8(bytes).unwrap_or("req_"),
            Form::Client(text) => text,
        }
    }

    /// Returns the id as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Made(bytes) => bytes,
            Form::Client(text) => text.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_id_shows_its_bits() {
        let id = RequestId::made(0x0123_4567_89ab_cdef_0000_0000_0000_00ff);
        assert_eq!(id.as_str(), "req_0123456789abcdef00000000000000ff");
    }

    #[test]
    fn later_ids_sort_behind_earlier_ones_whatever_is_drawn() {
        let at = |ms| UnixTime(std::time::Duration::from_millis(ms));
        let mut random = fastrand::Rng::with_seed(3);
        let ids: Vec<RequestId> = (1..200).map(|ms| RequestId::begun(at(ms * ms), random.u128(..))).collect();
        assert!(ids.is_sorted_by(|one, next| one.as_str() < next.as_str()));
        let shown = RequestId::begun(at(1_795_354_000_123), u128::MAX >> 1);
        assert_eq!(shown.as_str(), "req_01a2036ffafbffffffffffffffffffff");
        let of_one_moment = [1, 2].map(|draw| RequestId::begun(at(5), draw));
        assert_ne!(of_one_moment[0].as_str(), of_one_moment[1].as_str());
    }

    #[test]
    fn client_id_is_taken_only_in_its_charset() {
        let long = "a".repeat(129);
        for (text, taken) in [
            ("abc-1.2_3", true),
            ("", false),
            ("a b", false),
            ("a\r\nx: y", false),
            ("é", false),
            (long.as_str(), false),
        ] {
            assert_eq!(RequestId::from_client(text.as_bytes()).is_some(), taken, "{text}");
        }
    }
}

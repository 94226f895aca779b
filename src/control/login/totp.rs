//! Codes of a second factor: TOTP as RFC 6238 has it.
//!
//! HMAC-SHA-1, six digits, half a minute a step: what every authenticator takes without being told. SHA-1 is as good as
//! any here, because a code proves that a key is known and protects no text.

use ring::hmac;

use crate::base::UnixTime;

/// Bytes of a shared secret: as many as the hash has (RFC 4226, section 4).
pub(super) const KEY_LEN: usize = 20;
/// Seconds of a step.
const STEP_SECONDS: u64 = 30;
/// Digits of a code.
const DIGITS: usize = 6;
/// Steps before and after the present one whose codes are taken: clocks differ, and people type.
const DRIFT_STEPS: u64 = 1;
/// The alphabet of RFC 4648, section 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The step that a code belongs to, if it is near enough and later than the last one that was used.
pub(super) fn step_of(key: &[u8], code: &str, now: UnixTime, last_step: u64) -> Option<u64> {
    let typed: String = code.chars().filter(|letter| *letter != ' ').collect();
    if typed.len() != DIGITS || !typed.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let typed: u32 = typed.parse().ok()?;
    let present = now.seconds() / STEP_SECONDS;
    let mut near = present.saturating_sub(DRIFT_STEPS)..=present.saturating_add(DRIFT_STEPS);
    near.find(|step| *step > last_step && code_at(key, *step) == Some(typed))
}

/// The code of a step.
pub(super) fn code_at(key: &[u8], step: u64) -> Option<u32> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last()? & 0x0f);
    let four: [u8; 4] = tag.get(offset..offset + 4)?.try_into().ok()?;
    Some((u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

/// The step of a time.
#[cfg(test)]
pub(super) fn step_at(time: UnixTime) -> u64 {
    time.seconds() / STEP_SECONDS
}

/// Writes a shared secret as authenticators take it: base 32 without padding. 20 bytes fill it exactly.
pub(super) fn base32(bytes: &[u8; KEY_LEN]) -> String {
    let mut text = String::with_capacity(KEY_LEN * 8 / 5);
    for chunk in bytes.chunks(5) {
        let word = chunk.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let letter = usize::try_from(word >> (place * 5) & 31).ok().and_then(|at| BASE32.get(at));
            text.extend(letter.map(|letter| char::from(*letter)));
        }
    }
    text
}

/// The address that an authenticator reads from a QR code (Key URI format).
pub(super) fn otpauth_url(secret: &str, email: &str) -> String {
    let mut account = String::with_capacity(email.len());
    for byte in email.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            account.push(char::from(byte));
        } else {
            account.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("otpauth://totp/Millrace:{account}?secret={secret}&issuer=Millrace&algorithm=SHA1&digits=6&period=30")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEY: &[u8; KEY_LEN] = b"12345678901234567890";

    fn at(seconds: u64) -> UnixTime {
        UnixTime(Duration::from_secs(seconds))
    }

    /// RFC 6238, appendix B, the rows of SHA-1, last six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (seconds, code) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000, 353_130),
        ] {
            assert_eq!(code_at(KEY, step_at(at(seconds))), Some(code), "{seconds}");
        }
    }

    #[test]
    fn code_is_taken_one_step_early_or_late_and_once() {
        let step = step_at(at(1_111_111_111));
        for (name, code, seconds, last, want) in [
            ("in time", "050471", 1_111_111_111, 0, Some(step)),
            ("typed in two groups", "050 471", 1_111_111_111, 0, Some(step)),
            ("a step late", "050471", 1_111_111_141, 0, Some(step)),
            ("a step early", "050471", 1_111_111_081, 0, Some(step)),
            ("two steps late", "050471", 1_111_111_171, 0, None),
            ("two steps early", "050471", 1_111_111_051, 0, None),
            ("used", "050471", 1_111_111_111, step, None),
            ("a later one was used", "050471", 1_111_111_111, step + 1, None),
            ("wrong", "050472", 1_111_111_111, 0, None),
            ("short", "50471", 1_111_111_111, 0, None),
            ("long", "0050471", 1_111_111_111, 0, None),
            ("signed", "+50471", 1_111_111_111, 0, None),
            ("empty", "", 1_111_111_111, 0, None),
        ] {
            assert_eq!(step_of(KEY, code, at(seconds), last), want, "{name}");
        }
    }

    #[test]
    fn secret_is_written_as_authenticators_read_it() {
        assert_eq!(base32(KEY), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            otpauth_url("ABC", "ann+ops@example.com"),
            "otpauth://totp/Millrace:ann%2Bops%40example.com?secret=ABC&issuer=Millrace&algorithm=SHA1&digits=6&period=30"
        );
    }
}

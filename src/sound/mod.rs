//! How long a file of sound is, told from its bytes.
//!
//! Nothing is decoded: headers and frames are walked, in linear time, without recursion, and in turns. Where the walk sees all that a decoder
//! can turn into sound (WAV of plain samples, FLAC, Ogg with Opus), its sum is the most that the file can last. MP3 is walked frame
//! by frame as decoders do. Other files say themselves how long they are (MP4, WebM, Ogg with Vorbis): that is a claim, which counts
//! for no less than [`CLAIM_BYTES_MS`] allows. Of what is none of these only the size is known.

mod ebml;
mod flac;
mod found;
mod mp4;
mod mpeg;
mod ogg;
mod wav;

#[cfg(test)]
mod tests;

use crate::base::Turns;

use found::Found;

/// Most bytes of a millisecond in a file whose length is its own claim: 512 kbit/s, more than speech is ever coded with.
const CLAIM_BYTES_MS: u64 = 64;
/// Milliseconds of a byte in a file that nobody here can read: 8 kbit/s, the lowest rate that MP3 has.
const UNKNOWN_BYTE_MS: u64 = 1;
/// Milliseconds that decoders and their floating-point numbers add.
const DECODED_MS_MORE: u64 = 100;
/// How often a claim may be wrong before it is odd.
const CLAIM_FACTOR: u64 = 4;
/// Longest that anything lasts of which only its own claim is known, in milliseconds: a day. Silence needs next to no bytes, so
/// its size bounds nothing.
const CLAIM_MS_MAX: u64 = 86_400_000;

/// How long a file lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// As far as can be told from here, in milliseconds.
    pub millis: u64,
    /// What a provider may say before it is odd, in milliseconds.
    pub likely_max: u64,
    /// What something odd counts for at most, in milliseconds: what is known of the file, if anything is.
    pub millis_max: u64,
}

/// Measures a file. Every file has a length: at worst the one that its size allows.
#[must_use]
pub async fn measure(file: &[u8], turns: &mut Turns) -> Length {
    let bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
    let by_size = bytes.saturating_mul(UNKNOWN_BYTE_MS);
    let (millis, likely_max) = match find(file, turns).await {
        Some(Found::Proven(millis)) => {
            // Providers count whole seconds, rounded up.
            let whole = millis.div_ceil(1_000).saturating_mul(1_000);
            return Length { millis, likely_max: whole + DECODED_MS_MORE, millis_max: whole };
        }
        Some(Found::Claimed(millis)) => {
            let millis = millis.max(bytes / CLAIM_BYTES_MS);
            (millis, millis.saturating_mul(CLAIM_FACTOR).max(by_size).max(1_000))
        }
        None => (by_size, by_size.saturating_mul(CLAIM_FACTOR).max(1_000)),
    };
    Length { millis, likely_max, millis_max: likely_max.max(CLAIM_MS_MAX) }
}

async fn find(file: &[u8], turns: &mut Turns) -> Option<Found> {
    if let Some(found) = wav::find(file).or_else(|| mp4::find(file)) {
        return Some(found);
    }
    if let Some(found) = flac::find(file, turns).await {
        return Some(found);
    }
    if let Some(found) = ogg::find(file, turns).await {
        return Some(found);
    }
    if let Some(found) = ebml::find(file, turns).await {
        return Some(found);
    }
    mpeg::find(file, turns).await
}

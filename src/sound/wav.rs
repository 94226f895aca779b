//! WAV: samples of one size, so the size of the file tells.
//!
//! The sizes that the file states are not needed: all of it is taken for samples.

use super::found::{Found, bytes_at};

/// Chunks before the samples.
const CHUNKS_MAX: usize = 64;
/// `WAVE_FORMAT_PCM`, `_IEEE_FLOAT`, `_ALAW`, `_MULAW`: a sample is as many bytes as the header says.
const PLAIN_FORMATS: [u16; 4] = [1, 3, 6, 7];
const EXTENSIBLE: u16 = 0xfffe;

pub(super) fn find(file: &[u8]) -> Option<Found> {
    if !matches!(file.get(..4)?, b"RIFF" | b"RF64") || file.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut bytes_per_s) = (12, None);
    for _ in 0..CHUNKS_MAX {
        let name = bytes_at::<4>(file, at)?;
        let size = usize::try_from(u32::from_le_bytes(bytes_at(file, at + 4)?)).ok()?;
        match &name {
            // Two formats: nobody knows by which a decoder goes.
            b"fmt " if bytes_per_s.is_some() => return None,
            b"fmt " => bytes_per_s = Some(rate(file.get(at + 8..)?.get(..size)?)?),
            b"data" => {
                let bytes = u64::try_from(file.len().saturating_sub(at + 8)).ok()?;
                return Some(Found::Proven(bytes.saturating_mul(1_000).div_ceil(bytes_per_s?)));
            }
            _ => {}
        }
        // Chunks begin at even places.
        at = at.checked_add(8)?.checked_add(size)?.checked_add(size % 2)?;
    }
    None
}

/// The fewest bytes that a second of this format has.
fn rate(format: &[u8]) -> Option<u64> {
    let word = |at: usize| bytes_at(format, at).map(u16::from_le_bytes);
    let kind = match word(0)? {
        EXTENSIBLE => word(24)?,
        kind => kind,
    };
    let (channels, bits, block) = (u64::from(word(2)?), u64::from(word(14)?), u64::from(word(12)?));
    let samples_per_s = u64::from(u32::from_le_bytes(bytes_at(format, 4)?));
    if !PLAIN_FORMATS.contains(&kind) || channels == 0 || bits == 0 || block == 0 || samples_per_s == 0 {
        return None;
    }
    let frame = (channels * (bits / 8).max(1)).min(block);
    samples_per_s.checked_mul(frame)
}

//! FLAC: the sum of its frames.
//!
//! A frame cannot be stepped over without decoding it. So every place is taken for a frame that has the head of one, with its
//! checksum: what a decoder plays is among them, and hardly anything else ever is.

use crate::base::Turns;

use super::{
    found::{Found, Sum, bytes_at},
    mpeg::behind_tag,
};

pub(super) async fn find(file: &[u8], turns: &mut Turns) -> Option<Found> {
    let file = behind_tag(file);
    if file.get(..4)? != b"fLaC" {
        return None;
    }
    // The first block is STREAMINFO; 20 bits of it are the rate.
    let [high, middle, low] = bytes_at::<3>(file, 18)?;
    let stated = (u64::from(high) << 12) | (u64::from(middle) << 4) | (u64::from(low) >> 4);
    if file.get(4)? & 0x7f != 0 || stated == 0 {
        return None;
    }
    let mut sum = Sum::default();
    let mut at = 0;
    while at < file.len() {
        let over = turns.over_at(file, at);
        for found in memchr::memchr_iter(0xff, file.get(at..over)?) {
            if let Some((samples, rate)) = file.get(at + found..).and_then(|bytes| frame(bytes, stated)) {
                sum.add(samples, rate);
            }
        }
        turns.spend(over - at).await;
        at = over;
    }
    Some(Found::Proven(sum.millis()))
}

/// Samples and rate of the frame that begins here.
fn frame(bytes: &[u8], stated: u64) -> Option<(u64, u64)> {
    let [_, sync, sizes, channels, number] = bytes_at::<5>(bytes, 0)?;
    if sync & 0xfe != 0xf8 || channels & 1 != 0 || channels >> 4 > 10 {
        return None;
    }
    // The number of the frame or sample, coded as UTF-8 codes letters.
    let mut at = 4 + match number.leading_ones() {
        0 => 1,
        more @ 2..=7 => usize::try_from(more).ok()?,
        _ => return None,
    };
    let mut take = |count: usize| -> Option<u64> {
        let value = bytes.get(at..at + count)?.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
        at += count;
        Some(value)
    };
    let samples = match sizes >> 4 {
        0 => return None,
        1 => 192,
        code @ 2..=5 => 576 << (code - 2),
        6 => take(1)? + 1,
        7 => take(2)? + 1,
        code => 256 << (code - 8),
    };
    const RATES: [u64; 11] = [88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
    let rate = match sizes & 0x0f {
        0 => stated,
        12 => take(1)? * 1_000,
        13 => take(2)?,
        14 => take(2)? * 10,
        code => *RATES.get(usize::from(code) - 1)?,
    };
    let checksum = bytes.get(..at)?.iter().fold(0, |sum, byte| CRC8.get(usize::from(sum ^ byte)).copied().unwrap_or(0));
    (*bytes.get(at)? == checksum && rate > 0).then_some((samples, rate))
}

/// The checksum with the polynomial x^8 + x^2 + x + 1, of each single byte. A file may have a candidate at every second byte.
static CRC8: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_usize;
    while let Some((slot, _)) = table.split_at_mut(byte).1.split_first_mut() {
        #[expect(clippy::cast_possible_truncation, reason = "the table has 256 places")]
        let mut sum = byte as u8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x80 == 0 { sum << 1 } else { (sum << 1) ^ 0x07 };
            bit += 1;
        }
        *slot = sum;
        byte += 1;
    }
    table
};

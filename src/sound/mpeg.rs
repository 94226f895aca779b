//! MP3 and its kin: frame by frame.

use crate::base::Turns;

use super::found::{Found, Sum, bytes_at};

/// Junk before the first frame, behind a tag.
const LEAD_BYTES_MAX: usize = 4_096;

pub(super) async fn find(file: &[u8], turns: &mut Turns) -> Option<Found> {
    let file = behind_tag(file);
    let first = memchr::memchr_iter(0xff, file.get(..file.len().min(LEAD_BYTES_MAX))?).find(|at| {
        let next = frame(file, *at).map(|(bytes, ..)| at + bytes);
        // One frame alone may be chance, unless it is all there is.
        next.is_some_and(|next| frame(file, next).is_some() || (*at == 0 && next >= file.len()))
    });
    let (mut at, mut sum) = (first?, Sum::default());
    while at < file.len() {
        let (from, over) = (at, turns.over_at(file, at));
        while let Some(found) = file.get(at..over).and_then(|rest| memchr::memchr(0xff, rest)) {
            at += found;
            match frame(file, at) {
                Some((bytes, samples, rate)) => {
                    sum.add(samples, rate);
                    at += bytes;
                }
                None => at += 1,
            }
        }
        at = at.max(over);
        turns.spend(at - from).await;
    }
    Some(Found::Claimed(sum.millis()))
}

/// The file behind an ID3 tag at its beginning.
pub(super) fn behind_tag(file: &[u8]) -> &[u8] {
    let Some([b'I', b'D', b'3', _, _, _, a, b, c, d]) = bytes_at::<10>(file, 0) else { return file };
    let size = [a, b, c, d].iter().fold(0_usize, |size, byte| (size << 7) | usize::from(byte & 0x7f));
    file.get(10 + size..).unwrap_or_default()
}

/// Length in bytes, samples and rate of the frame at a place. Frames of free format, whose length only the next one tells, are none.
fn frame(file: &[u8], at: usize) -> Option<(usize, u64, u64)> {
    const RATES: [u64; 3] = [44_100, 48_000, 32_000];
    // Kilobits a second: MPEG-1 layers I, II, III; MPEG-2 and 2.5 layer I, layers II and III.
    const KBITS: [[u64; 14]; 5] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let [sync, kind, rates, _] = bytes_at::<4>(file, at)?;
    if sync != 0xff || kind & 0xe0 != 0xe0 {
        return None;
    }
    // Version 1, 2 or 2.5 by how often the rate is halved.
    let halved = match (kind >> 3) & 3 {
        3 => 0,
        2 => 1,
        0 => 2,
        _ => return None,
    };
    let layer = match (kind >> 1) & 3 {
        3 => 1,
        2 => 2,
        1 => 3,
        _ => return None,
    };
    let row = if halved == 0 { layer - 1 } else { 3 + usize::from(layer > 1) };
    let kbits = *KBITS.get(row)?.get(usize::from(rates >> 4).checked_sub(1)?)?;
    let rate = RATES.get(usize::from((rates >> 2) & 3))? >> halved;
    let samples = match (layer, halved) {
        (1, _) => 384,
        (3, 1..) => 576,
        _ => 1_152,
    };
    let padding = u64::from((rates >> 1) & 1) * if layer == 1 { 4 } else { 1 };
    // Layer I counts in slots of four bytes.
    let bytes = match layer {
        1 => (12_000 * kbits / rate) * 4 + padding,
        _ => samples / 8 * 1_000 * kbits / rate + padding,
    };
    Some((usize::try_from(bytes).ok()?.max(4), samples, rate))
}

//! MP4 and M4A: what `mvhd` says.

use super::found::{Found, Sum, bytes_at};

/// Boxes that are looked at on one level.
const BOXES_MAX: usize = 1_024;

pub(super) fn find(file: &[u8]) -> Option<Found> {
    if file.get(4..8)? != b"ftyp" {
        return None;
    }
    let head = content(content(file, b"moov")?, b"mvhd")?;
    let (rate, length) = match head.first()? {
        0 => (bytes_at(head, 12).map(u32::from_be_bytes)?, u64::from(bytes_at(head, 16).map(u32::from_be_bytes)?)),
        1 => (bytes_at(head, 20).map(u32::from_be_bytes)?, bytes_at(head, 24).map(u64::from_be_bytes)?),
        _ => return None,
    };
    let mut sum = Sum::default();
    sum.add(length, u64::from(rate));
    // Files that are written while they are recorded say nothing.
    Some(Found::Claimed(sum.millis())).filter(|_| rate > 0 && length > 0)
}

/// The content of the first box of this name.
fn content<'a>(boxes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        let size = u64::from(u32::from_be_bytes(bytes_at(boxes, at)?));
        let name = bytes_at::<4>(boxes, at + 4)?;
        let (head, size) = match size {
            0 => (8, u64::try_from(boxes.len() - at).ok()?),
            1 => (16, u64::from_be_bytes(bytes_at(boxes, at + 8)?)),
            size => (8, size),
        };
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        if end < at + head {
            return None;
        }
        if name == *wanted {
            return boxes.get(at + head..end.min(boxes.len()));
        }
        at = end;
    }
    None
}

//! WebM: the time of its last block.
//!
//! Recorders of browsers write neither a length nor the sizes of what they have not finished. So elements that hold others are
//! entered and never left, all others are stepped over, and the latest time of a block is what there is.

use crate::base::Turns;

use super::found::{Found, bytes_at};

const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
const CLUSTER: u32 = 0x1f43_b675;
const CLUSTER_TIME: u32 = 0xe7;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
/// The last block lasts as long as nobody says: a packet of Opus has 120 ms at most.
const LAST_BLOCK_MS: u64 = 120;

pub(super) async fn find(file: &[u8], turns: &mut Turns) -> Option<Found> {
    if bytes_at(file, 0)? != [0x1a, 0x45, 0xdf, 0xa3] {
        return None;
    }
    let (mut at, mut scale_ns, mut cluster, mut last) = (0, 1_000_000, 0_u64, None);
    while let Some((id, size, content)) = element(file, at) {
        turns.spend(content - at).await;
        let value = || file.get(content..content.checked_add(size?)?);
        match id {
            SEGMENT | INFO | CLUSTER | BLOCK_GROUP => {
                at = content;
                continue;
            }
            TIMESTAMP_SCALE => scale_ns = number(value()?)?.max(1),
            CLUSTER_TIME => cluster = number(value()?)?,
            SIMPLE_BLOCK | BLOCK => {
                let block = value().unwrap_or_else(|| file.get(content..).unwrap_or_default());
                // The number of the track, then the time beside the cluster's.
                let track = usize::try_from(block.first()?.leading_zeros()).ok()? + 1;
                let beside = i16::from_be_bytes(bytes_at(block, track)?);
                last = last.max(Some(cluster.saturating_add_signed(i64::from(beside))));
            }
            _ => {}
        }
        let Some(end) = size.and_then(|size| content.checked_add(size)) else { break };
        at = end;
    }
    let millis = u128::from(last?) * u128::from(scale_ns) / 1_000_000;
    Some(Found::Claimed(u64::try_from(millis).ok()?.saturating_add(LAST_BLOCK_MS)))
}

/// Name, size and place of the content of the element here; no size where it is not known.
fn element(file: &[u8], at: usize) -> Option<(u32, Option<usize>, usize)> {
    let rest = file.get(at..)?;
    let name = usize::try_from(rest.first()?.leading_zeros()).ok()? + 1;
    let id = rest.get(..name).filter(|_| name <= 4)?.iter().fold(0, |id, byte| (id << 8) | u32::from(*byte));
    let length = usize::try_from(rest.get(name)?.leading_zeros()).ok()? + 1;
    let bits = rest.get(name..name + length).filter(|_| length <= 8)?;
    let value = bits.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    let mask = (1_u64 << (7 * length)) - 1;
    let size = (value & mask != mask).then_some(value & mask);
    Some((id, size.and_then(|size| usize::try_from(size).ok()), at + name + length))
}

fn number(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

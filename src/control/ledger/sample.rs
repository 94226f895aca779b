//! Which requests become a row of their own.

use crate::usage::Record;

/// Which requests are stored one by one. Those that failed, were refused, took more than one attempt or are kept with what
/// they said always are; sums hold all of them in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRows {
    /// Only those that failed or were refused.
    Errors,
    /// So many of a hundred beside them.
    Sampled(u8),
    /// All of them.
    All,
}

impl RequestRows {
    /// Whether a request is stored. Decided by its id alone, so that all parts of a system keep the same ones.
    #[must_use]
    pub fn keeps(self, record: &Record) -> bool {
        match self {
            Self::All => true,
            _ if record.is_error() || record.tried.is_some() || record.payload.is_some() => true,
            Self::Errors => false,
            Self::Sampled(percent) => share_of(record.request_id.as_bytes()) < u64::from(percent),
        }
    }
}

/// 0 to 99, the same for the same id: FNV-1a, its bits mixed once more.
fn share_of(id: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = id.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    ((hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) % 100
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{RequestId, UnixTime};

    fn record(id: RequestId, status: u16) -> Record {
        Record { status, ..Record::begun(UnixTime(Duration::ZERO), id, "chat") }
    }

    #[test]
    fn share_of_the_ids_is_kept_and_every_error() {
        let mut random = fastrand::Rng::with_seed(7);
        // As the gateway makes them: the time in front is the same for many.
        let at = UnixTime(Duration::from_secs(1_795_000_000));
        let begun = |draw| RequestId::begun(at, draw);
        let ids: Vec<u128> = (0..100_000).map(|_| random.u128(..)).collect();
        for (percent, around) in [(0, 0..=0), (5, 4_700..=5_300), (50, 49_300..=50_700), (100, 100_000..=100_000)] {
            let rows = RequestRows::Sampled(percent);
            let kept = ids.iter().filter(|id| rows.keeps(&record(begun(**id), 200))).count();
            assert!(around.contains(&kept), "{percent} %: {kept}");
            assert!(
                ids.iter()
                    .take(1_000)
                    .all(|id| rows.keeps(&record(begun(*id), 429)) && rows.keeps(&record(begun(*id), 0)))
            );
        }
        assert!(
            RequestRows::Errors.keeps(&record(begun(1), 502)) && !RequestRows::Errors.keeps(&record(begun(1), 200))
        );
        assert!(RequestRows::All.keeps(&record(begun(1), 200)));
    }
}

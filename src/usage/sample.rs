//! Which requests become a row of their own.

use super::record::Record;
use crate::base::RequestId;

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
    /// Whether a request is stored if nothing of note happens to it. Decided by its id alone, so that all parts of a system
    /// keep the same ones.
    #[must_use]
    pub fn samples(self, id: &RequestId) -> bool {
        match self {
            Self::All => true,
            Self::Errors => false,
            Self::Sampled(percent) => share_of(id.as_bytes()) < u64::from(percent),
        }
    }
}

impl Record {
    /// Whether the request becomes a row of its own.
    #[must_use]
    pub fn is_row(&self) -> bool {
        self.is_sampled || self.is_error() || self.tried.is_some() || self.payload.is_some()
    }
}

/// 0 to 99, the same for the same id: its words multiplied into one another, their bits mixed once more.
fn share_of(id: &[u8]) -> u64 {
    let fold = |hash: u64, word: [u8; 8]| {
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    };
    let (words, rest) = id.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    let hash = fold(words.iter().copied().fold(0xcbf2_9ce4_8422_2325, fold), last);
    ((hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) % 100
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::UnixTime;

    #[test]
    fn share_of_the_ids_is_kept_and_every_error() {
        let mut random = fastrand::Rng::with_seed(7);
        // As the gateway makes them: the time in front is the same for many.
        let at = UnixTime(Duration::from_secs(1_795_000_000));
        let ids: Vec<_> = (0..100_000).map(|_| RequestId::begun(at, random.u128(..))).collect();
        for (percent, around) in [(0, 0..=0), (5, 4_700..=5_300), (50, 49_300..=50_700), (100, 100_000..=100_000)] {
            let rows = RequestRows::Sampled(percent);
            let kept = ids.iter().filter(|id| rows.samples(id)).count();
            assert!(around.contains(&kept), "{percent} %: {kept}");
        }
        let [errors, all] = [RequestRows::Errors, RequestRows::All].map(|rows| rows.samples(&ids[0]));
        assert_eq!((errors, all), (false, true));
        for (status, is_sampled, want) in
            [(200, false, false), (200, true, true), (429, false, true), (502, false, true), (0, false, true)]
        {
            let begun = Record::begun(UnixTime(Duration::ZERO), ids[0].clone(), "chat");
            assert_eq!(Record { status, is_sampled, ..begun }.is_row(), want, "{status} {is_sampled}");
        }
    }
}

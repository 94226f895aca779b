//! Durations counted so that any two counts can be merged.
//!
//! Log-linear: 16 steps for each doubling, so that what is read differs from what was counted by at most 3.2 %, from 1 us to
//! years. Kept sparse, since one bucket of a roll-up holds few different durations; a merge is exact in counts.

use std::time::Duration;

/// Bits that tell steps of one doubling apart.
const STEP_BITS: u32 = 4;
const STEPS: u64 = 1 << STEP_BITS;
/// Bytes of a number of 64 bits at most, 7 bits in each.
const VARINT_BYTES_MAX: u32 = 10;

/// How often which durations were seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution(Vec<(u16, u64)>);

impl Distribution {
    /// Counts one duration.
    pub fn add(&mut self, duration: Duration) {
        self.add_count(step_of(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)), 1);
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        for (step, count) in &other.0 {
            self.add_count(*step, *count);
        }
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The duration below which so many hundredths of all are, to 3.2 %; none if nothing was counted.
    #[must_use]
    pub fn percentile(&self, hundredths: u8) -> Option<Duration> {
        let rank = u128::from(self.count()) * u128::from(hundredths.min(100));
        let rank = rank.div_ceil(100).max(1);
        let mut seen = 0u128;
        let found = self.0.iter().find(|(_, count)| {
            seen += u128::from(*count);
            seen >= rank
        });
        found.map(|(step, _)| Duration::from_micros(middle_of(*step)))
    }

    /// The counts as bytes: for each step its distance from the one before and its count, 7 bits in a byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 3);
        let mut last = 0;
        for (step, count) in &self.0 {
            push(&mut bytes, u64::from(step - last));
            push(&mut bytes, *count);
            last = *step;
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote; none for anything else.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let (mut steps, mut last) = (Vec::new(), 0u16);
        while !bytes.is_empty() {
            let distance = u16::try_from(pull(&mut bytes)?).ok()?;
            if distance == 0 && !steps.is_empty() {
                return None;
            }
            last = last.checked_add(distance)?;
            steps.push((last, pull(&mut bytes)?));
        }
        Some(Self(steps))
    }

    fn add_count(&mut self, step: u16, count: u64) {
        match self.0.binary_search_by_key(&step, |(step, _)| *step) {
            Ok(found) => {
                if let Some((_, sum)) = self.0.get_mut(found) {
                    *sum = sum.saturating_add(count);
                }
            }
            Err(place) => self.0.insert(place, (step, count)),
        }
    }
}

/// The step of a number of microseconds.
fn step_of(us: u64) -> u16 {
    let step = match us.checked_ilog2() {
        Some(log) if log >= STEP_BITS => {
            let doubling = log - STEP_BITS;
            (u64::from(doubling) + 1) * STEPS + ((us >> doubling) & (STEPS - 1))
        }
        _ => us,
    };
    u16::try_from(step).unwrap_or(u16::MAX)
}

/// The number in the middle of a step.
fn middle_of(step: u16) -> u64 {
    let (doubling, rest) = (u64::from(step) / STEPS, u64::from(step) % STEPS);
    let Some(shift) = doubling.checked_sub(1) else { return rest };
    let low = (STEPS + rest).checked_shl(u32::try_from(shift).unwrap_or(u32::MAX)).unwrap_or(u64::MAX);
    let half = 1u64.checked_shl(u32::try_from(shift).unwrap_or(u32::MAX)).unwrap_or(u64::MAX) / 2;
    low.saturating_add(half)
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0x7f);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn pull(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for place in 0..VARINT_BYTES_MAX {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(place * 7)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(all: &[u64]) -> Distribution {
        let mut made = Distribution::default();
        all.iter().for_each(|us| made.add(Duration::from_micros(*us)));
        made
    }

    #[test]
    fn nothing_has_no_percentile_and_one_is_all_of_them() {
        assert_eq!(Distribution::default().percentile(50), None);
        assert_eq!(of(&[7]).percentile(99), Some(Duration::from_micros(7)));
        assert_eq!(of(&[1, 2, 3, 4]).percentile(50), Some(Duration::from_micros(2)));
        assert_eq!(of(&[u64::MAX]).count(), 1);
    }

    #[test]
    fn broken_bytes_are_refused() {
        for bytes in [&[0x80][..], &[1], &[1, 1, 0, 1], &[0xff; 11], &[0xff, 0xff, 0xff, 1, 1]] {
            assert_eq!(Distribution::from_bytes(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn merged_counts_are_those_of_all_together(
            left in proptest::collection::vec(0..u64::MAX, 0..50),
            right in proptest::collection::vec(0..100_000_000u64, 0..50),
        ) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let all: Vec<u64> = left.iter().chain(&right).copied().collect();
            prop_assert_eq!(&merged, &of(&all));
            prop_assert_eq!(Distribution::from_bytes(&merged.to_bytes()), Some(merged));
        }

        #[test]
        fn percentile_is_that_of_the_sorted_values_to_3_2_percent(
            mut all in proptest::collection::vec(0..10_000_000_000u64, 1..200), hundredths in 1u8..=100,
        ) {
            let read = of(&all).percentile(hundredths).unwrap().as_micros();
            all.sort_unstable();
            let rank = (all.len() * usize::from(hundredths)).div_ceil(100);
            let exact = u128::from(all[rank - 1]);
            prop_assert!(read.abs_diff(exact) * 1_000 <= exact * 32, "{read} for {exact}");
        }
    }
}

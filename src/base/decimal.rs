//! Numbers as decimal text, without a text of their own.

/// 00 to 99.
const PAIRS: [[u8; 2]; 100] = pairs();

/// The decimal digits of a number.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    digits: [u8; 20],
    /// Where the first digit stands.
    at: usize,
}

impl Decimal {
    /// Writes a number.
    #[must_use]
    pub fn new(mut value: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        // Two digits a division.
        for slot in digits.as_chunks_mut::<2>().0.iter_mut().rev() {
            let pair = usize::try_from(value % 100).ok().and_then(|pair| PAIRS.get(pair)).copied().unwrap_or_default();
            *slot = pair;
            value /= 100;
            at -= 2;
            if value == 0 {
                at += usize::from(pair.starts_with(b"0"));
                break;
            }
        }
        Self { digits, at }
    }

    /// The digits, 1 to 20.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.at..).unwrap_or_default()
    }
}

#[allow(clippy::indexing_slicing, reason = "the bounds are those of the table, and the compiler runs this")]
const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[0; 2]; 100];
    let (mut tens, mut at) = (b'0', 0);
    while tens <= b'9' {
        let mut ones = b'0';
        while ones <= b'9' {
            pairs[at] = [tens, ones];
            at += 1;
            ones += 1;
        }
        tens += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for value in (0..=1_001).chain([9_999, 10_000, 4_294_967_296, u64::MAX / 10, u64::MAX]) {
            assert_eq!(Decimal::new(value).as_bytes(), value.to_string().as_bytes());
        }
    }
}

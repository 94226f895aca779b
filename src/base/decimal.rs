//! Numbers as decimal text, without a text of their own.

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
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
            at -= 1;
            if value == 0 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for value in [0, 7, 10, 4_294_967_296, u64::MAX] {
            assert_eq!(Decimal::new(value).as_bytes(), value.to_string().as_bytes());
        }
    }
}

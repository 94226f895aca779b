//! Money as integers: nano-USD, and pico-USD a token.
//!
//! Nothing that decides or bills uses a float. Prices stand in pico-USD a token, since 1 USD per million tokens is exactly
//! 1,000,000 of them; what a request costs is rounded up to nano-USD once.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const NANO_PER_USD: i64 = 1_000_000_000;
const DECIMALS: usize = 9;

/// An amount in billionths of a US dollar; at most about 9.2 billion dollars either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NanoUsd(pub i64);

/// The price of one token, in trillionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PicoUsd(pub u64);

/// Why a text is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("expected an amount in USD such as `12.50`")]
    Form,
    /// More decimals than can be held.
    #[error("at most 9 decimals")]
    Decimals,
    /// Too large to be held.
    #[error("too large: at most 9,000,000,000 USD")]
    TooLarge,
}

impl NanoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or the largest amount that can be held.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The sum; none when it cannot be held.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Rounds up from pico-USD; the largest amount when it cannot be held.
    #[must_use]
    pub fn from_pico_up(pico: u128) -> Self {
        Self(i64::try_from(pico.div_ceil(1_000)).unwrap_or(i64::MAX))
    }

    /// The amount as a limiter counts it; zero for what is owed to the client.
    #[must_use]
    pub fn units(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }
}

impl PicoUsd {
    /// What so many tokens cost, in pico-USD.
    #[must_use]
    pub fn times(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

/// Decimal USD with all nine decimals: `12.345678900`.
impl Display for NanoUsd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (self.0.unsigned_abs() / 1_000_000_000, self.0.unsigned_abs() % 1_000_000_000);
        write!(f, "{sign}{whole}.{rest:09}")
    }
}

impl FromStr for NanoUsd {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return Err(MoneyError::Form);
        }
        if fraction.len() > DECIMALS {
            return Err(MoneyError::Decimals);
        }
        let whole: i64 = whole.parse().map_err(|_| MoneyError::TooLarge)?;
        let rest = fraction.bytes().chain(std::iter::repeat(b'0')).take(DECIMALS);
        let rest = rest.fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let amount = whole.checked_mul(NANO_PER_USD).and_then(|nano| nano.checked_add(rest));
        let amount = amount.ok_or(MoneyError::TooLarge)?;
        Ok(Self(if negative { -amount } else { amount }))
    }
}

impl Serialize for NanoUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NanoUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        for (text, want) in [
            ("0", Ok(0)),
            ("12.345678900", Ok(12_345_678_900)),
            ("0.000000001", Ok(1)),
            ("-1.5", Ok(-1_500_000_000)),
            ("9223372036.854775807", Ok(i64::MAX)),
            ("9223372036.854775808", Err(MoneyError::TooLarge)),
            ("99999999999999999999", Err(MoneyError::TooLarge)),
            ("1.0000000001", Err(MoneyError::Decimals)),
            ("1e3", Err(MoneyError::Form)),
            (".5", Err(MoneyError::Form)),
            ("5.", Err(MoneyError::Form)),
            ("+5", Err(MoneyError::Form)),
            ("", Err(MoneyError::Form)),
        ] {
            assert_eq!(text.parse::<NanoUsd>(), want.map(NanoUsd), "{text}");
        }
    }

    #[test]
    fn cost_is_rounded_up_and_never_wraps() {
        assert_eq!(NanoUsd::from_pico_up(0), NanoUsd(0));
        assert_eq!(NanoUsd::from_pico_up(PicoUsd(150_000).times(1)), NanoUsd(150));
        assert_eq!(NanoUsd::from_pico_up(PicoUsd(1).times(1_001)), NanoUsd(2));
        assert_eq!(NanoUsd::from_pico_up(PicoUsd(u64::MAX).times(u64::MAX)), NanoUsd(i64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nano in -i64::MAX..=i64::MAX) {
            let amount = NanoUsd(nano);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }
    }
}

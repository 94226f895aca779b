//! What the operator takes on top of a cost: a percentage.
//!
//! Hundredths of a percent, so that nothing is a float; an amount is rounded up to nano-USD once.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::money::NanoUsd;

/// Hundredths of a percent in the whole.
const WHOLE: u16 = 10_000;

/// A fee as a part of a cost, in hundredths of a percent: 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FeeRate(u16);

/// Why a text is no fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a percentage from `0` to `100` with at most 2 decimals, such as `2.5`")]
pub struct FeeRateError;

impl FeeRate {
    /// No fee.
    pub const ZERO: Self = Self(0);

    /// The fee on a cost, rounded up to nano-USD; zero on nothing.
    #[must_use]
    pub fn of(self, cost: NanoUsd) -> NanoUsd {
        let fee = (u128::from(cost.units()) * u128::from(self.0)).div_ceil(u128::from(WHOLE));
        NanoUsd(i64::try_from(fee).unwrap_or(i64::MAX))
    }
}

/// Percent with two decimals: `2.50`.
impl Display for FeeRate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl FromStr for FeeRate {
    type Err = FeeRateError;

    fn from_str(text: &str) -> Result<Self, FeeRateError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(fraction, 2) {
            return Err(FeeRateError);
        }
        let tenths = if fraction.len() == 1 { 10 } else { 1 };
        let number = |part: &str| part.parse::<u16>().map_err(|_| FeeRateError);
        let rate = u32::from(number(whole)?) * 100 + u32::from(number(fraction)? * tenths);
        u16::try_from(rate).ok().filter(|rate| *rate <= WHOLE).map(Self).ok_or(FeeRateError)
    }
}

impl Serialize for FeeRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FeeRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_exactly_or_refused() {
        for (text, want) in [
            ("0", Some("0.00")),
            ("5", Some("5.00")),
            ("2.5", Some("2.50")),
            ("0.01", Some("0.01")),
            ("100.00", Some("100.00")),
            ("100.01", None),
            ("2.505", None),
            ("-1", None),
            ("1.", None),
            (".5", None),
            ("5%", None),
            ("99999", None),
            ("", None),
        ] {
            let rate = text.parse::<FeeRate>().ok().map(|rate| rate.to_string());
            assert_eq!(rate.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn fee_is_rounded_up_and_never_wraps() {
        for (rate, cost, want) in [
            ("0", 1_000_000_000, 0),
            ("5", 0, 0),
            ("5", 1_000_000_000, 50_000_000),
            ("0.01", 1, 1),
            ("2.5", 101, 3),
            ("100", i64::MAX, i64::MAX),
            ("5", -7, 0),
        ] {
            let rate: FeeRate = rate.parse().unwrap();
            assert_eq!(rate.of(NanoUsd(cost)), NanoUsd(want), "{rate} of {cost}");
        }
    }
}

//! Durations and sizes as people write them in YAML.

use std::time::Duration;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Why a duration or size is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a number with an optional unit.
    #[error("expected seconds such as `30` or `0.5`, or a number and a unit such as `30 s`, `5 minutes`, `2 h`")]
    Duration,
    /// Not a number of bytes with an optional unit.
    #[error("expected bytes such as `65536`, or a number and a unit such as `64 KiB`, `10 MiB`")]
    ByteSize,
    /// More than three decimals.
    #[error("at most 3 decimals")]
    Decimals,
    /// Too large to be held.
    #[error("too large")]
    TooLarge,
}

/// Reads a duration: seconds with at most 3 decimals, or an integer and a unit.
///
/// Units: `ms`, `s`/`second(s)`, `m`/`minute(s)`, `h`/`hour(s)`, `d`/`day(s)`, `w`/`week(s)`, `month(s)` (30 days), `year(s)` (365 days).
///
/// # Errors
/// [`UnitError`] says what form was expected.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let unit = unit.trim_start();
    if unit.is_empty() {
        return parse_seconds(number);
    }
    let count: u64 = parse_digits(number).ok_or(UnitError::Duration)?;
    let unit_ms: u64 = match unit.to_ascii_lowercase().as_str() {
        "ms" => 1,
        "s" | "second" | "seconds" => 1_000,
        "m" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 7 * 86_400_000,
        "month" | "months" => 30 * 86_400_000,
        "year" | "years" => 365 * 86_400_000,
        _ => return Err(UnitError::Duration),
    };
    count.checked_mul(unit_ms).map(Duration::from_millis).ok_or(UnitError::TooLarge)
}

/// Reads a size: bytes, or an integer and `KiB`, `MiB` or `GiB`.
///
/// # Errors
/// [`UnitError`] says what form was expected.
pub fn parse_byte_size(text: &str) -> Result<ByteSize, UnitError> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let count = parse_digits(number).ok_or(UnitError::ByteSize)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(UnitError::ByteSize),
    };
    count.checked_mul(factor).map(ByteSize).ok_or(UnitError::TooLarge)
}

fn parse_seconds(number: &str) -> Result<Duration, UnitError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = parse_digits(whole).ok_or(UnitError::Duration)?;
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UnitError::Duration);
    }
    if fraction.len() > 3 {
        return Err(UnitError::Decimals);
    }
    let millis =
        fraction.bytes().chain(std::iter::repeat(b'0')).take(3).fold(0u64, |sum, b| sum * 10 + u64::from(b - b'0'));
    whole.checked_mul(1_000).and_then(|ms| ms.checked_add(millis)).map(Duration::from_millis).ok_or(UnitError::TooLarge)
}

fn parse_digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_units() {
        for (text, want_ms) in [
            ("60", Ok(60_000)),
            ("0.5", Ok(500)),
            ("1.125", Ok(1_125)),
            ("100 ms", Ok(100)),
            ("5s", Ok(5_000)),
            ("1 minute", Ok(60_000)),
            ("2 Hours", Ok(7_200_000)),
            ("1 month", Ok(2_592_000_000)),
            ("1.0625", Err(UnitError::Decimals)),
            ("1.5 h", Err(UnitError::Duration)),
            ("", Err(UnitError::Duration)),
            ("-1", Err(UnitError::Duration)),
            ("5 parsecs", Err(UnitError::Duration)),
            ("99999999999999999999", Err(UnitError::Duration)),
            ("9999999999999999999 years", Err(UnitError::TooLarge)),
        ] {
            assert_eq!(parse_duration(text), want_ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_binary_units() {
        for (text, want) in [
            ("1024", Ok(ByteSize(1024))),
            ("10 MiB", Ok(ByteSize(10 << 20))),
            ("1GiB", Ok(ByteSize(1 << 30))),
            ("10 MB", Err(UnitError::ByteSize)),
            ("1.5 MiB", Err(UnitError::ByteSize)),
        ] {
            assert_eq!(parse_byte_size(text), want, "{text}");
        }
    }
}

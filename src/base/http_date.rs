//! Reads the dates of HTTP, in all three of their forms.
//!
//! RFC 9110, section 5.6.7: one form is written today (see [`UnixTime::http_date`]), two old ones must still be understood.
//! A date that does not exist, or whose weekday is another, is no date.

use std::time::Duration;

use super::clock::{Civil, UnixTime};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl UnixTime {
    /// Parses a date of a header: `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or
    /// `Sun Nov  6 08:49:37 1994`.
    ///
    /// `now` says in which century a year of two digits lies: at most 50 years ahead. `None` for anything else, and for
    /// years before 1970.
    #[must_use]
    pub fn from_http_date(text: &str, now: Self) -> Option<Self> {
        let mut words = [""; 6];
        let mut count = 0;
        for word in text.split_ascii_whitespace() {
            *words.get_mut(count)? = word;
            count += 1;
        }
        match (words, count) {
            ([weekday, day, month, year, time, "GMT"], 6) => {
                let date = (digits::<2>(day)?, month, digits::<4>(year)?);
                time_of(short_name(weekday.strip_suffix(',')?)?, date, time)
            }
            ([weekday, date, time, "GMT", ..], 4) => {
                let mut parts = date.split('-');
                let (day, month, year) = (parts.next()?, parts.next()?, digits::<2>(parts.next()?)?);
                let year = full_year(year, now.civil().year);
                let weekday = weekday.strip_suffix(',')?;
                let weekday = DAYS.iter().position(|name| *name == weekday)?;
                time_of(weekday, (digits::<2>(day)?, month, year), time)
            }
            ([weekday, month, day, time, year, ..], 5) => {
                let day = digits::<2>(day).or_else(|| digits::<1>(day))?;
                time_of(short_name(weekday)?, (day, month, digits::<4>(year)?), time)
            }
            _ => None,
        }
    }
}

/// The time of these parts, if they say what a calendar says of it.
fn time_of(weekday: usize, (day, month, year): (u64, &str, u64), time: &str) -> Option<UnixTime> {
    let mut parts = time.split(':').map(digits::<2>);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    if parts.next().is_some() || year < 1970 {
        return None;
    }
    let weekday = u64::try_from(weekday).ok()?;
    let parts = Civil { year, month, day, hour, minute, second, weekday };
    let seconds = days_before(year, month, day)?.checked_mul(86_400)? + hour * 3_600 + minute * 60 + second;
    let found = UnixTime(Duration::from_secs(seconds));
    (found.civil() == parts).then_some(found)
}

/// Days from 1970-01-01 to a date; the reverse of [`UnixTime::civil`], which names the years from March.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month > 2 { year } else { year.checked_sub(1)? };
    let month_shifted = if month > 2 { month - 3 } else { month + 9 };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month_shifted + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

fn full_year(two_digits: u64, this_year: u64) -> u64 {
    let year = this_year / 100 * 100 + two_digits;
    if year > this_year + 50 { year - 100 } else { year }
}

fn short_name(text: &str) -> Option<usize> {
    (text.len() == 3).then(|| DAYS.iter().position(|name| name.starts_with(text)))?
}

/// Reads exactly `N` digits.
fn digits<const N: usize>(text: &str) -> Option<u64> {
    let all = text.len() == N && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(Duration::from_secs(1_795_000_000));

    #[test]
    fn dates_are_read_in_three_forms() {
        for (text, want) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some(1_792_567_680)),
            ("Wednesday, 21-Oct-26 07:28:00 GMT", Some(1_792_567_680)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
        ] {
            let got = UnixTime::from_http_date(text, NOW).map(UnixTime::seconds);
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for text in [
            "",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2100 00:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:01 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(UnixTime::from_http_date(text, NOW), None, "{text:?}");
        }
    }

    #[test]
    fn written_dates_are_read_back() {
        for seconds in (0..8_000_000_000_u64).step_by(98_765_431) {
            let time = UnixTime(Duration::from_secs(seconds));
            assert_eq!(UnixTime::from_http_date(&time.http_date(), NOW), Some(time), "{}", time.http_date());
        }
    }

    #[test]
    fn year_of_two_digits_is_at_most_fifty_years_ahead() {
        for (digits, want) in [(94, 1994), (26, 2026), (76, 2076), (77, 1977), (0, 2000)] {
            assert_eq!(full_year(digits, 2026), want, "{digits}");
        }
    }
}

//! Time zones: where hours, days and months begin.
//!
//! The rules of all zones are in the binary, so that an answer does not depend on the machine it is asked on. A day has 23 or
//! 25 hours where clocks change; an hour that a change of half an hour cuts is two.

use jiff::{
    Timestamp, ToSpan as _,
    civil::Date,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};

use super::super::error::ControlError;
use super::analytics::Granularity;
use crate::{config::did_you_mean, store::Span};

/// Most that offsets are away from UTC, in minutes.
const OFFSET_MINUTES_MAX: i32 = 14 * 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

type FirstDate = fn(Date) -> Date;
type NextDate = fn(Date) -> Result<Date, jiff::Error>;

/// A time zone, by its name in the database of IANA or by its offset.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone without an offset.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Reads a name such as `Europe/Berlin`, whatever its case, or an offset such as `+02:00`.
    ///
    /// # Errors
    /// A problem of the field `timezone` that says what was probably meant.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        if matches!(text, "UTC" | "Z") {
            return Ok(Self::utc());
        }
        if let Some(minutes) = offset_minutes(text) {
            let offset = Offset::from_seconds(minutes * 60).map_err(|_| unknown(text))?;
            return Ok(Self(TimeZone::fixed(offset)));
        }
        TimeZoneDatabase::bundled().get(text).map(Self).map_err(|_| unknown(text))
    }

    /// When buckets begin, from the one that holds `from` to the last one before `to`; all in seconds since 1970.
    pub(super) fn buckets(&self, granularity: Granularity, (from, to): (u64, u64)) -> Buckets {
        let begins = match granularity {
            Granularity::Minute => Some(Vec::new()),
            Granularity::Hour => self.hours(from, to),
            Granularity::Day => self.dates((from, to), (|date| date, Date::tomorrow)),
            Granularity::Month => self.dates((from, to), (Date::first_of_month, |date| date.checked_add(1.month()))),
        };
        Buckets { granularity, begins: begins.unwrap_or_default() }
    }

    fn hours(&self, from: u64, to: u64) -> Option<Vec<u64>> {
        let local = |at: u64| at.checked_add_signed(self.0.to_offset(timestamp(at)?).seconds().into());
        let cut = self.0.preceding(timestamp(from + 1)?).next().and_then(|change| seconds(change.timestamp()));
        let mut begin = (from - local(from)? % HOUR).max(cut.unwrap_or_default());
        let mut begins = Vec::new();
        while begin < to {
            begins.push(begin);
            let whole = begin + HOUR - local(begin)? % HOUR;
            let change = self.0.following(timestamp(begin)?).next().and_then(|change| seconds(change.timestamp()));
            begin = change.filter(|change| *change < whole).unwrap_or(whole);
        }
        Some(begins)
    }

    /// Dates from the one on that `first` makes of the date of `from`, each found from the one before.
    fn dates(&self, (from, to): (u64, u64), (first, next): (FirstDate, NextDate)) -> Option<Vec<u64>> {
        let mut date = first(timestamp(from)?.to_zoned(self.0.clone()).date());
        let mut begins = Vec::new();
        loop {
            // A midnight that clocks leave out is when they go on; of one that comes twice the first counts.
            let begin = seconds(date.to_zoned(self.0.clone()).ok()?.timestamp())?;
            if begin >= to {
                return Some(begins);
            }
            begins.push(begin);
            date = next(date).ok()?;
        }
    }
}

/// When the buckets of an answer begin.
#[derive(Debug)]
pub(super) struct Buckets {
    granularity: Granularity,
    /// Rising; empty for minutes, which are the same everywhere.
    begins: Vec<u64>,
}

impl Buckets {
    /// When the bucket begins that holds a time.
    pub(super) fn begin_of(&self, at: u64) -> u64 {
        if self.granularity == Granularity::Minute {
            return Span::Minute.bucket_of(at);
        }
        let behind = self.begins.partition_point(|begin| *begin <= at);
        self.begins.get(behind.saturating_sub(1)).copied().unwrap_or(at)
    }

    /// The widest roll-ups of which none belongs to two buckets; `cuts` are the minutes of a day at which hours are kept in
    /// parts, and since when.
    pub(super) fn span(&self, cuts: &[(u64, u64)]) -> Span {
        let widest = match self.granularity {
            Granularity::Minute => Span::Minute,
            Granularity::Hour => Span::Hour,
            Granularity::Day | Granularity::Month => Span::Day,
        };
        let is_cut = |begin: u64| cuts.iter().any(|(minute, since)| begin % DAY == minute * 60 && *since <= begin);
        let begins_one =
            |span: Span, begin: u64| span.bucket_of(begin) == begin || (span == Span::Hour && is_cut(begin));
        let fits = |span: &Span| self.begins.iter().all(|begin| begins_one(*span, *begin));
        [Span::Day, Span::Hour].into_iter().filter(|span| *span <= widest).find(fits).unwrap_or(Span::Minute)
    }
}

fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn seconds(at: Timestamp) -> Option<u64> {
    u64::try_from(at.as_second()).ok()
}

fn unknown(text: &str) -> ControlError {
    let known: Vec<_> = TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
    let city = text.trim().replace(' ', "_");
    let last_is = |name: &&String| name.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(&city));
    let meant = match known.iter().find(last_is) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => did_you_mean(&city, known.iter().map(String::as_str)),
    };
    let accepted = "expected `UTC`, an offset such as `+02:00`, or a name of the IANA database such as `Europe/Berlin`";
    let said = meant.map_or_else(|| accepted.to_owned(), |meant| format!("{accepted}; {meant}"));
    ControlError::field("timezone", said)
}

/// Minutes east of UTC.
fn offset_minutes(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| text.parse::<i32>().ok().filter(|_| text.len() == 2 && !text.starts_with(['+', '-']));
    let minutes = two(hours)? * 60 + two(minutes).filter(|minutes| *minutes < 60)?;
    (minutes <= OFFSET_MINUTES_MAX).then_some(sign * minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        seconds(text.parse().unwrap()).unwrap()
    }

    /// As a store has them that is new, but for one that is younger.
    const CUTS: [(u64, u64); 2] = [(1_095, 0), (1_110, 1_775_000_000)];

    /// The lengths of the buckets between two times, in minutes, and the roll-ups that they are made of.
    fn lengths(zone: &str, granularity: Granularity, (from, to): (&str, &str)) -> (Vec<u64>, Span) {
        let (from, to) = (at(from), at(to));
        let buckets = Zone::parse(zone).unwrap().buckets(granularity, (from, to));
        assert_eq!(buckets.begin_of(from), buckets.begins[0], "{zone}");
        let ends = buckets.begins.iter().skip(1).chain([&to]);
        (buckets.begins.iter().zip(ends).map(|(begin, end)| (end - begin) / 60).collect(), buckets.span(&CUTS))
    }

    #[test]
    fn days_hours_and_months_are_those_of_the_zone() {
        use Granularity::{Day, Hour, Month};
        let day = 24 * 60;
        for (name, zone, granularity, time, want) in [
            ("utc", "UTC", Day, ("2026-03-28T05:00:00Z", "2026-03-30T00:00:00Z"), (vec![day; 2], Span::Day)),
            (
                "23 hours",
                "Europe/Berlin",
                Day,
                ("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z"),
                (vec![day, day - 60, day], Span::Hour),
            ),
            (
                "25 hours",
                "america/new_york",
                Day,
                ("2026-10-31T04:00:00Z", "2026-11-03T05:00:00Z"),
                (vec![day, day + 60, day], Span::Hour),
            ),
            (
                "no midnight: the day begins at one",
                "Africa/Cairo",
                Day,
                ("2026-04-22T22:00:00Z", "2026-04-24T21:00:00Z"),
                (vec![day, day - 60], Span::Hour),
            ),
            (
                "in winter London has the days of UTC",
                "Europe/London",
                Day,
                ("2026-01-05T00:00:00Z", "2026-01-07T00:00:00Z"),
                (vec![day; 2], Span::Day),
            ),
            (
                "hours of an offset",
                "-03:30",
                Hour,
                ("2026-03-28T01:40:00Z", "2026-03-28T03:30:00Z"),
                (vec![60; 2], Span::Minute),
            ),
            (
                "an hour that happens twice",
                "Europe/Berlin",
                Hour,
                ("2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z"),
                (vec![60; 3], Span::Hour),
            ),
            (
                "clocks that go on by half an hour",
                "Australia/Lord_Howe",
                Hour,
                ("2026-10-03T14:30:00Z", "2026-10-03T17:00:00Z"),
                (vec![60, 30, 60], Span::Minute),
            ),
            (
                "months",
                "Europe/Berlin",
                Month,
                ("2026-03-15T10:00:00Z", "2026-04-30T22:00:00Z"),
                (vec![31 * day - 60, 30 * day], Span::Hour),
            ),
        ] {
            assert_eq!(lengths(zone, granularity, time), want, "{name}");
        }
    }

    #[test]
    fn days_off_the_full_hour_are_made_of_hours_as_far_as_those_are_cut() {
        use Granularity::{Day, Hour};
        let day = 24 * 60;
        for (name, zone, granularity, time, want) in [
            (
                "quarters of hours",
                "Asia/Kathmandu",
                Day,
                ("2026-03-28T18:15:00Z", "2026-03-30T18:15:00Z"),
                (vec![day; 2], Span::Hour),
            ),
            (
                "halves of hours before they were kept apart",
                "Asia/Kolkata",
                Day,
                ("2026-03-28T18:30:00Z", "2026-03-30T18:30:00Z"),
                (vec![day; 2], Span::Minute),
            ),
            (
                "and since",
                "Asia/Kolkata",
                Day,
                ("2026-04-28T18:30:00Z", "2026-04-30T18:30:00Z"),
                (vec![day; 2], Span::Hour),
            ),
            (
                "an offset that no zone has",
                "+05:17",
                Day,
                ("2026-03-28T18:43:00Z", "2026-03-30T18:43:00Z"),
                (vec![day; 2], Span::Minute),
            ),
            (
                "hours of a zone that is off them",
                "Asia/Kathmandu",
                Hour,
                ("2026-03-28T18:15:00Z", "2026-03-28T20:15:00Z"),
                (vec![60; 2], Span::Minute),
            ),
        ] {
            assert_eq!(lengths(zone, granularity, time), want, "{name}");
        }
    }

    #[test]
    fn every_zone_cuts_time_without_gaps_and_finds_each_bucket() {
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        for name in TimeZoneDatabase::bundled().available() {
            let zone = Zone::parse(name.as_str()).unwrap();
            for granularity in [Granularity::Day, Granularity::Month] {
                let buckets = zone.buckets(granularity, (from, to));
                assert!(buckets.begins.is_sorted_by(|a, b| a < b), "{name}");
                assert!(buckets.begins[0] <= from && buckets.begins.len() >= 12, "{name}");
                for begin in &buckets.begins[1..] {
                    let first = timestamp(*begin).unwrap().to_zoned(zone.0.clone());
                    let before = timestamp(begin - 1).unwrap().to_zoned(zone.0.clone());
                    assert_ne!(first.date(), before.date(), "{name}");
                    assert_eq!((buckets.begin_of(*begin), buckets.begin_of(begin - 1) < *begin), (*begin, true));
                }
            }
        }
    }

    /// Hours are cut where some zone needs it, and nowhere else.
    #[test]
    fn days_of_every_zone_are_made_of_the_hours_as_they_are_kept() {
        let cuts = crate::store::HOUR_CUTS.map(|minute| (minute, 0));
        let mut needed = std::collections::BTreeSet::new();
        for name in TimeZoneDatabase::bundled().available() {
            let zone = Zone::parse(name.as_str()).unwrap();
            for granularity in [Granularity::Day, Granularity::Month] {
                let buckets = zone.buckets(granularity, (at("2026-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z")));
                assert!(buckets.span(&cuts) >= Span::Hour, "{name}");
                needed.extend(buckets.begins.iter().filter(|begin| *begin % HOUR > 0).map(|begin| begin % DAY / 60));
            }
        }
        assert_eq!(needed.into_iter().collect::<Vec<_>>(), crate::store::HOUR_CUTS);
    }

    #[test]
    fn offsets_are_read_or_refused() {
        for (text, want) in [
            ("+02:00", Some(120)),
            ("-05:30", Some(-330)),
            ("+14:00", Some(840)),
            ("+14:01", None),
            ("+2:00", None),
            ("+02:60", None),
            ("02:00", None),
            ("++2:00", None),
            ("", None),
        ] {
            assert_eq!(offset_minutes(text), want, "{text}");
            assert_eq!(Zone::parse(text).is_ok(), want.is_some(), "{text}");
        }
    }

    #[test]
    fn unknown_zone_is_told_what_was_probably_meant() {
        for (text, want) in [
            ("Europe/Berln", "did you mean `Europe/Berlin`?"),
            ("New York", "did you mean `America/New_York`?"),
            ("kathmandu", "did you mean `Asia/Kathmandu`?"),
            ("Middle-earth/Shire", "such as `Europe/Berlin`"),
        ] {
            let Err(ControlError::Invalid(problems)) = Zone::parse(text) else { panic!("{text}") };
            assert!(problems[0].message.ends_with(want), "{text}: {}", problems[0].message);
        }
    }
}

//! Which sums hold a time: minutes, hours or days.
//!
//! A correction goes to the finest sums that are kept, so that all answers about the time agree. Sums that are about to be
//! forgotten count as gone already.

use std::time::Duration;

use super::super::error::ControlError;
use crate::{base::UnixTime, store::Span};

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
/// Longest time that one run covers.
const DAYS_MAX: u64 = 366;
/// For how long minutes and hours are there for sure.
const MINUTES_KEPT: u64 = 7 * DAY;
const HOURS_KEPT: u64 = 90 * DAY;

/// A part of the time whose sums are read and changed together: their span, its begin and its end.
pub(super) type Part = (Span, u64, u64);

/// Takes a time apart: a day of days or hours, an hour of minutes.
///
/// # Errors
/// [`ControlError::Invalid`] for a time that is empty, too long, not over, or finer than its sums.
pub(super) fn parts(from: UnixTime, to: UnixTime, now: UnixTime) -> Result<Vec<Part>, ControlError> {
    let (now, wanted) = (now.seconds(), (from.seconds(), to.seconds()));
    if to.seconds() > now {
        return Err(ControlError::field("to", "is in the future: usage that is not there yet cannot be priced again"));
    }
    let minute = Span::Minute.seconds();
    let (begin, end) = (Span::Minute.bucket_of(wanted.0), wanted.1.next_multiple_of(minute));
    if begin >= end {
        return Err(ControlError::field("to", "must be after `from`"));
    }
    if end - begin > DAYS_MAX * DAY {
        return Err(ControlError::field("from", "at most 366 days before `to`"));
    }
    let minutes_from = (now.saturating_sub(MINUTES_KEPT) + HOUR).next_multiple_of(HOUR);
    let hours_from = (now.saturating_sub(HOURS_KEPT) + DAY).next_multiple_of(DAY);
    for (field, at) in [("from", begin), ("to", end)] {
        let (span, name, kept) = match at {
            at if at < hours_from => (Span::Day, "day", HOURS_KEPT),
            at if at < minutes_from => (Span::Hour, "hour", MINUTES_KEPT),
            _ => continue,
        };
        if span.bucket_of(at) != at {
            let days = kept / DAY;
            let day = UnixTime(Duration::from_secs(span.bucket_of(at))).rfc3339();
            let said =
                format!("finer sums are kept for {days} days: give the beginning of a {name} of UTC, such as `{day}`");
            return Err(ControlError::field(field, said));
        }
    }
    let of = |span, (begin, end): (u64, u64), length: u64| {
        let next = move |at: u64| (at - at % length).saturating_add(length);
        let begins = std::iter::successors(Some(begin), move |at| Some(next(*at)));
        begins.take_while(move |at| *at < end).map(move |at| (span, at, next(at).min(end)))
    };
    let days = of(Span::Day, (begin, end.min(hours_from)), DAY);
    let hours = of(Span::Hour, (begin.max(hours_from), end.min(minutes_from)), DAY);
    let minutes = of(Span::Minute, (begin.max(minutes_from), end), HOUR);
    Ok(days.chain(hours).chain(minutes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> UnixTime {
        UnixTime(Duration::from_secs(seconds))
    }

    fn of(from: u64, to: u64) -> Result<Vec<Part>, String> {
        parts(at(from), at(to), at(NOW)).map_err(|error| match error {
            ControlError::Invalid(problems) => problems[0].path.clone(),
            other => other.to_string(),
        })
    }

    #[test]
    fn time_is_covered_once_by_the_finest_sums_that_are_kept() {
        let day = NOW - NOW % DAY;
        for (name, from, to) in [
            ("this minute", NOW - 1, NOW),
            ("an hour", NOW - HOUR, NOW),
            ("a year", day - 366 * DAY, day),
            ("all spans", day - 100 * DAY, NOW),
            ("older hours", day - 20 * DAY, day - 19 * DAY),
        ] {
            let found = of(from, to).unwrap();
            let (mut covered, mut coarsest) = (from - from % 60, Span::Day);
            for (span, begin, end) in found {
                assert_eq!(begin, covered, "{name}");
                assert!(begin < end && span <= coarsest, "{name}");
                assert_eq!((begin % span.seconds(), end % span.seconds()), (0, 0), "{name}");
                let age = NOW - begin;
                let kept = if age > HOURS_KEPT {
                    Span::Day
                } else if age > MINUTES_KEPT {
                    Span::Hour
                } else {
                    Span::Minute
                };
                assert!(span >= kept, "{name}: {begin} is not kept any more");
                (covered, coarsest) = (end, span);
            }
            assert_eq!(covered, to.next_multiple_of(60), "{name}");
        }
    }

    #[test]
    fn time_that_cannot_be_priced_again_is_refused() {
        let day = NOW - NOW % DAY;
        for (name, from, to, want) in [
            ("future", NOW - 60, NOW + 1, "to"),
            ("empty", NOW, NOW, "to"),
            ("the wrong way round", NOW - 60, NOW - 600, "to"),
            ("too long", NOW - 367 * DAY, NOW, "from"),
            ("half an hour of last month", day - 30 * DAY + 1_800, NOW, "from"),
            ("half a day of last year", day - 200 * DAY + HOUR, day, "from"),
            ("to within an old day", day - 200 * DAY, day - 199 * DAY + HOUR, "to"),
        ] {
            assert_eq!(of(from, to).unwrap_err(), want, "{name}");
        }
    }
}

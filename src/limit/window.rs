//! When a window begins and ends.
//!
//! Lengths go by the steady clock, dates by the wall clock. A window is named by its beginning, and a counter only ever goes
//! to a later one: a clock that steps back revives no window and empties none a second time.

use std::time::Duration;

use crate::base::{Instant, UnixTime, now, unix_time};

use super::rule::{CalendarUnit, Window};

const SECOND_NS: u64 = 1_000_000_000;
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;
/// 1970-01-05 was a Monday.
const FIRST_MONDAY_S: u64 = 4 * DAY_S;

/// One reading of both clocks, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Runs evenly; no step of the wall clock shows.
    pub(super) steady: u64,
    /// What the wall clock says.
    pub(super) wall: u64,
}

impl From<UnixTime> for Moment {
    /// A moment at which both clocks agree.
    fn from(time: UnixTime) -> Self {
        let at = nanos(time.0);
        Self { steady: at, wall: at }
    }
}

/// Reads both clocks: the steady one is the wall clock at the start of the process, moved on by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    /// The same moment in nanoseconds since 1970.
    started_unix: u64,
}

impl Clock {
    /// Sets the steady clock by the wall clock, once.
    #[must_use]
    pub fn start() -> Self {
        Self::started_at(now(), unix_time())
    }

    /// As [`Clock::start`], with readings that the caller has.
    #[must_use]
    pub fn started_at(started: Instant, unix: UnixTime) -> Self {
        Self { started, started_unix: nanos(unix.0) }
    }

    /// Reads both clocks now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment_at(now(), unix_time())
    }

    /// As [`Clock::moment`], with readings that the caller has.
    #[must_use]
    pub fn moment_at(&self, now: Instant, unix: UnixTime) -> Moment {
        let elapsed = now.saturating_nanos_since(self.started);
        Moment { steady: self.started_unix.saturating_add(elapsed), wall: nanos(unix.0) }
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Window {
    /// The clock that this window goes by.
    pub(super) fn clock(self, at: Moment) -> u64 {
        match self {
            Self::Aligned(_) | Self::Calendar(..) => at.wall,
            _ => at.steady,
        }
    }

    /// The beginning of the window that a counter is in at a moment, if it was in the one of `current` before. 0 is a
    /// counter that was never used. Never earlier than `current`.
    pub(super) fn start(self, current: u64, at: Moment) -> u64 {
        match self {
            Self::Fixed(length) => {
                let is_over = current == 0 || at.steady >= current.saturating_add(nanos(length));
                if is_over { at.steady.max(1) } else { current }
            }
            Self::Aligned(length) => {
                let length = nanos(length).max(1);
                current.max(at.wall - at.wall % length).max(1)
            }
            Self::Calendar(unit, count) => current.max(calendar_start(unit, count, at.wall)).max(1),
            Self::Total | Self::Open | Self::Sliding(_) | Self::Bucket(_) => 1,
        }
    }

    /// The end of the window that begins at `start`; none without one.
    pub(super) fn end(self, start: u64) -> Option<u64> {
        match self {
            Self::Fixed(length) | Self::Aligned(length) => Some(start.saturating_add(nanos(length))),
            Self::Calendar(unit, count) => Some(calendar_end(unit, count, start)),
            Self::Total | Self::Open | Self::Sliding(_) | Self::Bucket(_) => None,
        }
    }
}

/// Seconds of a unit that is always equally long, and where its first one begins.
fn even_unit(unit: CalendarUnit) -> Option<(u64, u64)> {
    match unit {
        CalendarUnit::Hour => Some((HOUR_S, 0)),
        CalendarUnit::Day => Some((DAY_S, 0)),
        CalendarUnit::Week => Some((7 * DAY_S, FIRST_MONDAY_S)),
        CalendarUnit::Month => None,
    }
}

fn calendar_start(unit: CalendarUnit, count: u32, at: u64) -> u64 {
    let count = u64::from(count.max(1));
    let seconds = at / SECOND_NS;
    match even_unit(unit) {
        Some((length, first)) => {
            let length = length * count;
            let since = seconds.saturating_sub(first);
            // The days before the first Monday of 1970 belong to its first week.
            (first.min(seconds) + since - since % length).saturating_mul(SECOND_NS)
        }
        None => {
            let civil = UnixTime(Duration::from_secs(seconds)).civil();
            let months = (civil.year - 1970) * 12 + civil.month - 1;
            month_start(months - months % count)
        }
    }
}

fn calendar_end(unit: CalendarUnit, count: u32, start: u64) -> u64 {
    let count = u64::from(count.max(1));
    match even_unit(unit) {
        Some((length, _)) => start.saturating_add((length * count).saturating_mul(SECOND_NS)),
        None => {
            let civil = UnixTime(Duration::from_secs(start / SECOND_NS)).civil();
            let months = (civil.year - 1970) * 12 + civil.month - 1;
            month_start(months - months % count + count)
        }
    }
}

/// When a month begins; `months` counts from January 1970.
fn month_start(months: u64) -> u64 {
    let (year, month) = (1970 + months / 12, months % 12 + 1);
    // Years begin in March here, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5;
    (days - 719_468).saturating_mul(DAY_S).saturating_mul(SECOND_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        let [date, time] = text.split('T').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let parts: Vec<u64> = date.split('-').chain(time.split(':')).map(|part| part.parse().unwrap()).collect();
        let day = month_start((parts[0] - 1970) * 12 + parts[1] - 1) + (parts[2] - 1) * DAY_S * SECOND_NS;
        day + (parts[3] * 3_600 + parts[4] * 60 + parts[5]) * SECOND_NS
    }

    fn text(at: u64) -> String {
        UnixTime(Duration::from_nanos(at)).rfc3339()[..19].to_owned()
    }

    fn moment(at: u64) -> Moment {
        UnixTime(Duration::from_nanos(at)).into()
    }

    #[test]
    fn months_begin_where_the_calendar_says() {
        for months in 0..12 * 600 {
            let civil = UnixTime(Duration::from_nanos(month_start(months).min(u64::MAX - 1))).civil();
            if month_start(months) == u64::MAX {
                continue;
            }
            let got = (civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second);
            assert_eq!(got, (1970 + months / 12, months % 12 + 1, 1, 0, 0, 0), "{months}");
        }
    }

    #[test]
    fn windows_of_the_calendar_begin_and_end_in_utc() {
        use CalendarUnit::{Day, Hour, Month, Week};
        for (name, unit, count, now, start, end) in [
            ("hour", Hour, 1, "2026-11-22T05:59:59", "2026-11-22T05:00:00", "2026-11-22T06:00:00"),
            ("12 hours", Hour, 12, "2026-11-22T05:59:59", "2026-11-22T00:00:00", "2026-11-22T12:00:00"),
            ("day", Day, 1, "2024-02-29T23:59:59", "2024-02-29T00:00:00", "2024-03-01T00:00:00"),
            ("week, Monday", Week, 1, "2026-11-23T00:00:00", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
            ("week, Sunday", Week, 1, "2026-11-22T23:59:59", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
            ("February", Month, 1, "2026-02-28T23:59:59", "2026-02-01T00:00:00", "2026-03-01T00:00:00"),
            ("leap February", Month, 1, "2024-02-29T12:00:00", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
            ("December", Month, 1, "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
            ("quarter", Month, 3, "2026-11-22T00:00:00", "2026-10-01T00:00:00", "2027-01-01T00:00:00"),
            ("year", Month, 12, "2026-11-22T00:00:00", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ] {
            let window = Window::Calendar(unit, count);
            let got = window.start(0, moment(at(now)));
            assert_eq!((text(got), text(window.end(got).unwrap())), (start.to_owned(), end.to_owned()), "{name}");
        }
    }

    #[test]
    fn fixed_window_begins_with_the_first_request_and_aligned_at_multiples() {
        let minute = Duration::from_secs(60);
        let (noon, later) = (at("2026-11-22T12:00:30"), at("2026-11-22T12:01:29"));
        let next = at("2026-11-22T12:01:30");
        let fixed = Window::Fixed(minute);
        assert_eq!(fixed.start(0, moment(noon)), noon);
        assert_eq!(fixed.start(noon, moment(later)), noon);
        assert_eq!(fixed.start(noon, moment(next)), next);
        let aligned = Window::Aligned(minute);
        assert_eq!(text(aligned.start(0, moment(noon))), "2026-11-22T12:00:00");
        assert_eq!(text(aligned.start(at("2026-11-22T12:00:00"), moment(later))), "2026-11-22T12:01:00");
    }

    #[test]
    fn i_17_no_step_of_a_clock_goes_back_to_an_earlier_window() {
        let now = at("2026-11-22T12:00:30");
        let minute = Duration::from_secs(60);
        let hour = 3_600 * SECOND_NS;
        for window in [
            Window::Fixed(minute),
            Window::Aligned(minute),
            Window::Calendar(CalendarUnit::Hour, 1),
            Window::Calendar(CalendarUnit::Month, 1),
        ] {
            let current = window.start(0, moment(now));
            for back in [1, hour, 24 * hour, 40 * 24 * hour] {
                assert_eq!(window.start(current, moment(now - back)), current, "{window} {back}");
            }
        }
        // A wall clock that steps does not end a window that has a length only.
        let window = Window::Fixed(minute);
        for wall in [now - hour, now + hour] {
            assert_eq!(window.start(now, Moment { steady: now + SECOND_NS, wall }), now);
        }
    }
}

//! The one place that reads a clock.
//!
//! Durations come from the monotonic clock, dates from the wall clock; a step of the wall clock never changes a duration.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::instant::Instant;

/// Returns the monotonic time, for durations and deadlines.
#[must_use]
#[inline]
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some((steady, _)) = frozen::clocks() {
        return Instant::of(steady);
    }
    // Fails only for a clock that the system does not have; POSIX systems have this one.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Instant::START, |time| Instant::of(time.into()))
}

/// Time since 1970-01-01T00:00:00Z, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub Duration);

/// Returns the wall-clock time; zero if the clock stands before 1970.
#[must_use]
pub fn unix_time() -> UnixTime {
    #[cfg(test)]
    if let Some((_, wall)) = frozen::clocks() {
        return UnixTime(wall);
    }
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Year, month, day, hour, minute, second and weekday (0 = Sunday) in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year, 1970 or later.
    pub year: u64,
    /// Month, 1 to 12.
    pub month: u64,
    /// Day of the month, 1 to 31.
    pub day: u64,
    /// Hour, 0 to 23.
    pub hour: u64,
    /// Minute, 0 to 59.
    pub minute: u64,
    /// Second, 0 to 59.
    pub second: u64,
    /// Day of the week, 0 is Sunday.
    pub weekday: u64,
}

impl UnixTime {
    /// Whole seconds since the epoch.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// Splits the time into its UTC calendar parts (proleptic Gregorian calendar).
    #[must_use]
    pub fn civil(self) -> Civil {
        let seconds = self.0.as_secs();
        let days = seconds / 86_400;
        let rest = seconds % 86_400;
        // Days are counted from 0000-03-01, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
        Civil {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_shifted + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4) % 7,
        }
    }

    /// Formats as RFC 3339 in UTC with milliseconds: `2026-11-21T09:30:00.125Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let c = self.civil();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            c.year,
            c.month,
            c.day,
            c.hour,
            c.minute,
            c.second,
            self.0.subsec_millis()
        )
    }

    /// Formats as the HTTP date of RFC 9110, section 5.6.7: `Sat, 21 Nov 2026 09:30:00 GMT`.
    #[must_use]
    pub fn http_date(self) -> String {
        const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let c = self.civil();
        let name = |names: &[&'static str], index: u64| {
            usize::try_from(index).ok().and_then(|i| names.get(i).copied()).unwrap_or("")
        };
        format!(
            "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
            name(&DAYS, c.weekday),
            c.day,
            name(&MONTHS, c.month - 1),
            c.year,
            c.hour,
            c.minute,
            c.second
        )
    }
}

/// Clocks that stand still until a test moves them, for one thread.
#[cfg(test)]
pub(crate) mod frozen {
    use std::{cell::Cell, time::Duration};

    thread_local! {
        static CLOCKS: Cell<Option<(Duration, Duration)>> = const { Cell::new(None) };
    }

    /// What the monotonic clock and the wall clock say to this thread, if they stand still.
    pub(super) fn clocks() -> Option<(Duration, Duration)> {
        CLOCKS.get()
    }

    /// Sets the monotonic clock and the wall clock of this thread; none lets them run.
    pub(crate) fn set(clocks: Option<(Duration, Duration)>) {
        CLOCKS.set(clocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, http, rfc) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37.000Z"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29T00:00:00.000Z"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT", "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT", "2100-03-01T00:00:00.000Z"),
        ] {
            let time = UnixTime(Duration::from_secs(seconds));
            assert_eq!(time.http_date(), http, "{seconds}");
            assert_eq!(time.rfc3339(), rfc, "{seconds}");
        }
    }
}

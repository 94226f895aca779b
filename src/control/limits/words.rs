//! Between the words of a limit and what counters go by.

use std::time::Duration;

use super::super::error::{ControlError, FieldProblem};
use crate::{
    limit::{CalendarUnit, Kind, Window},
    store::{LimitAlgorithm, LimitKind},
};

const HOUR_S: u64 = 3_600;
/// Longest window: twelve months, with a day to spare for a year of days.
const LENGTH_MAX: Duration = Duration::from_secs(366 * 24 * HOUR_S);

/// A unit of time as windows are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Minute,
    Calendar(CalendarUnit),
}

impl Unit {
    const ALL: [(Self, &'static str, u64); 6] = [
        (Self::Second, "second", 1),
        (Self::Minute, "minute", 60),
        (Self::Calendar(CalendarUnit::Hour), "hour", HOUR_S),
        (Self::Calendar(CalendarUnit::Day), "day", 24 * HOUR_S),
        (Self::Calendar(CalendarUnit::Week), "week", 7 * 24 * HOUR_S),
        // Of the calendar it is what the calendar says.
        (Self::Calendar(CalendarUnit::Month), "month", 30 * 24 * HOUR_S),
    ];

    fn named(word: &str) -> Option<Self> {
        let singular = word.strip_suffix('s').unwrap_or(word);
        Self::ALL.into_iter().find(|(_, name, _)| *name == singular).map(|(unit, ..)| unit)
    }

    fn row(self) -> (&'static str, u64) {
        Self::ALL.into_iter().find(|(unit, ..)| *unit == self).map_or(("", 0), |(_, name, seconds)| (name, seconds))
    }
}

/// The name of a unit of the calendar.
pub fn unit_name(unit: CalendarUnit) -> &'static str {
    Unit::Calendar(unit).row().0
}

/// A count of units: `1 minute`, `30 days`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) count: u32,
    pub(super) unit: Unit,
}

impl Span {
    /// Reads `1 minute`, `30 days`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once(' ')?;
        let is_plain = !count.is_empty() && count.len() <= 9 && count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = if is_plain { count.parse().ok()? } else { return None };
        let span = Self { count, unit: Unit::named(unit)? };
        (count > 0 && span.length() <= LENGTH_MAX).then_some(span)
    }

    /// As it is stored: `1 minute`, `30 days`.
    pub(super) fn text(self) -> String {
        let (name, _) = self.unit.row();
        if self.count == 1 { format!("1 {name}") } else { format!("{} {name}s", self.count) }
    }

    /// How long it is; a month has 30 days.
    pub(super) fn length(self) -> Duration {
        Duration::from_secs(self.unit.row().1 * u64::from(self.count))
    }
}

/// What the counter of a kind counts.
pub(super) fn kind_of(kind: LimitKind) -> Kind {
    match kind {
        LimitKind::Usd | LimitKind::Credits => Kind::Money,
        LimitKind::Requests => Kind::Requests,
        LimitKind::TokensInput => Kind::InputTokens,
        LimitKind::TokensOutput => Kind::OutputTokens,
        LimitKind::Tokens => Kind::TotalTokens,
        LimitKind::Audio => Kind::AudioMillis,
        LimitKind::Concurrent => Kind::Concurrent,
    }
}

/// The window of a counter; none when the words do not fit.
pub(super) fn window_of(algorithm: LimitAlgorithm, window: &str) -> Option<Window> {
    let span = Span::parse(window);
    match (algorithm, span) {
        (LimitAlgorithm::Total, None) if window.is_empty() => Some(Window::Total),
        (LimitAlgorithm::Concurrent, None) if window.is_empty() => Some(Window::Open),
        (LimitAlgorithm::FixedWindow, Some(span)) => Some(Window::Fixed(span.length())),
        (LimitAlgorithm::AlignedFixedWindow, Some(span)) => Some(Window::Aligned(span.length())),
        (LimitAlgorithm::SlidingWindow, Some(span)) => Some(Window::Sliding(span.length())),
        (LimitAlgorithm::TokenBucket, Some(span)) => Some(Window::Bucket(span.length())),
        (LimitAlgorithm::Calendar, Some(Span { count, unit: Unit::Calendar(unit) })) => {
            Some(Window::Calendar(unit, count))
        }
        _ => None,
    }
}

/// Window and algorithm as somebody asks for them, brought into the form in which they are stored.
///
/// # Errors
/// What does not fit the kind.
pub(super) fn checked_window(
    kind: LimitKind,
    window: Option<&str>,
    algorithm: Option<LimitAlgorithm>,
) -> Result<(String, LimitAlgorithm), ControlError> {
    let window = window.filter(|text| !text.is_empty());
    let algorithm = algorithm.unwrap_or(match (kind, window) {
        (LimitKind::Concurrent, _) => LimitAlgorithm::Concurrent,
        (_, None) => LimitAlgorithm::Total,
        (_, Some(_)) => LimitAlgorithm::FixedWindow,
    });
    let refused = |path: &str, message: &str| Err(ControlError::Invalid(vec![FieldProblem::new(path, message)]));
    if (kind == LimitKind::Concurrent) != (algorithm == LimitAlgorithm::Concurrent) {
        return refused("algorithm", "`concurrent` belongs to the kind `concurrent`, and no other does");
    }
    let has_none = matches!(algorithm, LimitAlgorithm::Total | LimitAlgorithm::Concurrent);
    let Some(text) = window else {
        if has_none {
            return Ok((String::new(), algorithm));
        }
        return refused("window", "missing; such as `1 minute`, `30 days`");
    };
    if has_none {
        return refused("window", "leave it away: the algorithm has no window");
    }
    let Some(span) = Span::parse(text) else {
        return refused(
            "window",
            "expected a count and `seconds`, `minutes`, `hours`, `days`, `weeks` or `months`, up to 12 months",
        );
    };
    if window_of(algorithm, &span.text()).is_none() {
        return refused("window", "the calendar has `hours`, `days`, `weeks` and `months`");
    }
    Ok((span.text(), algorithm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_stored_in_one_form_or_refused() {
        use LimitAlgorithm::{Calendar, Concurrent, FixedWindow, SlidingWindow, TokenBucket, Total};
        use LimitKind as Of;
        for (name, kind, window, algorithm, want) in [
            ("minute", Of::Requests, Some("1 minute"), None, Ok(("1 minute", FixedWindow))),
            ("plural", Of::Tokens, Some("1 minutes"), None, Ok(("1 minute", FixedWindow))),
            ("month of 30 days", Of::Usd, Some("1 month"), None, Ok(("1 month", FixedWindow))),
            ("calendar month", Of::Usd, Some("1 month"), Some(Calendar), Ok(("1 month", Calendar))),
            ("all time", Of::Usd, None, None, Ok(("", Total))),
            ("open", Of::Concurrent, None, None, Ok(("", Concurrent))),
            ("bucket", Of::Requests, Some("10 seconds"), Some(TokenBucket), Ok(("10 seconds", TokenBucket))),
            ("bucket of money", Of::Usd, Some("1 hour"), Some(TokenBucket), Ok(("1 hour", TokenBucket))),
            ("sliding money", Of::Usd, Some("1 hour"), Some(SlidingWindow), Ok(("1 hour", SlidingWindow))),
            ("sliding allowance", Of::Credits, Some("1 hour"), Some(SlidingWindow), Ok(("1 hour", SlidingWindow))),
            ("allowance of a month", Of::Credits, Some("1 month"), Some(Calendar), Ok(("1 month", Calendar))),
            ("concurrent requests", Of::Requests, None, Some(Concurrent), Err("algorithm")),
            ("total of what is open", Of::Concurrent, None, Some(Total), Err("algorithm")),
            ("window of all time", Of::Usd, Some("1 hour"), Some(Total), Err("window")),
            ("fixed without a window", Of::Usd, None, Some(FixedWindow), Err("window")),
            ("calendar minute", Of::Usd, Some("1 minute"), Some(Calendar), Err("window")),
            ("none of it", Of::Requests, Some("0 minutes"), None, Err("window")),
            ("no unit", Of::Requests, Some("60"), None, Err("window")),
            ("sign", Of::Requests, Some("+1 minute"), None, Err("window")),
            ("two years", Of::Requests, Some("24 months"), None, Err("window")),
        ] {
            let got = checked_window(kind, window, algorithm);
            let got = match &got {
                Ok((text, algorithm)) => Ok((text.as_str(), *algorithm)),
                Err(ControlError::Invalid(problems)) => Err(problems[0].path.as_str()),
                Err(other) => panic!("{name}: {other}"),
            };
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn lengths_written_differently_share_a_counter() {
        let fixed = |text| window_of(LimitAlgorithm::FixedWindow, text).unwrap();
        assert_eq!(fixed("1 month"), fixed("30 days"));
        assert_eq!(fixed("7 days"), fixed("1 week"));
        let calendar = |text| window_of(LimitAlgorithm::Calendar, text).unwrap();
        assert_ne!(calendar("7 days"), calendar("1 week"));
    }
}

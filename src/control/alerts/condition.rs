//! Which figures an event needs, their bounds and defaults.

use super::super::error::FieldProblem;
use crate::store::{AlertCondition, AlertEvent, AlertScope};

/// Shortest and longest window, in seconds.
const WINDOW: (u64, u64) = (60, 86_400);
const WINDOW_DEFAULT: u64 = 300;
/// Percentages of one rule at most.
const PERCENTS_MAX: usize = 10;
const PERCENT_MAX: u32 = 1_000;
const PERCENTS_DEFAULT: [u32; 3] = [50, 80, 100];
const MINIMUM_MAX: u64 = 1_000_000_000;

/// A threshold: its unit, its bounds, and what stands when none is given.
struct Threshold {
    unit: &'static str,
    bounds: (u64, u64),
    default: Option<u64>,
}

/// What an event takes.
#[derive(Default)]
struct Takes {
    percents: bool,
    threshold: Option<Threshold>,
    window: bool,
    minimum: Option<u64>,
}

const fn count(default: u64) -> Threshold {
    Threshold { unit: "requests", bounds: (1, MINIMUM_MAX), default: Some(default) }
}

const fn percent(default: u64) -> Threshold {
    Threshold { unit: "percent", bounds: (1, 100), default: Some(default) }
}

fn takes(event: AlertEvent) -> Takes {
    let over_time = |threshold, minimum| Takes { threshold: Some(threshold), window: true, minimum, percents: false };
    match event {
        AlertEvent::SpendThreshold => Takes { percents: true, ..Takes::default() },
        AlertEvent::ErrorRate => over_time(percent(5), Some(20)),
        AlertEvent::LatencyP95 => {
            over_time(Threshold { unit: "milliseconds", bounds: (1, 3_600_000), default: None }, Some(20))
        }
        AlertEvent::UpstreamDown => over_time(percent(50), Some(5)),
        AlertEvent::LimitReached
        | AlertEvent::CredentialRefused
        | AlertEvent::Fallback
        | AlertEvent::Unpriced
        | AlertEvent::UsageSuspect => over_time(count(1), None),
        AlertEvent::CreditsLow => {
            let usd = Threshold { unit: "USD", bounds: (1, 1_000_000_000), default: Some(10) };
            Takes { threshold: Some(usd), ..Takes::default() }
        }
        AlertEvent::KeyExpiring => {
            let days = Threshold { unit: "days", bounds: (1, 365), default: Some(7) };
            Takes { threshold: Some(days), ..Takes::default() }
        }
        _ => Takes::default(),
    }
}

/// Why an event cannot be noticed by this version; none if it can.
pub(super) fn unsupported(event: AlertEvent) -> Option<&'static str> {
    match event {
        AlertEvent::Guardrail | AlertEvent::GuardrailRemoved => {
            Some("`guardrail` and `guardrail_removed` are not supported yet: there are no guardrails")
        }
        AlertEvent::Cache => Some("`cache` is not supported yet: no answer is cached"),
        _ => None,
    }
}

/// Whether an event can be told for a scope.
pub(super) fn fits(event: AlertEvent, scope: AlertScope) -> bool {
    match (event, scope) {
        // The books are those of everybody, and credits those of the organization.
        (AlertEvent::LedgerMismatch | AlertEvent::CreditsLow, scope) => scope == AlertScope::Organization,
        (_, AlertScope::Organization | AlertScope::Project) => true,
        (
            AlertEvent::SpendThreshold
            | AlertEvent::LimitReached
            | AlertEvent::ErrorRate
            | AlertEvent::LatencyP95
            | AlertEvent::Fallback
            | AlertEvent::Unpriced
            | AlertEvent::UsageSuspect,
            _,
        ) => true,
        (AlertEvent::UpstreamDown | AlertEvent::CredentialRefused, scope) => scope == AlertScope::Route,
        (AlertEvent::KeyExpiring, scope) => scope == AlertScope::Key,
        _ => false,
    }
}

/// Puts defaults where nothing is said and refuses what the event does not take.
pub(super) fn complete(event: AlertEvent, said: AlertCondition, problems: &mut Vec<FieldProblem>) -> AlertCondition {
    let takes = takes(event);
    let word = event.as_str();
    let mut refuse =
        |field: &str, message: String| problems.push(FieldProblem::new(format!("condition.{field}"), message));
    let mut done = AlertCondition::default();
    match takes.percents {
        true if said.percents.is_empty() => done.percents = PERCENTS_DEFAULT.to_vec(),
        true => {
            let in_bounds = said.percents.iter().all(|percent| (1..=PERCENT_MAX).contains(percent));
            if !in_bounds || said.percents.len() > PERCENTS_MAX || !said.percents.is_sorted_by(|a, b| a < b) {
                refuse("percents", format!("expected 1 to {PERCENTS_MAX} rising numbers, 1 to {PERCENT_MAX}"));
            }
            done.percents = said.percents;
        }
        false if !said.percents.is_empty() => refuse("percents", format!("`{word}` takes no percentages")),
        false => {}
    }
    match (&takes.threshold, said.threshold) {
        (None, Some(_)) => refuse("threshold", format!("`{word}` takes no threshold")),
        (None, None) => {}
        (Some(Threshold { unit, bounds: (from, to), default }), said) => {
            done.threshold = said.or(*default);
            if done.threshold.is_none_or(|value| !(*from..=*to).contains(&value)) {
                refuse("threshold", format!("expected {from} to {to} {unit}"));
            }
        }
    }
    match (takes.window, said.window_seconds) {
        (true, said) => {
            let window = said.unwrap_or(WINDOW_DEFAULT);
            if !(WINDOW.0..=WINDOW.1).contains(&window) {
                refuse("window_seconds", format!("expected {} to {}", WINDOW.0, WINDOW.1));
            }
            done.window_seconds = Some(window);
        }
        (false, Some(_)) => refuse("window_seconds", format!("`{word}` takes no window")),
        (false, None) => {}
    }
    match (takes.minimum, said.minimum_requests) {
        (Some(default), said) => {
            let minimum = said.unwrap_or(default);
            if !(1..=MINIMUM_MAX).contains(&minimum) {
                refuse("minimum_requests", format!("expected 1 to {MINIMUM_MAX}"));
            }
            done.minimum_requests = Some(minimum);
        }
        (None, Some(_)) => refuse("minimum_requests", format!("`{word}` takes no minimum of requests")),
        (None, None) => {}
    }
    done
}

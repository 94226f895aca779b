//! `millrace limit`: what may be used, and what is.

use serde_json::{Value, json};

use super::client::encoded;
use super::desk::{Desk, object, text};
use super::failure::Failure;
use super::limit_args::{KeyLimitArgs, LimitCommand, LimitSetArgs};
use super::rules::place_path;
use super::table::Column;

const COLUMNS: &[Column] = &[
    ("LIMIT", "/id"),
    ("KIND", "/kind"),
    ("AMOUNT", "/amount"),
    ("WINDOW", "/window"),
    ("ALGORITHM", "/algorithm"),
    ("MODE", "/mode"),
    ("USED", "/posted"),
    ("OPEN", "/pending"),
    ("RESETS", "/resets_at"),
];

/// Runs a command about limits.
pub(super) fn run(desk: &Desk, command: LimitCommand) -> Result<(), Failure> {
    match command {
        LimitCommand::List { place } => {
            desk.show_rows(&desk.whole(&format!("{}/limits", place_path(desk, &place)?))?, COLUMNS)
        }
        LimitCommand::Set(args) => set(desk, &args),
        LimitCommand::Remove { limit, place } => {
            desk.delete(&format!("{}/limits/{}", place_path(desk, &place)?, encoded(&limit)), "")?;
            desk.done(&format!("{limit} is deleted"), &Value::Null)
        }
    }
}

fn set(desk: &Desk, args: &LimitSetArgs) -> Result<(), Failure> {
    let amount =
        if matches!(args.kind.as_str(), "usd" | "credits") { json!(args.amount) } else { json!(count(&args.amount)?) };
    let mode = if args.shadow { "shadow" } else { "enforce" };
    let path = format!("{}/limits", place_path(desk, &args.place)?);
    let found = desk.whole(&path)?.into_iter().find(|row| is_meant(row, args));
    if let Some(row) = found {
        let at = format!("{path}/{}", encoded(text(&row, "id")));
        let body = json!({ "amount": amount, "mode": mode });
        let changed = desk.patch(&at, &body)?;
        return desk.done(&format!("changed limit {}", text(&row, "id")), &changed);
    }
    let body = object(&[
        ("kind", Some(json!(args.kind))),
        ("amount", Some(amount)),
        ("window", args.window.as_deref().map(Value::from)),
        ("algorithm", args.algorithm.as_deref().map(Value::from)),
        ("mode", Some(json!(mode))),
    ]);
    let made = desk.post(&path, &body)?;
    desk.done(&format!("made limit {}", text(&made, "id")), &made)
}

fn count(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Failure::Usage(format!("`{text}` is no whole number")))
}

/// Whether a limit has the kind, window and algorithm that are asked for.
fn is_meant(row: &Value, args: &LimitSetArgs) -> bool {
    let window = row.get("window").and_then(Value::as_str);
    let default = match (args.kind.as_str(), &args.window) {
        ("concurrent", _) => "concurrent",
        (_, Some(_)) => "fixed_window",
        (_, None) => "total",
    };
    let is_same_window = window.map(singular) == args.window.as_deref().map(singular);
    text(row, "kind") == args.kind
        && text(row, "algorithm") == args.algorithm.as_deref().unwrap_or(default)
        && is_same_window
}

fn singular(window: &str) -> &str {
    window.strip_suffix('s').unwrap_or(window)
}

/// The limits of a new key, as fields of its body.
///
/// # Errors
/// A period that cannot be read.
pub(super) fn key_limits(args: &KeyLimitArgs) -> Result<[(&'static str, Option<Value>); 5], Failure> {
    let period = args.period_limit.as_deref().map(|text| period(text, args.calendar)).transpose()?;
    Ok([
        ("usage_limit", args.usage_limit.as_deref().map(Value::from)),
        ("period_limit", period),
        ("requests_per_minute", args.rpm.map(Value::from)),
        ("tokens_per_minute", args.tpm.map(Value::from)),
        ("max_concurrent", args.max_concurrent.map(Value::from)),
    ])
}

/// `50/month`, `5/12 hours`.
fn period(text: &str, is_calendar: bool) -> Result<Value, Failure> {
    let wrong = || Failure::Usage(format!("--period-limit {text}: expected such as `50/month` or `5/12 hours`"));
    let (amount, every) = text.split_once('/').ok_or_else(wrong)?;
    let (value, unit) = every.split_once(' ').unwrap_or(("1", every));
    let value: u32 = value.parse().map_err(|_| wrong())?;
    let kind = if is_calendar { "calendar" } else { "rolling" };
    Ok(json!({ "amount": amount, "every": { "value": value, "unit": singular(unit) }, "kind": kind }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_is_read_or_refused() {
        let body =
            |amount, value, unit| json!({"amount": amount, "every": {"value": value, "unit": unit}, "kind": "rolling"});
        for (text, want) in [
            ("50/month", Some(body("50", 1, "month"))),
            ("5.25/12 hours", Some(body("5.25", 12, "hour"))),
            ("50", None),
            ("50/x hours", None),
        ] {
            assert_eq!(period(text, false).ok(), want, "{text}");
        }
    }
}

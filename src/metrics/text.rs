//! Lines of the Prometheus text format, version 0.0.4.

use std::fmt::Write;

use super::histogram::Total;

/// A sample, without floating point.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    /// Millionths, written as a decimal fraction.
    Millionths(u64),
    /// Billionths, written as a decimal fraction.
    Billionths(u64),
}

impl From<u64> for Value {
    fn from(whole: u64) -> Self {
        Self::Whole(whole)
    }
}

pub(super) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
        out.push_str(part);
    }
}

/// Appends one sample; `labels` are the pieces between the braces.
pub(super) fn line(out: &mut String, name: &str, labels: &[&str], value: impl Into<Value>) {
    out.push_str(name);
    if !labels.is_empty() {
        out.push('{');
        for part in labels {
            out.push_str(part);
        }
        out.push('}');
    }
    out.push(' ');
    push_value(out, value.into());
    out.push('\n');
}

/// Appends all lines of one histogram; nothing when it never counted. `labels` may be empty.
pub(super) fn histogram<const N: usize>(
    out: &mut String,
    name: &str,
    labels: &str,
    total: &Total<N>,
    bounds_us: impl Iterator<Item = u64>,
) {
    if total.count() == 0 {
        return;
    }
    let bounds = bounds_us.map(Some).chain([None]);
    let comma = if labels.is_empty() { "" } else { "," };
    for (bound, count) in bounds.zip(total.cumulative()) {
        for part in [name, "_bucket{", labels, comma, "le=\""] {
            out.push_str(part);
        }
        match bound {
            Some(us) => push_value(out, Value::Millionths(us)),
            None => out.push_str("+Inf"),
        }
        out.push_str("\"} ");
        push_value(out, Value::Whole(count));
        out.push('\n');
    }
    for (suffix, value) in [("_sum", Value::Millionths(total.sum_us())), ("_count", Value::Whole(total.count()))] {
        let labels = if labels.is_empty() { &[][..] } else { &[labels] };
        out.push_str(name);
        line(out, suffix, labels, value);
    }
}

fn push_value(out: &mut String, value: Value) {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Whole(whole) => write!(out, "{whole}"),
        Value::Millionths(millionths) => {
            let written = write!(out, "{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
            cut_zeros(out);
            written
        }
        Value::Billionths(billionths) => {
            let written = write!(out, "{}.{:09}", billionths / 1_000_000_000, billionths % 1_000_000_000);
            cut_zeros(out);
            written
        }
    };
}

/// Takes the zeros off the end of a decimal fraction.
fn cut_zeros(out: &mut String) {
    let kept = out.trim_end_matches('0').trim_end_matches('.').len();
    out.truncate(kept);
}

/// Escapes what the format asks for: backslash, quote and line feed.
pub(super) fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
}

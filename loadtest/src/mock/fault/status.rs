//! Errors with a status, in the shapes of many providers.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Fault;
use crate::mock::answer::{before, honest, own_lines};
use crate::mock::ask::Ask;
use crate::serve::{Plan, Step, head};

/// A canary that must reach neither a client nor a log: it has the form of a key.
const LEAK: &str = "Incorrect API key provided: sk-canary-0123456789abcdef0123456789abcdef. <script>alert(1)</script> upstream 10.1.2.3 said\u{1b}[31m no";

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "status",
        values: "NNN",
        keys: &["retry_after", "retry_after_ms", "shape", "code", "type", "message_bytes", "should_retry"],
        rows: "F-06 F-07 F-08 T-57 T-58",
        about: "An error with this status (500). `retry_after`: seconds, `date:SECONDS`, `past`, `negative`, `huge` (10^9), `float`, `text`. `shape`: openai (default), azure, gemini, gemini-sse, anthropic, bedrock, cohere, mistral, xai, ollama, openrouter, deepseek, html, text, empty, broken, leak. `code` and `type` replace those of the OpenAI shape; `message_bytes` lengthens the message.",
        streams_only: false,
        make: status,
    },
    Fault {
        name: "redirect",
        values: "302",
        keys: &["to"],
        rows: "T-54",
        about: "A redirect with this status; `to`: metadata (default, a link-local address), loop, other.",
        streams_only: false,
        make: redirect,
    },
];

fn status(ask: &Ask<'_>) -> Result<Plan, String> {
    let status: u16 = ask.script.own_number(500, 599)?;
    if status < 200 {
        return Err(format!("`{status}` is no final status"));
    }
    let (kind, mut lines, body) = shaped(ask, status)?;
    if let Some(text) = ask.script.text("retry_after") {
        lines.push_str(&format!("retry-after: {}\r\n", retry_after(text)?));
    }
    if let Some(text) = ask.script.text("retry_after_ms") {
        lines.push_str(&format!("retry-after-ms: {text}\r\n"));
    }
    if let Some(text) = ask.script.text("should_retry") {
        lines.push_str(&format!("x-should-retry: {text}\r\n"));
    }
    let kind = if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
    let bodiless = status == 204 || status == 304;
    let length = if bodiless { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let mut bytes = head(status, &format!("{kind}{length}{}{lines}", own_lines(ask)));
    if !bodiless {
        bytes.extend_from_slice(body.as_bytes());
    }
    let mut steps = before(ask);
    steps.push(Step::write(bytes));
    Ok(Plan { status, usage: None, ..honest(ask, steps) })
}

/// Content type, extra header lines and body of an error.
fn shaped(ask: &Ask<'_>, status: u16) -> Result<(&'static str, String, String), String> {
    let bytes: usize = ask.script.number("message_bytes", 0, 64 << 20)?;
    let mut message = format!("mock error {status}");
    message.push_str(&"!".repeat(bytes.saturating_sub(message.len())));
    let shape = ask.script.text("shape").unwrap_or("openai");
    if let Some(body) = json_error(ask, shape, status, &message) {
        let kind = if shape == "deepseek" { "application/octet-stream" } else { "application/json" };
        let line = if shape == "bedrock" { "x-amzn-errortype: ThrottlingException\r\n" } else { "" };
        return Ok((kind, line.to_owned(), body.to_string()));
    }
    let gemini = json!({"error": {"code": status, "message": message, "status": grpc_status(status)}});
    let none = String::new;
    Ok(match shape {
        "gemini" => ("application/json; charset=UTF-8", none(), format!("{gemini:#}\n")),
        "gemini-sse" => ("text/event-stream", none(), format!("{gemini:#}\n")),
        "html" => ("text/html", none(), format!("<html><body><h1>{status}</h1>{message}</body></html>\n")),
        "text" => ("text/plain", none(), format!("{message}\n")),
        "empty" => ("", none(), none()),
        "broken" => ("application/json", none(), r#"{"error": {"message": "cut of"#.to_owned()),
        "leak" => {
            let body = json!({"error": {"message": format!("{LEAK}{message}")}});
            ("application/json", "set-cookie: canary=1\r\n".to_owned(), body.to_string())
        }
        _ => return Err(format!("unknown shape `{shape}`")),
    })
}

/// The errors that are one line of JSON without further peculiarities.
fn json_error(ask: &Ask<'_>, shape: &str, status: u16, message: &str) -> Option<Value> {
    let (kind, code) = kind_and_code(status);
    let kind = ask.script.text("type").unwrap_or(kind);
    let code = ask.script.text("code").or(code);
    Some(match shape {
        "openai" | "deepseek" => {
            json!({"error": {"message": message, "type": kind, "param": Value::Null, "code": code}})
        }
        "azure" => json!({"error": {"code": status.to_string(), "message": message}}),
        "anthropic" => {
            let kind = if status == 529 { "overloaded_error" } else { kind };
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"})
        }
        "bedrock" => json!({"message": message}),
        "cohere" => json!({"id": "mock", "message": message}),
        "mistral" => json!({"detail": message}),
        "xai" => json!({"code": "mock error", "error": message}),
        "ollama" => json!({"error": message}),
        "openrouter" => json!({"error": {"message": message, "code": status, "metadata": {}}}),
        _ => return None,
    })
}

fn kind_and_code(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("invalid_request_error", Some("unsupported_country_region_territory")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    }
}

fn grpc_status(status: u16) -> &'static str {
    match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

fn retry_after(text: &str) -> Result<String, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(match text {
        "past" => http_date(now.saturating_sub(3_600)),
        "negative" => "-5".to_owned(),
        "huge" => "1000000000".to_owned(),
        "float" => "1.5".to_owned(),
        "text" => "soon".to_owned(),
        _ => match text.strip_prefix("date:") {
            Some(seconds) => {
                http_date(now + seconds.parse::<u32>().map(u64::from).map_err(|_| format!("no seconds in `{text}`"))?)
            }
            None => text.parse::<u64>().map_err(|_| format!("unknown retry_after `{text}`"))?.to_string(),
        },
    })
}

/// A date as HTTP writes it (RFC 9110, 5.6.7), from seconds since 1970.
fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds / 86_400;
    let name = |names: &[&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
    };
    // Days are counted from 1 March of year 0, so that the leap day ends a year (Hinnant, chrono-compatible date algorithms).
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 2 } else { month_shifted - 10 };
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{}, {day:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", name(&DAYS, days % 7), name(&MONTHS, month))
}

fn redirect(ask: &Ask<'_>) -> Result<Plan, String> {
    let status: u16 = ask.script.own_number(302, 399)?;
    let location = match ask.script.text("to").unwrap_or("metadata") {
        "metadata" => "http://169.254.169.254/latest/meta-data/",
        "loop" => "/v1/chat/completions",
        "other" => "http://localhost:1/v1/chat/completions",
        other => {
            return Err(format!("unknown goal `{other}`; known: metadata, loop, other"));
        }
    };
    let lines = format!("location: {location}\r\ncontent-length: 0\r\n{}", own_lines(ask));
    let mut steps = before(ask);
    steps.push(Step::write(head(status, &lines)));
    Ok(Plan { status, usage: None, ..honest(ask, steps) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        for (seconds, want) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_760_000_000, "Thu, 09 Oct 2025 08:53:20 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(seconds), want);
        }
    }

    #[test]
    fn retry_after_is_written_or_refused() {
        for (text, want) in [
            ("5", Some("5")),
            ("negative", Some("-5")),
            ("huge", Some("1000000000")),
            ("date:x", None),
            ("later", None),
        ] {
            assert_eq!(retry_after(text).ok().as_deref(), want, "{text}");
        }
    }
}

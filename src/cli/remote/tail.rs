//! `millrace logs tail`: requests as they end.

use std::io::{BufRead as _, BufReader, Read, Write as _};

use serde_json::{Value, json};

use super::client::query;
use super::desk::Desk;
use super::failure::{Failure, Refused};
use super::table::{Column, line};
use super::usage_args::LogsTailArgs;

/// Heading, pointer and width of each column: lines come one by one, so that widths cannot follow them.
const COLUMNS: &[(Column, usize)] = &[
    (("AT", "/at"), 24),
    (("STATUS", "/status"), 6),
    (("ERROR", "/error_code"), 20),
    (("ROUTE", "/route"), 16),
    (("MODEL", "/model"), 24),
    (("INPUT", "/tokens/input"), 7),
    (("OUTPUT", "/tokens/output"), 7),
    (("COST USD", "/cost"), 13),
    (("MS", "/duration_ms"), 10),
    (("REQUEST", "/request_id"), 0),
];

/// Follows the requests of a project until the gateway ends it, or so many have come.
pub(super) fn follow(desk: &Desk, args: &LogsTailArgs) -> Result<(), Failure> {
    let filters = args.filter.pairs();
    let path = format!("{}/logs/tail{}", desk.project(&args.project)?, query(&filters));
    let body = desk.client.follow(&path, "text/event-stream")?;
    if !desk.is_json() {
        let head: Vec<_> = COLUMNS.iter().map(|((heading, _), width)| ((*heading).to_owned(), *width)).collect();
        desk.print(&line(&head))?;
    }
    shown(desk, body, args.limit)
}

fn shown(desk: &Desk, body: impl Read, limit: Option<u64>) -> Result<(), Failure> {
    let (mut event, mut count) = (String::new(), 0u64);
    for read in BufReader::new(body).lines() {
        let read = read.map_err(|error| Failure::Unreachable(format!("the tail broke off: {error}")))?;
        if let Some(name) = read.strip_prefix("event: ") {
            event = name.to_owned();
        }
        let Some(text) = read.strip_prefix("data: ") else { continue };
        let value: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        match event.as_str() {
            "request" => {
                if desk.is_json() {
                    desk.print(&format!("{text}\n"))?;
                } else {
                    let cells = COLUMNS.iter().map(|((_, pointer), width)| (cell(&value, pointer), *width));
                    desk.print(&line(&cells.collect::<Vec<_>>()))?;
                }
                count += 1;
                if limit.is_some_and(|limit| count >= limit) {
                    return Ok(());
                }
            }
            "lost" => {
                let lost = value.get("lost").and_then(Value::as_u64).unwrap_or_default();
                warn(&format!("{lost} requests were not shown: more ended than a tail carries"));
            }
            "end" => return Err(ended(value.get("reason").and_then(Value::as_str).unwrap_or_default())),
            _ => {}
        }
    }
    Err(Failure::Unreachable("the gateway closed the tail".to_owned()))
}

fn cell(row: &Value, pointer: &str) -> String {
    match row.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => super::table::plain(text),
        Some(value) => value.to_string(),
    }
}

fn ended(reason: &str) -> Failure {
    if reason == "revoked" {
        let detail = "the token, session or role of this tail has ended";
        let problem = json!({"status": 401, "code": "not_authenticated", "detail": detail}).to_string();
        return Failure::Refused(Box::new(Refused::read(401, problem.as_bytes())));
    }
    Failure::Unreachable("the gateway is shutting down".to_owned())
}

fn warn(text: &str) {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "millrace: {text}");
}

//! `millrace usage` and `millrace logs`: what was used.

use serde_json::Value;

use super::client::{encoded, query};
use super::desk::Desk;
use super::failure::Failure;
use super::table::Column;
use super::tail::follow;
use super::usage_args::{LogsCommand, LogsListArgs, UsageArgs};

const SUMS: &[Column] = &[
    ("FROM", "/begins"),
    ("GROUP", "/group"),
    ("REQUESTS", "/requests"),
    ("ERRORS", "/errors"),
    ("INPUT", "/tokens/input"),
    ("OUTPUT", "/tokens/output"),
    ("COST USD", "/cost"),
    ("FEE USD", "/fee"),
    ("P50 MS", "/duration_ms/p50"),
    ("P99 MS", "/duration_ms/p99"),
];

const ROWS: &[Column] = &[
    ("AT", "/at"),
    ("REQUEST", "/request_id"),
    ("STATUS", "/status"),
    ("ERROR", "/error_code"),
    ("ROUTE", "/route"),
    ("MODEL", "/model"),
    ("INPUT", "/tokens/input"),
    ("OUTPUT", "/tokens/output"),
    ("COST USD", "/cost"),
    ("MS", "/duration_ms"),
    ("KEY", "/key_id"),
];

/// Sums up what was used.
pub(super) fn usage(desk: &Desk, args: &UsageArgs) -> Result<(), Failure> {
    let pairs = [
        ("from", args.from.as_deref()),
        ("to", args.to.as_deref()),
        ("granularity", Some(args.every.word())),
        ("timezone", args.timezone.as_deref()),
        ("group_by", args.by.as_deref()),
        ("key_id", args.key.as_deref()),
    ];
    let owner = desk.owner(args.owner.project.as_deref())?;
    let answer = desk.get(&format!("{owner}/analytics{}", query(&pairs)))?;
    if desk.is_json() {
        return desk.show(&answer);
    }
    let rows = answer.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    desk.show_rows(rows, SUMS)
}

/// Runs a command about stored requests.
pub(super) fn logs(desk: &Desk, command: &LogsCommand) -> Result<(), Failure> {
    match command {
        LogsCommand::List(args) => list(desk, args),
        LogsCommand::Tail(args) => follow(desk, args),
        LogsCommand::Show { project, request_id } => {
            let path = format!("{}/logs/{}", desk.project(project)?, encoded(request_id));
            desk.show(&desk.get(&path)?)
        }
    }
}

fn list(desk: &Desk, args: &LogsListArgs) -> Result<(), Failure> {
    let mut filters = args.filter.pairs();
    filters.extend([("from", args.from.as_deref()), ("to", args.to.as_deref())]);
    let path = format!("{}/logs", desk.project(&args.project)?);
    let rows = desk.some(&path, &filters, usize::try_from(args.limit).unwrap_or(usize::MAX))?;
    desk.show_rows(&rows, ROWS)
}

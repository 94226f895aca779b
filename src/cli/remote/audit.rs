//! `millrace audit`: what was changed, and is the log whole.

use serde_json::Value;

use super::args::AuditCommand;
use super::desk::Desk;
use super::failure::Failure;
use super::table::Column;

const COLUMNS: &[Column] = &[
    ("#", "/sequence"),
    ("AT", "/at"),
    ("ACTOR", "/actor"),
    ("ADDRESS", "/address"),
    ("ACTION", "/action"),
    ("OBJECT", "/object"),
    ("COMMENT", "/comment"),
];

/// Runs a command about the audit log.
pub(super) fn run(desk: &Desk, command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List { owner, actor, action, object, limit } => {
            let list = format!("{}/audit", desk.owner(owner.project.as_deref())?);
            let filters = [("actor", actor.as_deref()), ("action", action.as_deref()), ("object", object.as_deref())];
            let rows = desk.some(&list, &filters, usize::try_from(*limit).unwrap_or(usize::MAX))?;
            desk.show_rows(&rows, COLUMNS)
        }
        AuditCommand::Verify => {
            let answer = desk.get("/audit/verify")?;
            desk.show(&answer)?;
            if answer.get("ok").and_then(Value::as_bool) == Some(true) {
                return Ok(());
            }
            Err(Failure::Local(anyhow::anyhow!("the audit log was changed; restore a backup and find out by whom")))
        }
    }
}

//! Why a remote command fails, and with which exit status.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::Value;

use super::table::plain;
use crate::cli::print::{REFUSED, WRONG_USAGE};

/// The gateway cannot be reached.
const UNREACHABLE: u8 = 3;
/// Not logged in, or the role is too low.
const NOT_ALLOWED: u8 = 4;
/// Somebody else was faster, or the state does not allow it.
const CONFLICT: u8 = 5;

/// Why a remote command fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// What the command names does not exist.
    Missing(String),
    /// There is no answer, or none that can be understood.
    Unreachable(String),
    /// The gateway says no.
    Refused(Box<Refused>),
    /// Another program or person has changed what this command is about.
    Conflict(String),
    /// Something on this side.
    Local(anyhow::Error),
}

/// A refusal of the gateway: status and `problem+json`.
#[derive(Debug)]
pub(crate) struct Refused {
    status: u16,
    problem: Value,
    /// Name of the file that a configuration came from.
    file: Option<String>,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Local(error)
    }
}

impl Failure {
    /// The exit status: 1 refused, 2 usage, 3 not reachable, 4 not logged in or not permitted, 5 conflict.
    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => WRONG_USAGE,
            Self::Unreachable(_) => UNREACHABLE,
            Self::Conflict(_) => CONFLICT,
            Self::Local(_) | Self::Missing(_) => REFUSED,
            Self::Refused(refused) => match refused.status {
                401 | 403 => NOT_ALLOWED,
                409 | 412 => CONFLICT,
                _ => REFUSED,
            },
        })
    }

    /// Whether the gateway answered that the object does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.status == 404)
    }

    /// Says which file a refused configuration came from.
    pub(super) fn in_file(mut self, file: &str) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.file = Some(file.to_owned());
        }
        self
    }

    /// Writes the failure to standard error: lines, or one JSON object.
    pub(crate) fn report(&self, json: bool) {
        let text = match self {
            Self::Refused(refused) if json => refused.problem.to_string(),
            Self::Refused(refused) => refused.lines(),
            Self::Usage(text) | Self::Missing(text) | Self::Unreachable(text) | Self::Conflict(text) => {
                format!("millrace: {text}")
            }
            Self::Local(error) => format!("millrace: {error:#}"),
        };
        // Nobody is left to be told when standard error is closed.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

impl Refused {
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let problem = serde_json::from_slice(body).ok().filter(Value::is_object);
        let problem = problem.unwrap_or_else(|| serde_json::json!({ "status": status, "title": "no details" }));
        Self { status, problem, file: None }
    }

    /// The refusal as lines for people; problems of a configuration as `file:line:column: path: message (hint)`.
    fn lines(&self) -> String {
        let text = |name: &str| self.problem.get(name).and_then(Value::as_str).map(plain).unwrap_or_default();
        let (title, code, detail, request) = (text("title"), text("code"), text("detail"), text("request_id"));
        let what = if detail.is_empty() { title } else { detail };
        let mut lines = vec![format!("millrace: {what}")];
        if let Some(items) = self.problem.get("errors").and_then(Value::as_array) {
            lines.extend(items.iter().map(|item| problem_line(item, self.file.as_deref())));
        }
        let request = if request.is_empty() { String::new() } else { format!(", request {request}") };
        let code = if code.is_empty() { String::new() } else { format!(" {code}") };
        lines.push(format!("  (status {}{code}{request})", self.status));
        lines.join("\n")
    }
}

/// One problem: of a file with its place, of a field with its path.
pub(super) fn problem_line(item: &Value, file: Option<&str>) -> String {
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(plain).filter(|text| !text.is_empty());
    let number = |name: &str| item.get(name).and_then(Value::as_u64);
    let place = match (number("line"), number("column")) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}: ", file.unwrap_or("config")),
        _ => "  ".to_owned(),
    };
    let warning = if text("severity").as_deref() == Some("warning") { "warning: " } else { "" };
    let path = text("path").map(|path| format!("{path}: ")).unwrap_or_default();
    let hint = text("hint").map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{place}{warning}{path}{}{hint}", text("message").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configuration_problem_is_a_line_an_editor_understands() {
        let problem = json!({
            "title": "Unprocessable Entity", "status": 422, "code": "config_invalid",
            "detail": "the configuration has 2 problem(s); nothing changed", "request_id": "req_1",
            "errors": [
                {"path": "routes.chat.fallback[0]", "line": 14, "column": 9, "code": "unknown_reference",
                 "message": "unknown model `gpt4`", "hint": "did you mean `gpt-4o`?", "severity": "error"},
                {"path": "", "line": 1, "column": 1, "code": "no_effect", "message": "has no effect", "severity": "warning"},
            ],
        });
        let refused = Refused::read(422, problem.to_string().as_bytes());
        let failure = Failure::Refused(Box::new(refused)).in_file("support.yaml");
        let Failure::Refused(refused) = &failure else { panic!() };
        assert_eq!(
            refused.lines(),
            "millrace: the configuration has 2 problem(s); nothing changed\n\
             support.yaml:14:9: routes.chat.fallback[0]: unknown model `gpt4` (did you mean `gpt-4o`?)\n\
             support.yaml:1:1: warning: has no effect\n  (status 422 config_invalid, request req_1)"
        );
    }

    #[test]
    fn statuses_have_their_exit() {
        for (status, exit) in [(401, 4), (403, 4), (404, 1), (409, 5), (412, 5), (422, 1), (429, 1), (500, 1), (503, 1)]
        {
            let failure = Failure::Refused(Box::new(Refused::read(status, b"not json")));
            assert_eq!(failure.exit(), ExitCode::from(exit), "{status}");
        }
        assert_eq!(Failure::Usage(String::new()).exit(), ExitCode::from(2));
        assert_eq!(Failure::Unreachable(String::new()).exit(), ExitCode::from(3));
    }

    #[test]
    fn answer_cannot_steer_the_terminal() {
        let body = json!({"detail": "bad \u{1b}[2J name", "errors": [{"path": "a\nb", "message": "\u{7}"}]});
        let lines = Refused::read(422, body.to_string().as_bytes()).lines();
        assert!(lines.contains(r"bad \u{1b}[2J name") && lines.contains(r"a\nb: \u{7}"), "{lines}");
    }
}

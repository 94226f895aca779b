//! Problems of a configuration, as answers show them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::words;
use crate::config::{Problem, Severity};

/// One problem of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct ConfigProblem {
    /// Path of the key or value; empty for the whole document.
    path: String,
    #[schema(minimum = 1)]
    line: u32,
    /// In characters.
    #[schema(minimum = 1)]
    column: u32,
    /// The kind, of a closed list.
    code: String,
    /// What is wrong.
    message: String,
    /// What was probably meant.
    hint: Option<String>,
    /// `error` or `warning`.
    #[schema(schema_with = severity_schema)]
    severity: String,
}

fn severity_schema() -> utoipa::openapi::schema::Object {
    words(&[Severity::Error.as_str(), Severity::Warning.as_str()])
}

impl ConfigProblem {
    /// Reads what was stored with a version; a list that cannot be read is shown as none.
    pub(super) fn stored(problems: &str) -> Vec<Self> {
        serde_json::from_str(problems).unwrap_or_default()
    }
}

impl From<&Problem> for ConfigProblem {
    fn from(problem: &Problem) -> Self {
        Self {
            path: problem.path.clone(),
            line: problem.at.line,
            column: problem.at.column,
            code: problem.code.as_str().to_owned(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
            severity: problem.severity.as_str().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Code, Position};

    #[test]
    fn stored_problem_is_shown_as_it_was_found() {
        let problem = Problem::error("a.b", Position { line: 3, column: 4 }, Code::Duplicate, "twice").hint("once");
        let stored = serde_json::Value::Array(vec![problem.to_json()]).to_string();
        assert_eq!(ConfigProblem::stored(&stored), [ConfigProblem::from(&problem)]);
        assert!(ConfigProblem::stored("[]").is_empty());
    }
}

//! Why the control plane refuses, without HTTP.

use crate::{base::UnixTime, snapshot::Refusal, store::StoreError};

/// A field of a request that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// Path of the field, such as `tags.team`; empty for the whole body.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl FieldProblem {
    /// Names a field and what is wrong with it.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Why something was not done. Each text says what to do about it and holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// No, unknown or expired session or token.
    #[error("log in, or send `Authorization: Bearer` with an admin token that is not expired")]
    NotAuthenticated,
    /// Absent, deleted, or of another tenant: the same for all three.
    #[error("there is no such object, or it is not yours")]
    NotFound,
    /// The caller's role is too low, in the caller's own tenant.
    #[error("{0}")]
    NotPermitted(String),
    /// A count has reached its limit.
    #[error("{0}")]
    LimitReached(String),
    /// The approver is the author.
    #[error("{0}")]
    SecondPersonRequired(String),
    /// The state of the object does not allow the action; names the allowed next steps.
    #[error("{0}")]
    IllegalTransition(String),
    /// `expected_generation` is not the current one.
    #[error("{0}")]
    GenerationConflict(String),
    /// Another serve of the project is running.
    #[error("{0}")]
    ServeInProgress(String),
    /// The name is in use.
    #[error("{0}")]
    NameTaken(String),
    /// The slug is in use.
    #[error("{0}")]
    SlugTaken(String),
    /// The slug cannot change any more.
    #[error("the slug is locked, because the project was served under it")]
    SlugLocked,
    /// The project is archived.
    #[error("the project is archived; restore it first")]
    ProjectArchived,
    /// The organization would have no owner.
    #[error("the last owner cannot leave or be demoted; make another member owner first")]
    LastOwner,
    /// Something else needs the object.
    #[error("{0}")]
    InUse(String),
    /// Files of the administrator own the object.
    #[error("{0}")]
    FileOwned(String),
    /// The object changed since it was read.
    #[error("the object changed since it was read; read it again and repeat the change")]
    Stale {
        /// Its present revision.
        current: u64,
    },
    /// More bytes than are accepted.
    #[error("{0}")]
    TooLarge(String),
    /// Fields are not as they must be.
    #[error("{} is not as it must be", list_of(.0))]
    Invalid(Vec<FieldProblem>),
    /// The configuration has problems.
    #[error("the configuration has {} problem(s); nothing changed", .0.len())]
    ConfigInvalid(Vec<Refusal>),
    /// Too many requests or wrong logins.
    #[error("too many attempts; wait until {}", .0.rfc3339())]
    RateLimited(UnixTime),
    /// The store cannot be read or written now.
    #[error("{0}")]
    Unavailable(String),
    /// Our own fault; the log has the details.
    #[error("internal error; the log of the gateway has the details")]
    Internal(String),
}

impl ControlError {
    /// One field that is not as it must be.
    pub fn field(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldProblem::new(path, message)])
    }
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        match error {
            // Callers that update a row they have just read in the same transaction never see this.
            StoreError::Stale => Self::Stale { current: 0 },
            StoreError::Backup(_) => Self::field("file", error.to_string()),
            StoreError::TooLong => Self::field("from", error.to_string()),
            StoreError::Internal(why) => Self::Internal(why),
            StoreError::Taken(what) => Self::NameTaken(format!("this {what} is taken; choose another")),
            StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::TooNew { .. } => {
                Self::Unavailable(format!("{error}; the data plane goes on serving, repeat the request later"))
            }
        }
    }
}

impl From<getrandom::Error> for ControlError {
    fn from(error: getrandom::Error) -> Self {
        Self::Internal(format!("the system gives no random bytes: {error}"))
    }
}

fn list_of(problems: &[FieldProblem]) -> String {
    let paths: Vec<_> = problems.iter().map(|problem| format!("`{}`", problem.path)).collect();
    paths.join(", ")
}

//! Why the process does not start, or ends badly.

use std::io;

use crate::{control::ControlError, snapshot::Refusal};

/// Why the process does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration is refused; every problem is listed.
    #[error("the configuration is refused:{}", list(.0))]
    Config(Vec<Refusal>),
    /// The machine refuses something.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
    /// The limits of the process do not fit its settings.
    #[error("{0}")]
    Limits(String),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] ControlError),
    /// A worker ended although nobody asked it to.
    #[error("a worker ended unexpectedly; the process has drained and stops")]
    WorkerDied,
    /// The loop of a worker stands still.
    #[error("workers {0:?} stand still; the process has drained the others and stops")]
    WorkerBlocked(Vec<usize>),
    /// The admin thread ended before it could say how the process did.
    #[error("the admin thread ended unexpectedly; please report what the lines before this say")]
    AdminDied,
}

impl ServerError {
    /// Makes an error of what the machine says, for `map_err`.
    pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io(what, error)
    }
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| format!("\n  {}", refusal.problem.render(&refusal.file))).collect()
}

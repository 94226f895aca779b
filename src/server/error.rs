//! Why the process does not start, or ends badly.

use std::io;

use crate::snapshot::Refusal;

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
    /// A worker ended although nobody asked it to.
    #[error("a worker ended unexpectedly; the process has drained and stops")]
    WorkerDied,
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| format!("\n  {}", refusal.problem.render(&refusal.file))).collect()
}

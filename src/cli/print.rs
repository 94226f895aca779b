//! What people and programs read: output, errors, statuses.

use std::io::{self, Write as _};
use std::process::ExitCode;

use millrace::config::{Problem, Severity};
use millrace::snapshot::Refusal;

/// Done, but the answer is no; or a failure that is reported already.
pub(crate) const REFUSED: u8 = 1;
/// Clap's own status for wrong usage.
pub(crate) const WRONG_USAGE: u8 = 2;

/// Writes to standard output. A reader that left early is no failure of ours.
pub(crate) fn out(text: &str) -> anyhow::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Writes an error with its causes to standard error.
pub(crate) fn report(error: &anyhow::Error) {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(io::stderr(), "millrace: {error:#}");
}

/// Writes problems to standard error, one a line.
pub(crate) fn report_problems(refusals: &[Refusal]) {
    let paint = Paint::of(&io::stderr());
    let mut stderr = io::stderr().lock();
    for refusal in refusals {
        let _ = writeln!(stderr, "{}", paint.problem(&refusal.file, &refusal.problem));
    }
}

/// Whether lines are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colour,
}

impl Paint {
    /// Colours for a terminal, unless `NO_COLOR` is set to anything (no-color.org) or the terminal is `dumb`.
    pub(crate) fn of(stream: &impl io::IsTerminal) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        if stream.is_terminal() && set("NO_COLOR").is_none() && !dumb { Self::Colour } else { Self::Plain }
    }

    /// Colours for standard output.
    pub(crate) fn of_stdout() -> Self {
        Self::of(&io::stdout())
    }

    /// One problem as a line: `file:line:column: path: message (hint)`.
    pub(crate) fn problem(self, file: &str, problem: &Problem) -> String {
        let line = problem.render(file);
        let colour = match (self, problem.severity) {
            (Self::Plain, _) => return line,
            (Self::Colour, Severity::Error) => 31,
            (Self::Colour, Severity::Warning) => 33,
        };
        // Only the place is coloured, so that a message copied from a terminal is clean.
        let place = format!("{file}:{}:{}:", problem.at.line, problem.at.column);
        match line.strip_prefix(&place) {
            Some(rest) => format!("\x1b[{colour}m{place}\x1b[0m{rest}"),
            None => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace::config::{Code, Position};

    use super::*;

    #[test]
    fn colour_changes_the_place_only() {
        let at = Position { line: 2, column: 3 };
        let problem = Problem::warning("a", at, Code::NoEffect, "has no effect");
        assert_eq!(Paint::Plain.problem("x.yaml", &problem), "x.yaml:2:3: warning: a: has no effect");
        assert_eq!(Paint::Colour.problem("x.yaml", &problem), "\x1b[33mx.yaml:2:3:\x1b[0m warning: a: has no effect");
    }
}

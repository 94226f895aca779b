//! What a database must be able to do to carry the store.
//!
//! The threads, the queues and the health of the store are the same for every database; an engine only runs jobs.

use std::{path::Path, time::Duration};

use super::tx::{Outcome, Tx};

/// What becomes of the changes of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are part of the transaction.
    Keep,
    /// They are undone; those of other jobs are not.
    Undo,
}

/// One closure of a caller.
pub(super) trait Job: Send {
    /// Whether it ran: it can only run once.
    fn has_run(&self) -> bool;
    /// Runs the closure and keeps what it returned.
    fn run(&mut self, tx: &mut dyn Tx) -> Verdict;
    /// Answers the caller. `end` is how the transaction ended; an error of it takes the place of a success.
    fn answer(self: Box<Self>, end: Outcome<()>);
}

/// The one place that changes the database.
pub(super) trait Writer: Send {
    /// Runs jobs in one transaction, each of which can be undone alone; durable when it returns.
    ///
    /// # Errors
    /// Nothing of the jobs that ran is stored. Those that did not run may be given to a new transaction.
    fn write(&mut self, jobs: &mut [Box<dyn Job>]) -> Outcome<()>;

    /// Does what commits leave to do for later, if it is time for it; none if it is not. Called when callers were answered;
    /// so many changes wait meanwhile.
    ///
    /// # Errors
    /// It is to be done again. Nothing that was answered is in danger.
    fn shorten_log(&mut self, waiting: usize) -> Option<Outcome<()>>;

    /// Writes something and makes it durable, to see whether that works again.
    ///
    /// # Errors
    /// Why it does not.
    fn probe(&mut self) -> Outcome<()>;

    /// Gives back the memory that only serves to be faster: nothing was asked for a while.
    fn rest(&mut self);
}

/// One of several that read beside the writer.
pub(super) trait Reader: Send {
    /// Runs a job over one state of the database, for `time_max` at most; what takes longer fails as a statement of the job.
    ///
    /// # Errors
    /// The database could not be read.
    fn read(&mut self, job: &mut dyn Job, time_max: Option<Duration>) -> Outcome<()>;

    /// Writes one state of the database into a new file.
    ///
    /// # Errors
    /// The file is there already, or reading or writing failed; then the file is removed again.
    fn backup(&mut self, to: &Path) -> Outcome<()>;

    /// Checks what the check at the start had no time for.
    ///
    /// # Errors
    /// What is damaged.
    fn check(&mut self) -> Outcome<()>;

    /// As [`Writer::rest`].
    fn rest(&mut self);
}

/// An open database.
pub(super) struct Engine {
    pub(super) writer: Box<dyn Writer>,
    pub(super) readers: Vec<Box<dyn Reader>>,
}

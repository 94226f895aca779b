//! A connection that reads beside the one that writes.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

use super::{
    backup::backup,
    fault::store_error,
    open::{StoreFile, rest},
    schema,
    tx::SqliteTx,
};
use crate::{
    base::{Instant, now},
    store::{
        engine::{Job, Reader},
        tx::Outcome,
    },
};

/// Set by the thread that reads, looked at by SQLite on the same one.
type Deadline = Arc<Mutex<Option<Instant>>>;

/// Steps of a statement between two looks at the clock.
const STEPS: i32 = 20_000;

pub(super) struct SqliteReader {
    /// When the job that runs must be done.
    deadline: Deadline,
    /// None after a failure. Before `file`, so that it is closed before the lock goes.
    connection: Option<Connection>,
    file: Arc<StoreFile>,
    checked: bool,
}

impl SqliteReader {
    pub(super) fn new(file: Arc<StoreFile>, checked: bool) -> Outcome<Self> {
        let mut reader = Self { deadline: Deadline::default(), connection: None, file, checked };
        reader.connection = Some(reader.connect()?);
        Ok(reader)
    }

    fn connect(&self) -> Outcome<Connection> {
        let mut connection = self.file.connect_read_only()?;
        let deadline = Arc::clone(&self.deadline);
        let is_late = move || lock(&deadline).is_some_and(|deadline| now() >= deadline);
        connection.progress_handler(STEPS, Some(is_late)).map_err(store_error)?;
        Ok(connection)
    }

    /// Runs `work` over one state of the file. A connection that failed is not used again.
    fn with_snapshot(&mut self, work: impl FnOnce(&Connection) -> Outcome<()>) -> Outcome<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        connection.execute_batch("BEGIN").map_err(store_error)?;
        work(&connection)?;
        connection.execute_batch("ROLLBACK").map_err(store_error)?;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Reader for SqliteReader {
    fn read(&mut self, job: &mut dyn Job, time_max: Option<Duration>) -> Outcome<()> {
        let deadline = Arc::clone(&self.deadline);
        let set = |to: Option<Instant>| *lock(&deadline) = to;
        self.with_snapshot(|connection| {
            let mut tx = SqliteTx::new(connection);
            set(time_max.map(|time_max| now() + time_max));
            job.run(&mut tx);
            set(None);
            tx.take_fault().map_or(Ok(()), Err)
        })
    }

    fn backup(&mut self, to: &Path) -> Outcome<()> {
        self.with_snapshot(|connection| backup(connection, to))
    }

    fn check(&mut self) -> Outcome<()> {
        if self.checked {
            return Ok(());
        }
        self.with_snapshot(schema::quick_check)?;
        self.checked = true;
        Ok(())
    }

    fn rest(&mut self) {
        self.connection.iter().for_each(rest);
    }
}

fn lock(deadline: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    deadline.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The connection that changes the file.
//!
//! After any failure of the database the connection is closed and a new one reads the file again: what a failed write or
//! sync left in memory is not to be trusted, and a sync is never tried again on its own.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    fault::store_error,
    open::{StoreFile, rest},
    tx::SqliteTx,
};
use crate::store::{
    engine::{Job, Verdict, Writer},
    error::StoreError,
    tx::Outcome,
};

pub(super) struct SqliteWriter {
    /// None after a failure. Before `file`, so that it is closed before the lock goes.
    connection: Option<Connection>,
    file: Arc<StoreFile>,
}

impl SqliteWriter {
    pub(super) fn new(file: Arc<StoreFile>, connection: Connection) -> Self {
        Self { connection: Some(connection), file }
    }

    /// Runs `work` on the connection, which is opened before and closed after a failure as needed.
    fn with_connection(&mut self, work: impl FnOnce(&Connection) -> Outcome<()>) -> Outcome<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.file.connect()?;
                settle(&connection)?;
                connection
            }
        };
        // Also before a connection that was open all the time is used: the file may have gone from under it.
        self.file.check_place()?;
        work(&connection)?;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Writer for SqliteWriter {
    fn write(&mut self, jobs: &mut [Box<dyn Job>]) -> Outcome<()> {
        self.with_connection(|connection| {
            run(connection, "BEGIN IMMEDIATE")?;
            for job in jobs {
                run_job(connection, job.as_mut())?;
            }
            run(connection, "COMMIT")
        })
    }

    fn probe(&mut self) -> Outcome<()> {
        self.with_connection(|connection| {
            // A page that really changes: SQLite writes nothing when nothing does.
            let sql = "INSERT INTO notes (name, value) VALUES ('write_probe', randomblob(8)) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            run(connection, sql)
        })
    }

    fn rest(&mut self) {
        self.connection.iter().for_each(rest);
    }
}

/// Writes all that the log holds into the file, syncs it and begins an empty log.
///
/// After a failed sync the system may hold pages of the log that are not on the disk and that it will never write: a later sync
/// succeeds without them, and what is behind them would be lost with the power. So nothing is added to such a log; what was
/// read from it is written anew, elsewhere.
///
/// # Errors
/// The disk fails still, or a long read holds the log.
pub(super) fn settle(connection: &Connection) -> Outcome<()> {
    let is_held: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(store_error)?;
    if is_held {
        let text = "the log cannot be begun anew while something reads it; repeat the request in a moment";
        return Err(StoreError::Unavailable(text.to_owned()));
    }
    Ok(())
}

/// Runs one job so that it can be undone alone.
fn run_job(connection: &Connection, job: &mut dyn Job) -> Outcome<()> {
    run(connection, "SAVEPOINT job")?;
    let mut tx = SqliteTx::new(connection);
    let verdict = job.run(&mut tx);
    if let Some(fault) = tx.take_fault() {
        return Err(fault);
    }
    // Some errors end the whole transaction. Then what ran before has gone too.
    if connection.is_autocommit() {
        return Err(StoreError::Unavailable("the database ended the transaction".to_owned()));
    }
    if verdict == Verdict::Undo {
        run(connection, "ROLLBACK TO job")?;
    }
    run(connection, "RELEASE job")
}

fn run(connection: &Connection, sql: &str) -> Outcome<()> {
    let run = || connection.prepare_cached(sql)?.execute([]);
    run().map(drop).map_err(store_error)
}

//! The connection that changes the file.
//!
//! After any failure of the database the connection is closed and a new one reads the file again: what a failed write or
//! sync left in memory is not to be trusted, and a sync is never tried again on its own.
//!
//! The log is written back into the file when callers have been answered, not by the commit that made it long: that takes
//! three syncs more, and on a disk that stalls each may take as long as the commit itself.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::Connection;

use super::{
    fault::store_error,
    open::{StoreFile, rest},
    tx::SqliteTx,
};
use crate::{
    base::now,
    metrics::StoreBlock,
    store::{
        engine::{Job, Verdict, Writer},
        error::StoreError,
        tx::Outcome,
    },
};

/// Pages of the log from which on it is written back as soon as nobody waits: 4 MiB.
const LOG_PAGES_MIN: u64 = 1_000;
/// Pages of the log from which on it is written back although somebody waits: 16 MiB.
const LOG_PAGES_MAX: u64 = 4_000;

pub(super) struct SqliteWriter {
    /// None after a failure. Before `file`, so that it is closed before the lock goes.
    connection: Option<Connection>,
    file: Arc<StoreFile>,
    /// How long the log was after the last commit; 0 when it was written back since.
    log_pages: Arc<AtomicU64>,
    block: Arc<StoreBlock>,
}

impl SqliteWriter {
    /// # Errors
    /// The connection refuses to tell how long its log is.
    pub(super) fn new(file: Arc<StoreFile>, connection: Connection, block: Arc<StoreBlock>) -> Outcome<Self> {
        let mut writer = Self { connection: None, file, log_pages: Arc::default(), block };
        writer.connection = Some(writer.watched(connection)?);
        Ok(writer)
    }

    /// Takes note of the length of the log at each commit, in place of SQLite's own checkpoint there.
    fn watched(&self, mut connection: Connection) -> Outcome<Connection> {
        let log_pages = Arc::clone(&self.log_pages);
        let note = move |_: &mut rusqlite::hooks::Wal, pages| {
            log_pages.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(note)).map_err(store_error)?;
        Ok(connection)
    }

    /// Runs `work` on the connection, which is opened before and closed after a failure as needed.
    fn with_connection(&mut self, work: impl FnOnce(&Connection) -> Outcome<()>) -> Outcome<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.watched(self.file.connect()?)?;
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
        let block = Arc::clone(&self.block);
        self.with_connection(|connection| {
            run(connection, "BEGIN IMMEDIATE")?;
            for job in jobs {
                run_job(connection, job.as_mut())?;
            }
            let begun = now();
            let end = run(connection, "COMMIT");
            block.committed(begun.elapsed());
            end
        })
    }

    fn shorten_log(&mut self, waiting: usize) -> Option<Outcome<()>> {
        let pages_min = if waiting == 0 { LOG_PAGES_MIN } else { LOG_PAGES_MAX };
        let connection = self.connection.as_ref().filter(|_| self.log_pages.load(Ordering::Relaxed) >= pages_min)?;
        let end = write_back(connection);
        // Until the next commit says how long it is then.
        self.log_pages.store(0, Ordering::Relaxed);
        Some(end)
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

/// Writes what the log holds into the file; changes that come then begin the log anew, if no reader needs it.
///
/// # Errors
/// The disk fails. The log holds everything still, and whatever of it was written will be written again.
fn write_back(connection: &Connection) -> Outcome<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(store_error)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::{engine::Engine, sqlite::open::open, tx::Tx};

    /// Writes a note of so many bytes, which are not those of before: SQLite leaves pages alone that stay the same.
    struct Note {
        bytes: Vec<u8>,
        ran: bool,
    }

    impl Job for Note {
        fn has_run(&self) -> bool {
            self.ran
        }

        fn run(&mut self, tx: &mut dyn Tx) -> Verdict {
            self.ran = true;
            if tx.put_note("n", Some(&self.bytes)).is_ok() { Verdict::Keep } else { Verdict::Undo }
        }

        fn answer(self: Box<Self>, _: Outcome<()>) {}
    }

    fn write(writer: &mut dyn Writer, pages: u64) {
        let bytes = vec![fastrand::u8(..); usize::try_from(pages * 4_096).unwrap()];
        writer.write(&mut [Box::new(Note { bytes, ran: false })]).unwrap();
    }

    #[test]
    fn log_is_written_back_behind_the_commit_and_at_once_when_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("millrace.db");
        let Engine { mut writer, readers: _readers } = open(&path, Arc::default()).unwrap();
        let size = || fs::metadata(&path).unwrap().len();
        let empty = size();
        write(writer.as_mut(), LOG_PAGES_MIN / 2);
        assert_eq!(writer.shorten_log(0), None, "a short log stays");
        write(writer.as_mut(), LOG_PAGES_MIN);
        assert_eq!(size(), empty, "no commit waits for it");
        assert_eq!(writer.shorten_log(1), None, "somebody waits");
        assert_eq!(writer.shorten_log(0), Some(Ok(())));
        assert!(size() > empty + LOG_PAGES_MIN * 4_096);
        assert_eq!(writer.shorten_log(0), None, "it is done");
    }

    #[test]
    fn log_has_a_bound_although_somebody_always_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("millrace.db");
        let Engine { mut writer, readers: _readers } = open(&path, Arc::default()).unwrap();
        let mut most = 0;
        for _ in 0..40 {
            write(writer.as_mut(), 500);
            most = most.max(fs::metadata(path.with_extension("db-wal")).unwrap().len());
            let _ = writer.shorten_log(1);
        }
        assert!((LOG_PAGES_MAX * 4_096..(LOG_PAGES_MAX + 600) * 4_120).contains(&most), "{most} bytes");
    }
}

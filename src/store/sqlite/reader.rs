//! A connection that reads beside the one that writes.

use std::{path::Path, sync::Arc};

use rusqlite::Connection;

use super::{backup::backup, fault::store_error, open::StoreFile, schema, tx::SqliteTx};
use crate::store::{
    engine::{Job, Reader},
    tx::Outcome,
};

pub(super) struct SqliteReader {
    /// None after a failure. Before `file`, so that it is closed before the lock goes.
    connection: Option<Connection>,
    file: Arc<StoreFile>,
    checked: bool,
}

impl SqliteReader {
    pub(super) fn new(file: Arc<StoreFile>, checked: bool) -> Outcome<Self> {
        let connection = file.connect_read_only()?;
        Ok(Self { connection: Some(connection), file, checked })
    }

    /// Runs `work` over one state of the file. A connection that failed is not used again.
    fn with_snapshot(&mut self, work: impl FnOnce(&Connection) -> Outcome<()>) -> Outcome<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.file.connect_read_only()?,
        };
        connection.execute_batch("BEGIN").map_err(store_error)?;
        work(&connection)?;
        connection.execute_batch("ROLLBACK").map_err(store_error)?;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Reader for SqliteReader {
    fn read(&mut self, job: &mut dyn Job) -> Outcome<()> {
        self.with_snapshot(|connection| {
            let mut tx = SqliteTx::new(connection);
            job.run(&mut tx);
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
}

//! Copies one state of the file while the work goes on.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rusqlite::{Connection, backup::Backup};

use super::fault::store_error;
use crate::store::{error::StoreError, tx::Outcome};

/// Copies what `source`, which is in a transaction, sees into a new file, and makes the copy durable.
///
/// # Errors
/// The file exists, or the copy failed; then nothing is left of it.
pub(super) fn backup(source: &Connection, to: &Path) -> Outcome<()> {
    // SQLite would write into an existing file, and would make a new one readable by others.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(|error| refused(to, &error))?;
    let copied = copy(source, to).and_then(|()| sync(to));
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    copied
}

fn copy(source: &Connection, to: &Path) -> Outcome<()> {
    let copy = || {
        // The transaction is only on the file from its first read on. With it the copy never has to start again.
        source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let mut target = Connection::open(to)?;
        target.execute_batch("PRAGMA cache_size = -1024")?;
        // All pages in one step; the source is never locked against the writer.
        Backup::new(source, &mut target)?.step(-1)?;
        // Without a log the copy is one file, and opening it changes nothing.
        target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        target.close().map_err(|(_, error)| error)
    };
    copy().map_err(store_error)
}

fn sync(to: &Path) -> Outcome<()> {
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let sync = |path: &Path| File::open(path)?.sync_all();
    sync(to).and_then(|()| sync(folder)).map_err(|error| refused(to, &error))
}

fn refused(to: &Path, error: &io::Error) -> StoreError {
    let text = match error.kind() {
        ErrorKind::AlreadyExists => "exists already; name a new file".to_owned(),
        _ => error.to_string(),
    };
    StoreError::Backup(format!("{}: {text}", to.display()))
}

//! The file of the store: made, locked, opened and checked.
//!
//! One process owns the file. A lock file beside it says so, because SQLite's own locks would let a second gateway in, and
//! two would publish different states. The lock goes with the process, however it ends.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    backup::backup,
    fault::store_error,
    reader::SqliteReader,
    schema,
    writer::{SqliteWriter, settle},
};
use crate::{
    metrics::StoreBlock,
    store::{
        engine::{Engine, Reader},
        error::StoreError,
        tx::Outcome,
    },
};

/// Files up to this size are checked before they are used, which takes about 0.1 s; larger ones beside the work.
const CHECKED_AT_ONCE_BYTES_MAX: u64 = 32 << 20;
/// Connections that read.
const READERS: usize = 2;
/// How long another program, such as `sqlite3`, may hold a lock.
const BUSY_MAX: Duration = Duration::from_secs(2);
/// Statements that each connection keeps compiled.
const STATEMENTS_MAX: usize = 64;

/// What every connection is set to. A small cache, because configuration is read once and then served from memory.
const SETTINGS: &str = "
    PRAGMA foreign_keys = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA secure_delete = ON;
    PRAGMA synchronous = FULL;
    PRAGMA temp_store = MEMORY;
    PRAGMA mmap_size = 0;
    PRAGMA cache_size = -1024;
    PRAGMA journal_size_limit = 8388608;
";

/// The file, owned by this process as long as one of its connections is open.
pub(super) struct StoreFile {
    path: PathBuf,
    /// Device and number of the file: what stands at `path` may become another one.
    identity: (u64, u64),
    _lock: File,
}

/// Opens the file with one connection that writes and some that read.
pub(in crate::store) fn open(path: &Path, block: Arc<StoreBlock>) -> Outcome<Engine> {
    let file = Arc::new(StoreFile::prepare(path)?);
    let mut connection = file.connect()?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(store_error)?;
    if mode != "wal" {
        return Err(StoreError::Unavailable(format!("the file system of {} allows no shared memory", path.display())));
    }
    // A step whose sync failed must not be synced again by the close: the system may have dropped what was not written.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(store_error)?;
    schema::migrate(&mut connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(store_error)?;
    // A process that was killed may have left a log whose sync had failed. Where this fails, the disk is full or read-only: the
    // store can be read all the same, and a change that fails settles the log before the next one.
    let _ = settle(&connection);
    let check_now = fs::metadata(path).map_err(|error| at(path, &error))?.len() <= CHECKED_AT_ONCE_BYTES_MAX;
    if check_now {
        schema::quick_check(&connection)?;
    }
    // The pages that the check has read: what the readers take next has room there.
    rest(&connection);
    let writer = Box::new(SqliteWriter::new(Arc::clone(&file), connection, block)?);
    let mut readers: Vec<Box<dyn Reader>> = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        readers.push(Box::new(SqliteReader::new(Arc::clone(&file), check_now)?));
    }
    Ok(Engine { writer, readers })
}

/// Frees the pages and the compiled statements that a connection keeps for the next use.
pub(super) fn rest(connection: &Connection) {
    connection.flush_prepared_statement_cache();
    // It only frees. If it cannot, nothing is lost but the memory.
    let _ = connection.execute_batch("PRAGMA shrink_memory");
}

/// Copies what is in a file, which another process may own, to a new one.
///
/// Only reads: SQLite's own locks let a reader in beside the owner, so ours is not asked for.
pub(in crate::store) fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::metadata(from).map_err(|error| at(from, &error))?;
    let source = read_only(from)?;
    source.execute_batch("BEGIN").map_err(store_error)?;
    schema::quick_check(&source)?;
    backup(&source, to)
}

impl StoreFile {
    /// Makes folder and file if they are missing, for the owner only, and takes the lock.
    fn prepare(path: &Path) -> Outcome<Self> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| at(folder, &error))?;
        let lock = take_lock(path)?;
        let file = private().open(path).map_err(|error| at(path, &error))?;
        let found = file.metadata().map_err(|error| at(path, &error))?;
        if found.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(|error| at(path, &error))?;
        }
        // SQLite syncs what is in the file, not that there is one.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at(folder, &error))?;
        Ok(Self { path: path.to_owned(), identity: (found.dev(), found.ino()), _lock: lock })
    }

    /// Opens a connection that may change the file.
    pub(super) fn connect(&self) -> Outcome<Connection> {
        self.check_place()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = set_up(&self.path, flags).map_err(store_error)?;
        schema::check_version(&connection)?;
        Ok(connection)
    }

    /// Opens a connection that only reads.
    pub(super) fn connect_read_only(&self) -> Outcome<Connection> {
        self.check_place()?;
        read_only(&self.path)
    }

    /// Refuses to go on when the file was removed or replaced: SQLite would write into the old one, which nobody will open
    /// again. Opening another one would play the log of the old one into it.
    pub(super) fn check_place(&self) -> Outcome<()> {
        let found = fs::metadata(&self.path).map_err(|error| at(&self.path, &error))?;
        if (found.dev(), found.ino()) == self.identity {
            return Ok(());
        }
        let text = format!("another file stands at {}; put the old one back, or restart", self.path.display());
        Err(StoreError::Unavailable(text))
    }
}

fn read_only(path: &Path) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = set_up(path, flags).map_err(store_error)?;
    schema::check_version(&connection)?;
    Ok(connection)
}

fn set_up(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

/// Opens or makes a file for the owner only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

fn take_lock(path: &Path) -> Outcome<File> {
    let mut lock_path = path.to_owned().into_os_string();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let mut lock = private().open(&lock_path).map_err(|error| at(&lock_path, &error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = lock.take(20).read_to_string(&mut owner);
            return Err(StoreError::Unavailable(format!(
                "{} is in use by process {}; stop that one, or give each process its own `data_dir`",
                path.display(),
                owner.trim()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(at(&lock_path, &error)),
    }
    // For the message above. A full disk must not keep the store from being read.
    let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", process::id()));
    Ok(lock)
}

fn at(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

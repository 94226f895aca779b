//! What can go wrong between the control plane and its store.

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another change came first: the revision is not the stored one any more, or the row has gone.
    #[error("another change came first; read the object again and repeat the change")]
    Stale,
    /// A value that must be unique is there already; the name of the column or pair.
    #[error("`{0}` is taken")]
    Taken(&'static str),
    /// The store cannot be read or written now: disk full, read only, gone. It is tried again with the next request.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The file is damaged, or a row in it cannot be read.
    #[error("the store is damaged: {0}; restore a backup")]
    Corrupt(String),
    /// The file was written by a newer version.
    #[error(
        "the store has schema {found}, this version knows up to {known}; run the newer version, or restore a backup from before the upgrade"
    )]
    TooNew {
        /// Schema of the file.
        found: u32,
        /// Newest schema this version knows.
        known: u32,
    },
    /// The file of a backup cannot be made or written.
    #[error("the backup cannot be written: {0}")]
    Backup(String),
    /// A question took longer than it may.
    #[error("the question takes too long; ask for a shorter time, or for less at once")]
    TooLong,
    /// Our own fault: a row that the schema refuses, or a panic.
    #[error("the store cannot do this: {0}")]
    Internal(String),
}

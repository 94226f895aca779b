//! From SQLite's errors to those of the store.

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::error::StoreError;

/// Unique columns as SQLite names them, and what callers know them as.
const UNIQUE: &[(&str, &str)] = &[
    ("projects.organization, projects.name_folded", "name"),
    ("projects.organization, projects.slug", "slug"),
    ("users.email", "email"),
    ("members.organization, members.user", "member"),
    ("invitations.token_digest", "digest"),
    ("admin_tokens.digest", "digest"),
    ("sessions.digest", "digest"),
    ("versions.project, versions.number", "version"),
    ("versions.project, versions.state", "served_version"),
    ("versions.project", "open_version"),
    ("activations.project, activations.generation", "generation"),
    ("keys.public_id", "public_id"),
    ("keys.digest", "digest"),
    ("keys.old_digest", "digest"),
    ("secrets.organization, secrets.name", "name"),
    ("secrets.project, secrets.name", "name"),
    ("ledger.account, ledger.period, ledger.operation, ledger.kind", "operation"),
];

/// What an error means for a caller.
pub(super) fn store_error(error: Error) -> StoreError {
    match error {
        Error::SqliteFailure(failure, text) => failure_error(failure, text),
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => StoreError::Corrupt(error.to_string()),
        other => StoreError::Internal(other.to_string()),
    }
}

/// Whether the database itself failed, so that the transaction cannot go on. A refused or unreadable row is no such error.
pub(super) fn is_fault(error: &Error) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) | None => false,
        Some(code) => !matches!(
            code,
            ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::TooBig | ErrorCode::OperationInterrupted
        ),
    }
}

fn failure_error(failure: ffi::Error, text: Option<String>) -> StoreError {
    let text = text.unwrap_or_else(|| failure.to_string());
    match failure.code {
        ErrorCode::ConstraintViolation => refused_row(failure.extended_code, text),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(text),
        ErrorCode::DiskFull => StoreError::Unavailable(format!("the disk is full ({text})")),
        ErrorCode::ReadOnly => StoreError::Unavailable(format!("the file or its file system is read-only ({text})")),
        ErrorCode::SystemIoFailure => {
            StoreError::Unavailable(format!("the disk fails ({text}, SQLite error {})", failure.extended_code))
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            StoreError::Unavailable(format!("the file cannot be opened ({text})"))
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            StoreError::Unavailable(format!("another program holds a lock on the file ({text})"))
        }
        ErrorCode::OperationInterrupted => StoreError::TooLong,
        ErrorCode::OutOfMemory => StoreError::Unavailable("there is no memory left".to_owned()),
        _ => StoreError::Internal(text),
    }
}

fn refused_row(extended_code: i32, text: String) -> StoreError {
    match extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            let columns = text.strip_prefix("UNIQUE constraint failed: ").unwrap_or_default();
            let known = UNIQUE.iter().find(|(unique, _)| *unique == columns);
            StoreError::Taken(known.map_or("id", |(_, name)| *name))
        }
        // What the row belongs to has gone.
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => StoreError::Stale,
        _ => StoreError::Internal(text),
    }
}

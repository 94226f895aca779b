//! Which schema a file has, and how an older one becomes this one.
//!
//! A migration never changes once it was released: it is what files in the world have run.

use rusqlite::Connection;

use super::fault::store_error;
use crate::store::{error::StoreError, tx::Outcome};

/// Marks a file as ours: `Mlrc`.
const APPLICATION_ID: u32 = 0x4d6c_7263;

/// Step `n` leads to schema `n + 1`.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql")];

/// Refuses a file of another program or of a newer version.
pub(super) fn check_version(connection: &Connection) -> Outcome<u32> {
    check_version_up_to(connection, newest(MIGRATIONS))
}

/// Brings a file up to date, each step in a transaction of its own: a step that is cut off has never begun.
pub(super) fn migrate(connection: &mut Connection) -> Outcome<()> {
    migrate_by(connection, MIGRATIONS)
}

/// Checks the structure of the whole file; indexes are not compared with their tables.
pub(super) fn quick_check(connection: &Connection) -> Outcome<()> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(store_error)?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt(found)) }
}

fn newest(migrations: &[&str]) -> u32 {
    u32::try_from(migrations.len()).unwrap_or(u32::MAX)
}

fn check_version_up_to(connection: &Connection, known: u32) -> Outcome<u32> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).map_err(store_error);
    let (application, found) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    let is_new = application == 0 && found == 0 && objects == 0;
    if application != APPLICATION_ID && !is_new {
        return Err(StoreError::Corrupt("it is a database of another program".to_owned()));
    }
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    Ok(found)
}

fn migrate_by(connection: &mut Connection, migrations: &[&str]) -> Outcome<()> {
    let found = check_version_up_to(connection, newest(migrations))?;
    for (step, migration) in (1u32..).zip(migrations).filter(|(step, _)| *step > found) {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", step)?;
            transaction.commit()
        };
        run(connection).map_err(store_error)?;
    }
    Ok(())
}

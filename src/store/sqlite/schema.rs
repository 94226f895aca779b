//! Which schema a file has, and how an older one is updated.
//!
//! A migration never changes once it was released: it is what files in the world have run.

use rusqlite::Connection;

use super::fault::store_error;
use crate::store::{error::StoreError, tx::Outcome};

/// Marks a file as ours: `Mlrc`.
const APPLICATION_ID: u32 = 0x4d6c_7263;

/// Step `n` leads to schema `n + 1`.
const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_operators.sql"),
    include_str!("schema_ledger.sql"),
    include_str!("schema_rules.sql"),
    include_str!("schema_limits.sql"),
    include_str!("schema_credits.sql"),
    include_str!("schema_alerts.sql"),
    include_str!("schema_prices.sql"),
    include_str!("schema_attempts.sql"),
    include_str!("schema_payloads.sql"),
    include_str!("schema_moving.sql"),
    include_str!("schema_decisions.sql"),
    include_str!("schema_searches.sql"),
    include_str!("schema_audio.sql"),
    include_str!("schema_cuts.sql"),
    include_str!("schema_phases.sql"),
    include_str!("schema_reprices.sql"),
];

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

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[&str] =
        &["CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1)", "ALTER TABLE a ADD COLUMN y INTEGER"];

    fn state(connection: &Connection) -> (u32, u32) {
        let number = |sql| connection.query_row(sql, [], |row| row.get(0)).unwrap_or_default();
        (number("PRAGMA user_version"), number("SELECT count(*) FROM a"))
    }

    #[test]
    fn each_step_runs_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        for (steps, want) in [(&STEPS[..1], (1, 1)), (&STEPS[..1], (1, 1)), (STEPS, (2, 1)), (STEPS, (2, 1))] {
            let mut connection = Connection::open(&path).unwrap();
            migrate_by(&mut connection, steps).unwrap();
            assert_eq!(state(&connection), want);
        }
        let mut older = Connection::open(&path).unwrap();
        assert_eq!(migrate_by(&mut older, &STEPS[..1]), Err(StoreError::TooNew { found: 2, known: 1 }));
    }

    /// What was folded by an older version stays whole, and is known to be.
    #[test]
    fn hours_are_cut_from_the_first_one_on_that_nothing_was_folded_into() {
        let cut_step = MIGRATIONS.iter().position(|step| step.contains("TABLE hour_cuts")).unwrap();
        for (folded, since) in [(None, 0), (Some(7_200), 10_800)] {
            let mut connection = Connection::open_in_memory().unwrap();
            migrate_by(&mut connection, &MIGRATIONS[..cut_step]).unwrap();
            if let Some(bucket) = folded {
                let names = "SELECT group_concat(name) FROM pragma_table_info('rollups_hour') WHERE \"notnull\"";
                let names: String = connection.query_row(names, [], |row| row.get(0)).unwrap();
                let values = names.split(',').map(|name| match name {
                    "project" => "'prj'".to_owned(),
                    "bucket" => bucket.to_string(),
                    "duration" | "ttft" | "overhead" => "x''".to_owned(),
                    _ => "0".to_owned(),
                });
                let values = values.collect::<Vec<_>>().join(",");
                connection.execute(&format!("INSERT INTO rollups_hour ({names}) VALUES ({values})"), []).unwrap();
            }
            migrate(&mut connection).unwrap();
            let mut cuts = connection.prepare("SELECT minute, since FROM hour_cuts ORDER BY minute").unwrap();
            let found = cuts.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let found: Vec<(u64, u64)> = found.map(Result::unwrap).collect();
            assert_eq!(found, crate::store::HOUR_CUTS.map(|minute| (minute, since)), "{folded:?}");
        }
    }

    #[test]
    fn step_that_fails_half_way_leaves_the_schema_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_by(&mut connection, &STEPS[..1]).unwrap();
        let broken = [STEPS[0], "INSERT INTO a VALUES (2); CREATE TABLE b (x); CREATE TABLE b (x)"];
        assert!(migrate_by(&mut connection, &broken).is_err());
        assert_eq!(state(&connection), (1, 1));
        migrate_by(&mut connection, STEPS).unwrap();
        assert_eq!(state(&connection), (2, 1));
    }
}

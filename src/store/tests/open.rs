//! Opening: modes, the lock, foreign and newer files, backups.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rusqlite::Connection;

use super::fixture::{Fixture, block_on, event, id, organization};
use crate::store::{Chain, Store, StoreError, verify_chain};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn why(opened: Result<Store, StoreError>) -> String {
    opened.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn files_are_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/here/millrace.db");
    let store = Store::open(&path).unwrap();
    block_on(store.write::<_, StoreError>(|tx| tx.put_note("n", Some(b"x")))).unwrap();
    for (name, want) in [
        ("made", 0o700),
        ("made/here", 0o700),
        ("made/here/millrace.db", 0o600),
        ("made/here/millrace.db-wal", 0o600),
        ("made/here/millrace.db-shm", 0o600),
        ("made/here/millrace.db.lock", 0o600),
    ] {
        assert_eq!(mode(&folder.path().join(name)), want, "{name}");
    }
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let _store = Store::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600, "a mode that was opened up is closed again");
}

#[test]
fn second_owner_is_refused_and_told_who_has_it() {
    let fixture = Fixture::new();
    let refused = why(Store::open(&fixture.path()));
    assert!(refused.contains(&format!("is in use by process {}", std::process::id())), "{refused}");
    let path = fixture.path();
    let Fixture { store, folder } = fixture;
    drop(store);
    Store::open(&path).unwrap();
    drop(folder);
}

#[test]
fn state_is_there_after_reopening() {
    let fixture = Fixture::with_organization();
    let (path, Fixture { store, folder }) = (fixture.path(), fixture);
    drop(store);
    let store = Store::open(&path).unwrap();
    let found = block_on(store.read::<_, StoreError>(|tx| tx.organization(&id("org_a"))));
    assert_eq!(found, Ok(Some(organization("org_a"))));
    drop(folder);
}

#[test]
fn file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("millrace.db");
    fs::write(&path, "not a database, but longer than the header of one".repeat(100)).unwrap();
    let before = fs::read(&path).unwrap();
    let refused = why(Store::open(&path));
    assert!(refused.starts_with("the store is damaged") && refused.contains("not a database"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);

    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    let refused = why(Store::open(&other));
    assert!(refused.contains("a database of another program"), "{refused}");
    let tables = Connection::open(&other).unwrap();
    let count: u32 = tables.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn newer_schema_is_refused_by_its_number() {
    let fixture = Fixture::new();
    let (path, Fixture { store, folder }) = (fixture.path(), fixture);
    drop(store);
    let known: u32 = Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(Store::open(&path).err(), Some(StoreError::TooNew { found: 99, known }));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", known).unwrap();
    assert!(Store::open(&path).is_ok(), "the refusal changed nothing");
    drop(folder);
}

#[test]
fn folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let refused = why(Store::open(&folder.path().join("file/millrace.db")));
    assert!(refused.starts_with("the store is not available") && refused.contains("/file"), "{refused}");
}

#[test]
fn backup_of_a_store_at_work_opens_and_verifies() {
    let fixture = Fixture::with_organization();
    let backups = fixture.folder.path().join("backups");
    fs::create_dir(&backups).unwrap();
    let to = backups.join("copy.db");
    let store = fixture.store.clone();
    let writer = std::thread::spawn(move || {
        for _ in 0..60 {
            block_on(store.write::<_, StoreError>(|tx| tx.append_audit(&event("key.create")))).unwrap();
        }
    });
    block_on(fixture.store.backup(to.clone())).unwrap();
    writer.join().unwrap();
    assert_eq!(mode(&to), 0o600);
    assert_eq!(fs::read_dir(&backups).unwrap().count(), 1, "a backup is one file");
    let copy = Store::open(&to).unwrap();
    let chain = block_on(copy.read(verify_chain)).unwrap();
    assert!(matches!(chain, Chain::Whole { entries: 0..=60, .. }), "{chain:?}");
    let found = block_on(copy.read::<_, StoreError>(|tx| tx.organization(&id("org_a"))));
    assert_eq!(found, Ok(Some(organization("org_a"))));
}

#[test]
fn backup_overwrites_nothing_and_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let there = fixture.folder.path().join("there");
    fs::write(&there, "precious").unwrap();
    let refused = block_on(fixture.store.backup(there.clone())).unwrap_err().to_string();
    assert!(refused.contains("there: exists already"), "{refused}");
    assert_eq!(fs::read_to_string(&there).unwrap(), "precious");
    let nowhere = fixture.folder.path().join("no/such/folder");
    assert!(matches!(block_on(fixture.store.backup(nowhere)), Err(StoreError::Backup(_))));
    assert_eq!(fixture.store.health(), crate::store::Health::Ok);
}

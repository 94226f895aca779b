//! Damaged files: found or harmless, never silently wrong.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::fixture::{Fixture, at, block_on, event, id, version};
use crate::store::{Chain, Health, Store, StoreError, Tx, record::VersionState, verify_chain};

/// Copies the file and its log as a power loss would leave them.
fn image(fixture: &Fixture, name: &str) -> PathBuf {
    let folder = fixture.folder.path().join(name);
    fs::create_dir(&folder).unwrap();
    for file in ["millrace.db", "millrace.db-wal"] {
        let _ = fs::copy(fixture.folder.path().join(file), folder.join(file));
    }
    folder.join("millrace.db")
}

/// Number of changes that an image holds; each is a note with its number and an event.
fn changes(path: &Path) -> u64 {
    let store = Store::open(path).unwrap();
    let chain = block_on(store.read(verify_chain)).unwrap();
    let Chain::Whole { entries, .. } = chain else { panic!("{chain:?}") };
    let count = block_on(store.read::<_, StoreError>(|tx| tx.note("count"))).unwrap();
    assert_eq!(count.map_or(0, |bytes| u64::from(bytes[0])), entries, "a change is there as a whole or not at all");
    entries
}

fn with_changes(count: u8) -> Fixture {
    let fixture = Fixture::new();
    for number in 1..=count {
        fixture
            .write(move |tx| {
                tx.append_audit(&event("count"))?;
                tx.put_note("count", Some(&[number]))
            })
            .unwrap();
    }
    fixture
}

// F-43.
#[test]
fn log_cut_or_torn_anywhere_opens_to_a_prefix_of_the_changes() {
    let fixture = with_changes(12);
    let whole = image(&fixture, "whole");
    let log = fs::read(whole.with_extension("db-wal")).unwrap();
    assert_eq!(changes(&image(&fixture, "complete")), 12);
    let mut seen = Vec::new();
    // Frames are 4,120 bytes: the steps cut inside headers and pages alike.
    for (index, cut) in (0..log.len()).step_by(2_731).enumerate() {
        let path = image(&fixture, &format!("cut{index}"));
        fs::write(path.with_extension("db-wal"), &log[..cut]).unwrap();
        seen.push(changes(&path));
        let path = image(&fixture, &format!("torn{index}"));
        let mut torn = log.clone();
        torn[cut..].iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
        fs::write(path.with_extension("db-wal"), torn).unwrap();
        assert_eq!(changes(&path), *seen.last().unwrap(), "torn at {cut}");
    }
    assert!(seen.is_sorted() && seen.first() == Some(&0) && seen.last() >= Some(&11), "{seen:?}");
}

#[test]
fn truncated_file_is_refused() {
    let fixture = with_changes(9);
    let (path, Fixture { store, folder }) = (fixture.path(), fixture);
    drop(store);
    let bytes = fs::read(&path).unwrap();
    for pages in [1, 2, 7, bytes.len() / 4_096 - 1] {
        fs::write(&path, &bytes[..pages * 4_096]).unwrap();
        let refused = Store::open(&path).err();
        assert!(matches!(refused, Some(StoreError::Corrupt(_))), "{pages} pages: {refused:?}");
    }
    fs::write(&path, &bytes[..1_000]).unwrap();
    assert!(Store::open(&path).is_err());
    fs::write(&path, &bytes).unwrap();
    assert!(Store::open(&path).is_ok());
    drop(folder);
}

/// What must never be silently wrong: the text that is served, and the audit log.
fn checked(tx: &dyn Tx) -> Result<(Option<Vec<u8>>, Chain), StoreError> {
    Ok((tx.version_text(&id("prj_a"), 1)?, verify_chain(tx)?))
}

// F-44.
#[test]
fn flipped_bits_never_change_a_text_or_an_event_unseen() {
    let fixture = Fixture::with_project();
    let text = "routes: [1, 2, 3]\n".repeat(4_000);
    let row = crate::store::Version {
        digest: <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes()).into(),
        ..version(1, VersionState::Draft)
    };
    let bytes = text.clone();
    fixture.write(move |tx| tx.insert_version(&row, bytes.as_bytes())).unwrap();
    fixture.write(|tx| (0..300).try_for_each(|_| tx.append_audit(&event("x")).map(drop))).unwrap();
    let truth = fixture.read(|tx| checked(tx)).unwrap();
    let (path, Fixture { store, folder }) = (fixture.path(), fixture);
    drop(store);
    let whole = fs::read(&path).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..150 {
        let (place, bit) = (random.usize(..whole.len()), random.u8(..8));
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << bit;
        let path = folder.path().join(format!("flip{place}.{bit}/millrace.db"));
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes).unwrap();
        let read = Store::open(&path).and_then(|store| block_on(store.read(|tx| checked(tx))));
        match read {
            Err(_) | Ok((_, Chain::BrokenAt(_))) => found += 1,
            Ok(read) => {
                assert!(read == truth, "bit {bit} of byte {place}: {:?}", read.1);
                harmless += 1;
            }
        }
    }
    assert!(found > 20 && harmless > 20, "{found} found, {harmless} harmless");
    drop(folder);
}

#[test]
fn store_recovers_by_itself_when_its_file_comes_back() {
    let fixture = Fixture::with_project();
    let (path, away) = (fixture.path(), fixture.folder.path().join("away"));
    fs::rename(&path, &away).unwrap();
    let refused = fixture.write(|tx| tx.put_note("lost", Some(b"x")));
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(matches!(fixture.store.health(), Health::Failing { .. }));
    fs::copy(&away, &path).unwrap();
    let refused = fixture.write(|tx| tx.put_note("lost", Some(b"x"))).unwrap_err().to_string();
    assert!(refused.contains("another file stands at"), "{refused}");
    fs::rename(&away, &path).unwrap();
    fixture.write(|tx| tx.put_note("kept", Some(b"x"))).unwrap();
    assert_eq!(fixture.store.health(), Health::Ok);
    let notes = fixture.read(|tx| Ok((tx.note("lost")?, tx.note("kept")?)));
    assert_eq!(notes, Ok((None, Some(b"x".to_vec()))));
    assert_eq!(fixture.read(|tx| tx.project(&id("prj_a"))).unwrap().unwrap().updated_at, at(2_000));
}

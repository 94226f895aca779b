//! Bits that change in a store that rests: F-44.
//!
//! The store is one that the ledger wrote. With any bit of it changed, it is refused, or the books say that they are apart, or
//! every account has spent what it had spent: never less, and never something else without a word.
//! `MILLRACE_BIT_ROT_IMAGES` sets how many bits, 300 unless told.

use std::collections::BTreeMap;
use std::process::Command;
use std::{env, fs};

use millrace::store::Store;

use crate::ledger_crash::{self, books, run};

/// Around each name of an account, in bytes: its row, and a part of the next.
const ROW_BYTES: usize = 96;

#[derive(Debug, Default)]
struct Seen {
    refused: usize,
    apart: usize,
    harmless: usize,
    /// More counts as spent than was: somebody has leased it, as the file says.
    more: usize,
}

/// A store with spending of four keys, and what each has spent.
fn store_with_money() -> (Vec<u8>, BTreeMap<String, u64>) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "ledger_crash::child_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(ledger_crash::FOLDER, folder.path())
        .env(ledger_crash::LEASES_MAX, "60")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A start, which closes what the child left open, and an end.
    let truth = ledger_crash::posted(folder.path());
    assert!(truth.len() == 4 && truth.values().all(|spent| *spent >= 200), "{truth:?}");
    let path = folder.path().join("millrace.db");
    let log = fs::metadata(path.with_extension("db-wal")).map_or(0, |found| found.len());
    assert_eq!(log, 0, "a store that rests has no log");
    (fs::read(&path).unwrap(), truth)
}

/// Starts over a file with changed bytes.
fn start(bytes: &[u8]) -> Result<(u64, BTreeMap<String, u64>), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("millrace.db");
    fs::write(&path, bytes).unwrap();
    run(books(Store::open(&path).map_err(|error| error.to_string())?))
}

#[test]
fn f_44_no_bit_that_changes_makes_money_vanish_unseen() {
    let images: usize = env::var("MILLRACE_BIT_ROT_IMAGES").map_or(300, |text| text.parse().unwrap());
    let (whole, truth) = store_with_money();
    assert_eq!(start(&whole).unwrap(), (0, truth.clone()));
    let rows: Vec<usize> = memchr::memmem::find_iter(&whole, b"/usd/total").collect();
    assert!(rows.len() > 20, "the ledger and its accounts");
    let seed = fastrand::u64(..);
    println!("seed {seed}, {} bytes, {} rows", whole.len(), rows.len());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut seen = Seen::default();
    for _ in 0..images {
        let place = match random.u8(..4) {
            0 => random.usize(..whole.len()),
            _ => rows[random.usize(..rows.len())] + random.usize(..ROW_BYTES) - ROW_BYTES / 3,
        };
        let bit = random.u8(..8);
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << bit;
        match start(&bytes) {
            Err(_) => seen.refused += 1,
            Ok((1.., _)) => seen.apart += 1,
            Ok((0, spent)) if spent == truth => seen.harmless += 1,
            Ok((0, spent)) => {
                let less = truth.iter().any(|(account, was)| spent.get(account).is_none_or(|is| is < was));
                assert!(!less, "bit {bit} of byte {place}: {spent:?} is spent, it was {truth:?}");
                seen.more += 1;
            }
        }
    }
    println!("{images} bits: {seen:?}");
    assert!(
        seen.refused > 0 && seen.apart > 0 && seen.refused + seen.apart > images / 20,
        "{seen:?}: no bit met the money"
    );
}

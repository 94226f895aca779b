//! Recorded provider traffic, for unit tests.
//!
//! It is not part of the repository: `MILLRACE_CORPUS` names its folder, else `../shared/corpus` beside the crate is tried.
//! Without it the tests that need it say so and pass.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

/// The recordings of these files, one JSON object a line; none without the folder.
pub(crate) fn recorded_lines(names: &[&str]) -> Vec<String> {
    let folder = std::env::var_os("MILLRACE_CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus")), PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: no corpus in {}; set MILLRACE_CORPUS", folder.display());
        return Vec::new();
    }
    let lines_of = |name: &&str| {
        let file = File::open(folder.join(format!("{name}.ndjson.zst"))).unwrap();
        BufReader::new(zstd::Decoder::new(file).unwrap()).lines()
    };
    names.iter().flat_map(lines_of).map(Result::unwrap).collect()
}

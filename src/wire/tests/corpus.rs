//! Reads the corpus of recorded provider traffic.
//!
//! The corpus is not part of the repository: `MILLRACE_CORPUS` names its folder, else `../shared/corpus` beside the crate
//! is tried. Without it the tests that need it say so and pass.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::wire::Endpoint;

/// One recorded exchange; the fields that we need.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) provider: String,
    pub(super) dialect: String,
    pub(super) framing: String,
    pub(super) status: Option<u16>,
    pub(super) request: Option<Value>,
    pub(super) body: Option<String>,
}

impl Record {
    /// Gives the endpoint whose dialect the record speaks.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        match self.dialect.as_str() {
            "openai-chat" => Some(Endpoint::Chat),
            "openai-completions" => Some(Endpoint::Completions),
            "openai-embeddings" => Some(Endpoint::Embeddings),
            "openai-responses" => Some(Endpoint::Responses),
            _ => None,
        }
    }

    pub(super) fn case(&self) -> String {
        format!("record {} of {}", self.id, self.provider)
    }
}

/// Gives all records of the OpenAI dialects with their endpoint, or nothing if there is no corpus.
pub(super) fn records() -> Vec<(Endpoint, Record)> {
    let folder = std::env::var_os("MILLRACE_CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus")), PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: no corpus in {}; set MILLRACE_CORPUS", folder.display());
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in ["chat", "responses", "embeddings", "other", "fixtures"] {
        let file = File::open(folder.join(format!("{name}.ndjson.zst"))).unwrap();
        for line in BufReader::new(zstd::Decoder::new(file).unwrap()).lines() {
            let record: Record = serde_json::from_str(&line.unwrap()).unwrap();
            if let Some(endpoint) = record.endpoint() {
                found.push((endpoint, record));
            }
        }
    }
    assert!(found.len() > 2_000, "the corpus is incomplete");
    found
}

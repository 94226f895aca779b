//! Reads recorded provider traffic of the OpenAI dialects.

use serde::Deserialize;
use serde_json::Value;

use crate::{base::recorded_lines, wire::Endpoint};

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
    let lines = recorded_lines(&["chat", "responses", "embeddings", "other", "fixtures"]);
    if lines.is_empty() {
        return Vec::new();
    }
    let read = |line: &String| {
        let record: Record = serde_json::from_str(line).unwrap();
        record.endpoint().map(|endpoint| (endpoint, record))
    };
    let found: Vec<_> = lines.iter().filter_map(read).collect();
    assert!(found.len() > 2_000, "the corpus is incomplete");
    found
}

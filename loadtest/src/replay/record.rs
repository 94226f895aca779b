//! Reads recorded exchanges from packed NDJSON.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use crate::serve::Endpoint;

/// One exchange that can be served.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) dialect: String,
    pub(super) provider: String,
    /// Method and path as recorded.
    pub(super) path: String,
    pub(super) endpoint: Endpoint,
    pub(super) status: u16,
    pub(super) stream: bool,
    pub(super) model: Option<String>,
    pub(super) request: Option<Value>,
    /// Headers to send, without those of framing and connection.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// All records, in the order of their files.
pub(super) struct Shelf {
    records: Vec<Record>,
    places: HashMap<String, usize>,
}

impl Shelf {
    /// Reads all `*.ndjson.zst` of a directory and keeps the exchanges of the OpenAI dialects.
    pub(super) fn load(directory: &Path) -> anyhow::Result<Self> {
        let entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.to_string_lossy().ends_with(".ndjson.zst"));
        paths.sort();
        let mut records = Vec::new();
        for path in &paths {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            let reader = BufReader::new(zstd::Decoder::new(file)?);
            read_lines(reader, &mut records).with_context(|| format!("in {}", path.display()))?;
        }
        Ok(Self::of(records))
    }

    pub(super) fn of(records: Vec<Record>) -> Self {
        let places = records.iter().enumerate().map(|(place, record)| (record.id.clone(), place)).collect();
        Self { records, places }
    }

    pub(super) fn find(&self, id: &str) -> Option<&Record> {
        self.places.get(id).and_then(|place| self.records.get(*place))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Only what is read first, so that lines of other dialects are not parsed in full.
#[derive(Deserialize)]
struct Kind {
    origin: String,
    dialect: String,
}

#[derive(Deserialize)]
struct Raw {
    id: String,
    dialect: String,
    provider: String,
    endpoint: Option<String>,
    status: Option<u16>,
    stream: bool,
    model: Option<String>,
    request: Option<Value>,
    #[serde(default)]
    response_headers: Vec<(String, String)>,
    body: Option<String>,
}

fn read_lines(reader: impl BufRead, records: &mut Vec<Record>) -> anyhow::Result<()> {
    for (number, line) in reader.lines().enumerate() {
        let line = line?;
        let place = || format!("line {}", number + 1);
        let kind: Kind = serde_json::from_str(&line).with_context(place)?;
        let Some(endpoint) = endpoint_of(&kind.dialect) else {
            continue;
        };
        if kind.origin == "exchange" {
            let raw: Raw = serde_json::from_str(&line).with_context(place)?;
            records.extend(served(raw, endpoint));
        }
    }
    Ok(())
}

fn endpoint_of(dialect: &str) -> Option<Endpoint> {
    match dialect {
        "openai-chat" => Some(Endpoint::Chat),
        "openai-completions" => Some(Endpoint::Completions),
        "openai-embeddings" => Some(Endpoint::Embeddings),
        "openai-responses" => Some(Endpoint::Responses),
        _ => None,
    }
}

/// A record that has a status and a text body; others cannot be served.
fn served(raw: Raw, endpoint: Endpoint) -> Option<Record> {
    let mut headers: Vec<(String, String)> =
        raw.response_headers.into_iter().filter(|(name, value)| is_sendable(name, value)).collect();
    if !headers.iter().any(|(name, _)| name == "content-type") {
        // Some recorders drop it.
        let kind = if raw.stream { "text/event-stream" } else { "application/json" };
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    Some(Record {
        status: raw.status?,
        body: raw.body?.into_bytes(),
        id: raw.id,
        dialect: raw.dialect,
        provider: raw.provider,
        path: raw.endpoint.unwrap_or_default(),
        endpoint,
        stream: raw.stream,
        model: raw.model,
        request: raw.request,
        headers,
    })
}

/// Framing is our own, and what a recorder made up must not break the head.
fn is_sendable(name: &str, value: &str) -> bool {
    const OWN: &[&str] = &[
        "content-length",
        "transfer-encoding",
        "content-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "trailer",
        "te",
        "proxy-connection",
    ];
    let name_is_token =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let value_is_text = value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    name_is_token && value_is_text && !OWN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exchanges_of_our_dialects_are_kept() {
        let line = |origin: &str, dialect: &str, status: &str| {
            format!(
                r#"{{"id":"{origin}{dialect}{status}","origin":"{origin}","dialect":"{dialect}","provider":"openai","endpoint":"POST /v1/chat/completions","status":{status},"stream":false,"model":"m","request":null,"response_headers":[["content-type","application/json"],["content-length","9"],["bad name","x"],["x-ok","1"]],"body":"{{}}"}}"#
            )
        };
        let text = [
            line("exchange", "openai-chat", "200"),
            line("exchange", "gemini", "200"),
            line("fixture", "openai-chat", "200"),
            line("exchange", "openai-embeddings", "null"),
        ]
        .join("\n");
        let mut records = Vec::new();
        read_lines(text.as_bytes(), &mut records).unwrap();
        assert_eq!(records.len(), 1);
        let names: Vec<&str> = records[0].headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-type", "x-ok"]);
    }

    #[test]
    fn broken_lines_name_their_place() {
        let error = read_lines("{}\n".as_bytes(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "line 1");
    }
}

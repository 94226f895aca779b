//! Recorded provider traffic through the real gateway.
//!
//! `loadtest replay` serves the recordings, cut anew for each route; the recorded request goes to the gateway with no more
//! than its `model` replaced. Streams whose client had asked for usage are also sent for one that did not. Bytes, statuses
//! and the usage in the access log are compared with the recording. The corpus is no part of the repository:
//! `MILLRACE_CORPUS` names its folder, and without it the test says that it skipped.

mod expect;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::{DEADLINE, Gateway, KEY, Mock, Reply, Settings, eventually};

use expect::{Expected, Outcome, Tokens, expect};
use record::{Kind, Record, records};

/// Few, since tests of short timeouts run at the same time.
const CLIENTS: usize = 2;
/// A project may have 2,000.
const ROUTES_MAX: usize = 1_500;
/// Each piece is a write of its own, so the finest cuts are for the smaller bodies.
const ONE_BYTE_MAX: usize = 10_000;
const FINE_MAX: usize = 50_000;
/// Draws pieces of about eight bytes.
const FINE: &str = "seed:17";
/// The cut whose models have a price.
const PRICED: &str = COARSE;
/// Draws pieces of about 250 bytes.
const COARSE: &str = "seed:20";

/// One record, cut in one way.
struct Case<'a> {
    record: &'a Record,
    outcome: &'a Outcome,
    split: &'static str,
    /// Its route, and the id of its request.
    name: String,
    project: String,
}

fn cases<'a>(records: &'a [Record], outcomes: &'a [Outcome]) -> Vec<Case<'a>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for (record, outcome) in records.iter().zip(outcomes) {
        let fine = record.body.len() <= FINE_MAX;
        let smallest = record.body.len() <= ONE_BYTE_MAX;
        let mut splits = vec!["whole", COARSE];
        if record.stream || record.status != 200 {
            splits.extend(["utf8", "crlf"]);
            splits.extend(fine.then_some(FINE));
            splits.extend(smallest.then_some("one-byte"));
        }
        let form = if record.unasked { "-unasked" } else { "" };
        for (index, split) in splits.into_iter().enumerate() {
            let project = format!("rec{}", cases.len() / ROUTES_MAX);
            cases.push(Case { record, outcome, split, name: format!("{}{form}-{index}", record.id), project });
        }
    }
    cases
}

fn projects(cases: &[Case<'_>], replay: SocketAddr) -> Vec<(String, String)> {
    let write = |cases: &[Case<'_>]| {
        let (mut chat, mut embedding, mut routes) = (String::new(), String::new(), String::new());
        for Case { record, split, name, .. } in cases {
            let is_embedding = record.kind == Kind::Embeddings;
            let (list, text) =
                if is_embedding { ("embedding_models", &mut embedding) } else { ("chat_models", &mut chat) };
            writeln!(text, "  - model_id: \"{name}\"\n    model: \"openai/rec/{}/split={split}\"", record.id).unwrap();
            writeln!(text, "    credentials: {{base_url: \"http://{replay}/v1\"}}").unwrap();
            if *split == PRICED {
                let [input, output, cached] = [1.0, 2.0, 0.5];
                writeln!(
                    text,
                    "    input_cost_per_million_tokens: {input}\n    output_cost_per_million_tokens: {output}"
                )
                .unwrap();
                writeln!(text, "    input_cached_cost_per_million_tokens: {cached}").unwrap();
            }
            writeln!(routes, "  \"{name}\": {{{list}: [\"{name}\"]}}").unwrap();
        }
        let mut text = String::new();
        for (list, entries) in [("chat_models", chat), ("embedding_models", embedding), ("routes", routes)] {
            if !entries.is_empty() {
                write!(text, "{list}:\n{entries}").unwrap();
            }
        }
        (cases[0].project.clone(), text)
    };
    cases.chunks(ROUTES_MAX).map(write).collect()
}

impl Case<'_> {
    fn expected(&self) -> &Expected {
        let priced = self.outcome.priced.as_ref().filter(|_| self.split == PRICED);
        priced.unwrap_or(&self.outcome.expected)
    }

    fn request(&self) -> Vec<u8> {
        let mut body = self.record.request.clone();
        body["model"] = format!("{}/{}", self.project, self.name).into();
        let (body, path, name) = (body.to_string(), self.record.kind.path(), &self.name);
        format!(
            "POST {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\ncontent-type: \
             application/json\r\nx-request-id: {name}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn difference(&self, what: &str) -> String {
        let Record { provider, kind, status, stream, .. } = self.record;
        format!("{} {provider} {kind:?} {status} stream={stream} {}: {what}", self.name, self.split)
    }
}

/// Says how an answer differs from what it must be.
fn compare(expected: &Expected, record: &Record, reply: &Reply) -> Result<(), String> {
    let form = if record.stream { "text/event-stream" } else { "application/json" };
    let is_form = |wanted: &str| reply.header("content-type").is_some_and(|kind| kind.starts_with(wanted));
    match expected {
        Expected::Error { status, kind, code } => {
            if reply.status != *status || !is_form("application/json") || reply.cut {
                return Err(format!("status {}, not {status}; cut {}: {:.200}", reply.status, reply.cut, reply.text()));
            }
            let error = reply.json()["error"].take();
            let differs = |name: &str, want: &Option<String>| match want {
                Some(want) => error[name] != want.as_str(),
                None => !error[name].is_null() && !error[name].is_string(),
            };
            if differs("type", kind) || differs("code", code) || !error["message"].is_string() {
                return Err(format!("wanted type {kind:?} and code {code:?}, got {error}"));
            }
            Ok(())
        }
        _ if reply.status != 200 || !is_form(form) => {
            Err(format!("status {} as {:?}: {:.200}", reply.status, reply.header("content-type"), reply.text()))
        }
        Expected::Bytes(bytes) if reply.cut => Err(format!("cut at {} of {}", reply.body.len(), bytes.len())),
        Expected::Bytes(bytes) => same(bytes, &reply.body),
        Expected::Broken(bytes) => {
            let (body, end) = reply.body.split_at(bytes.len().min(reply.body.len()));
            same(bytes, body)?;
            let end = String::from_utf8_lossy(end);
            let event = match record.kind {
                Kind::Responses => end.strip_prefix("event: response.failed\ndata: "),
                _ => end.strip_prefix("data: "),
            };
            let value = event.and_then(|event| serde_json::from_str::<Value>(event.strip_suffix("\n\n")?).ok());
            let error = value.as_ref().and_then(|value| value.pointer("/error").or(value.pointer("/response/error")));
            if error.is_some_and(|error| error["message"].is_string()) {
                return Ok(());
            }
            Err(format!("no error event at the end: {end:.200}"))
        }
    }
}

fn same(want: &[u8], got: &[u8]) -> Result<(), String> {
    if want == got {
        return Ok(());
    }
    let at = want.iter().zip(got).take_while(|(left, right)| left == right).count();
    let part = |bytes: &[u8]| {
        let end = bytes.len().min(at + 80);
        String::from_utf8_lossy(&bytes[at.saturating_sub(20)..end]).into_owned()
    };
    Err(format!("{} bytes, not {}; at {at}: {:?}, not {:?}", got.len(), want.len(), part(got), part(want)))
}

/// Says how a line of the access log differs from the recorded usage.
fn compare_usage(tokens: Option<Tokens>, status: u16, line: &Value) -> Result<(), String> {
    if line["status"] != status {
        return Err(format!("logged status {}, not {status}", line["status"]));
    }
    let is_estimated = line["estimated"] == Value::Bool(true);
    let Some(want) = tokens else {
        return if is_estimated { Ok(()) } else { Err(format!("not logged as estimated: {line}")) };
    };
    let count = |name: &str| line[name].as_u64().unwrap_or(u64::MAX);
    let got = (count("tokens_input"), count("tokens_output"), count("tokens_cache_read"), count("tokens_reasoning"));
    if got == want && !is_estimated {
        return Ok(());
    }
    Err(format!("logged tokens {got:?}, not {want:?}; estimated {is_estimated}"))
}

/// Sends all requests over a few connections that are kept; gives the status and the difference of each.
fn exchange_all(gateway: &Gateway, cases: &[Case<'_>]) -> (HashMap<String, u16>, Vec<String>) {
    let (next, results) = (AtomicUsize::new(0), Mutex::new((HashMap::new(), Vec::new())));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = gateway.client();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    client.send(&case.request());
                    let Some(reply) = client.read() else {
                        results.lock().unwrap().1.push(case.difference("no answer"));
                        client = gateway.client();
                        continue;
                    };
                    let compared = compare(case.expected(), case.record, &reply);
                    let mut results = results.lock().unwrap();
                    results.0.insert(case.name.clone(), reply.status);
                    results.1.extend(compared.err().map(|what| case.difference(&what)));
                    if reply.closes() || reply.cut || matches!(case.outcome.expected, Expected::Broken(_)) {
                        client = gateway.client();
                    }
                }
            });
        }
    });
    results.into_inner().unwrap()
}

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("MILLRACE_CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus")), PathBuf::from);
    let found = folder.join("chat.ndjson.zst").is_file();
    if !found {
        println!("skipped: no corpus in {}; set MILLRACE_CORPUS", folder.display());
    }
    found.then_some(folder)
}

#[test]
fn every_recorded_exchange_passes_as_recorded_and_is_counted() {
    let Some(folder) = corpus() else {
        return;
    };
    let replay = Mock::replay(&folder);
    let records = records(&replay);
    assert!(records.len() > 2_000, "the corpus is incomplete: {} records", records.len());
    let outcomes: Vec<Outcome> = records.iter().map(expect).collect();
    let cases = cases(&records, &outcomes);
    let mut gateway = Gateway::serve(&Settings {
        projects: projects(&cases, replay.address),
        ports: vec![replay.address.port()],
        workers: Some(2),
        ..Settings::default()
    });
    let (statuses, mut differences) = exchange_all(&gateway, &cases);
    let mut logged = HashMap::new();
    eventually(DEADLINE, || {
        let lines = gateway.printed().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        logged.extend(lines.filter_map(|line| Some((line["request_id"].as_str()?.to_owned(), line))));
        statuses.keys().all(|name| logged.contains_key(name))
    });
    for case in &cases {
        let (Some(status), tokens) = (statuses.get(&case.name), case.outcome.tokens) else {
            continue;
        };
        let compared = match logged.get(&case.name) {
            Some(line) => compare_usage(tokens, *status, line),
            None => Err("not in the access log".to_owned()),
        };
        differences.extend(compared.err().map(|what| case.difference(&what)));
    }
    gateway.assert_idle();
    report(&records, &outcomes, cases.len());
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// Prints how many records have which documented difference.
fn report(records: &[Record], outcomes: &[Outcome], exchanges: usize) {
    let mut counts = BTreeMap::new();
    for change in outcomes.iter().flat_map(|outcome| &outcome.changes) {
        *counts.entry(change).or_insert(0) += 1;
    }
    let streams = records.iter().filter(|record| record.stream).count();
    let unasked = records.iter().filter(|record| record.unasked).count();
    let estimated = outcomes.iter().filter(|outcome| outcome.tokens.is_none()).count();
    println!(
        "{} records, {streams} of them streams, {unasked} of these sent unasked; {exchanges} exchanges",
        records.len()
    );
    println!("documented differences: {counts:?}; usage estimated in {estimated}");
}

//! What recorded answers cost, against an oracle.
//!
//! For every recorded answer and stream that states its usage: the price that a catalogue gives, times the tokens, is what the
//! public list of prices and decimal arithmetic give (`oracle.rs`, `reading.rs`: no code of the gateway). Dialects that the
//! gateway speaks are read by its own parser; of the others only the usage object is priced. Where a provider states what it
//! charged, that must agree too, or stand in a list with its reason. `MILLRACE_CORPUS` names the recordings; without it the
//! tests say that they skipped.

mod command;
mod oracle;
mod reading;
mod stated;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use millrace::base::TokenCounts;
use millrace::usage::Catalogue;
use millrace::wire::{Action, Endpoint, Splitter, SseLimits, StreamWatch, read_usage, view_answer};
use serde_json::Value;

use oracle::Oracle;
use reading::{Form, Reading, read, tokens};

const FILES: [&str; 9] =
    ["chat", "responses", "embeddings", "messages", "gemini", "bedrock", "other", "fixtures", "objects"];

/// Recorded provider, its name in the public list, its name in our table.
const PROVIDERS: [(&str, &str, &str); 20] = [
    ("openai", "openai", "openai"),
    ("azure", "azure", "azure"),
    ("anthropic", "anthropic", "anthropic"),
    ("gemini", "google", "google-genai"),
    ("vertex", "google", "google-genai"),
    ("bedrock", "aws", "bedrock"),
    ("mistral", "mistral", "mistralai"),
    ("groq", "groq", "groq"),
    ("deepseek", "deepseek", "deepseek"),
    ("openrouter", "openrouter", "openrouter"),
    ("xai", "x-ai", "xai"),
    ("perplexity", "perplexity", "perplexity"),
    ("together", "together", "together"),
    ("togetherai", "together", "together"),
    ("cohere", "cohere", "cohere"),
    ("cerebras", "cerebras", "cerebras"),
    ("voyage", "voyageai", "voyage"),
    ("moonshot", "moonshotai", "moonshot"),
    ("zai", "zai", "zai"),
    ("minimax", "minimax", "minimax"),
];

/// One recorded answer with its usage.
struct Recorded {
    id: String,
    dialect: String,
    /// The model that was asked for, then the one that answered.
    models: Vec<String>,
    form: Form,
    usage: Value,
    reading: Reading,
    /// What the gateway's own parser reads; none where it does not speak the dialect.
    parsed: Option<TokenCounts>,
    /// Name of the provider in the list, and in our table.
    names: (&'static str, &'static str),
}

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("MILLRACE_CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus")), PathBuf::from);
    if !folder.is_dir() {
        println!("SKIPPED: no corpus in {}; set MILLRACE_CORPUS", folder.display());
        return None;
    }
    Some(folder)
}

fn as_of() -> String {
    Catalogue::built_in().unwrap().head().as_of.clone().unwrap().into()
}

fn records(folder: &Path) -> Vec<Recorded> {
    let mut found = Vec::new();
    for name in FILES {
        let file = File::open(folder.join(format!("{name}.ndjson.zst"))).unwrap();
        for line in BufReader::new(zstd::Decoder::new(file).unwrap()).lines() {
            let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
            found.extend(recorded(&record));
        }
    }
    found
}

fn recorded(record: &Value) -> Option<Recorded> {
    let text = |name: &str| record[name].as_str().map(str::to_owned);
    let provider = text("provider")?;
    let (_, listed, ours) = *PROVIDERS.iter().find(|(known, ..)| *known == provider)?;
    if record["status"].as_u64().is_some_and(|status| status != 200) {
        return None;
    }
    let (framing, dialect) = (text("framing")?, text("dialect")?);
    let body = text("body").map_or_else(|| base64(record["body_b64"].as_str().unwrap_or("")), String::into_bytes);
    let answer = read(&events(&framing, &body));
    let (form, usage) = answer.usage.clone()?;
    let mut reading = tokens(form, &usage)?;
    if dialect == "openai-responses" {
        answer.complete(&usage, &mut reading);
    }
    let models = [text("model"), answer.model].into_iter().flatten().collect();
    let parsed = parse(&dialect, &framing, &body).or_else(|| match form {
        Form::Anthropic => read_usage(usage.to_string().as_bytes()),
        _ => None,
    });
    Some(Recorded { id: text("id")?, dialect, models, form, usage, reading, parsed, names: (listed, ours) })
}

/// Reads an answer as the gateway does; none for a dialect that it does not speak, and for events without their framing.
fn parse(dialect: &str, framing: &str, body: &[u8]) -> Option<TokenCounts> {
    let endpoint = match dialect {
        "openai-chat" => Endpoint::Chat,
        "openai-completions" => Endpoint::Completions,
        "openai-embeddings" => Endpoint::Embeddings,
        "openai-responses" => Endpoint::Responses,
        _ => return None,
    };
    match framing {
        "json" => view_answer(endpoint, body).ok()?.usage,
        "sse" => {
            let (mut splitter, mut watch) = (Splitter::new(SseLimits::default()), StreamWatch::new(endpoint, false));
            let mut from = 0;
            while let Some(end) = splitter.next_event(body, from).unwrap() {
                let _: Action = watch.observe(&body[from..end]);
                from = end;
            }
            watch.observe_tail(&body[from..]);
            watch.usage()
        }
        _ => None,
    }
}

fn events(framing: &str, body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body);
    let parsed = |text: &str| serde_json::from_str::<Value>(text.trim()).ok();
    match framing {
        "json" => match parsed(&text) {
            Some(Value::Array(all)) => all,
            one => one.into_iter().collect(),
        },
        "sse" => text.lines().filter_map(|line| parsed(line.strip_prefix("data:")?)).collect(),
        "aws-event-stream" => event_stream(body),
        _ => text.lines().filter_map(parsed).collect(),
    }
}

/// The payloads of a binary event stream: lengths, checksum, headers, payload, checksum.
fn event_stream(mut rest: &[u8]) -> Vec<Value> {
    let mut found = Vec::new();
    let length = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap()) as usize;
    while rest.len() >= 16 {
        let (message, after) = rest.split_at(length(&rest[..4]));
        rest = after;
        let payload = &message[12 + length(&message[4..8])..message.len() - 4];
        let Ok(event) = serde_json::from_slice::<Value>(payload) else { continue };
        match event["bytes"].as_str() {
            Some(inner) => found.extend(serde_json::from_slice::<Value>(&base64(inner))),
            None => found.push(event),
        }
    }
    found
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        bits = (bits << 6) | u32::try_from(digit).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).unwrap());
        }
    }
    bytes
}

fn counts(reading: &Reading) -> TokenCounts {
    let count = |tokens: i128| u64::try_from(tokens).unwrap();
    TokenCounts {
        input: count(reading.input),
        output: count(reading.output),
        cache_read: count(reading.cache_read),
        cache_write: count(reading.cache_write),
        cache_write_1h: count(reading.cache_write_1h),
        reasoning: count(reading.reasoning),
        audio_input: count(reading.audio_input),
        audio_output: count(reading.audio_output),
        image_input: count(reading.image_input),
        image_output: count(reading.image_output),
        searches: u32::try_from(reading.searches).unwrap(),
        images: u32::try_from(reading.images).unwrap(),
        audio_millis: 0,
    }
}

#[derive(Default)]
struct Tally {
    read: usize,
    by_our_parser: usize,
    priced: usize,
    searched: usize,
    with_images: usize,
}

#[test]
fn every_recorded_usage_costs_what_the_list_of_prices_says() {
    let Some(folder) = corpus() else { return };
    let (oracle, catalogue) = (Oracle::read(&folder.join("prices/data.json"), &as_of()), Catalogue::default());
    let mut tallies: BTreeMap<(String, Form), Tally> = BTreeMap::new();
    let mut problems = Vec::new();
    for record in records(&folder) {
        let tally = tallies.entry((record.dialect.clone(), record.form)).or_default();
        tally.read += 1;
        let used = counts(&record.reading);
        if let Some(parsed) = record.parsed {
            tally.by_our_parser += 1;
            if parsed != used {
                problems.push(format!("{} {}: read {parsed:?}, not {used:?}", record.id, record.dialect));
            }
        }
        for model in &record.models {
            let want = oracle.cost(record.names.0, model, &record.reading);
            let price = catalogue.find(record.names.1, model);
            let got = price.as_ref().map(|price| i128::from(price.cost(&record.parsed.unwrap_or(used)).0));
            if got != want {
                problems.push(format!("{} {}/{model}: costs {got:?}, not {want:?}", record.id, record.names.1));
            }
            if let Some(price) = price {
                let beside = price.beside_bound(used.searches, used.images, used.audio_millis);
                let most = price.upper_bound(used.input, used.output).saturating_add(beside);
                assert!(price.cost(&used) <= most, "{}", record.id);
            }
        }
        let is_priced = record.models.iter().any(|model| catalogue.find(record.names.1, model).is_some());
        tally.priced += usize::from(is_priced);
        tally.searched += usize::from(used.searches > 0);
        tally.with_images += usize::from(used.image_input + used.image_output + u64::from(used.images) > 0);
    }
    for ((dialect, form), Tally { read, by_our_parser, priced, searched, with_images }) in &tallies {
        println!("{dialect} {form:?}: {read} answers with usage, {by_our_parser} by our parser, {priced} priced");
        println!("  {searched} with searches, {with_images} with pictures");
    }
    let total = |count: fn(&Tally) -> usize| tallies.values().map(count).sum::<usize>();
    println!("{} read, {} priced", total(|tally| tally.read), total(|tally| tally.priced));
    problems.truncate(40);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(total(|tally| tally.priced) > 3_000, "the corpus is incomplete");
}

#[test]
fn checked_in_table_is_what_the_script_makes() {
    let Some(folder) = corpus() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Command::new("python3")
        .arg(root.join("scripts/build-prices.py"))
        .args(["--as-of", &as_of()])
        .arg(folder.join("prices/data.json"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let checked_in = std::fs::read(root.join("src/usage/price/catalogue.tsv")).unwrap();
    assert!(made.stdout == checked_in, "src/usage/price/catalogue.tsv differs; run `make prices-table`");
}

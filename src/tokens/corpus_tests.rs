//! The bound against every recorded request with usage.

use serde_json::Value;

use crate::base::recorded_lines;

use super::bound::bound;
use super::encoding::Encoding;
use super::table::Table;

/// A request of OpenAI's and the input tokens that it was billed.
struct Billed {
    id: String,
    encoding: Encoding,
    request: Value,
    input: u64,
}

fn usage(message: &Value) -> Option<u64> {
    let usage = ["/usage", "/response/usage"].into_iter().find_map(|path| message.pointer(path)?.as_object())?;
    usage.get("prompt_tokens").or(usage.get("input_tokens"))?.as_u64()
}

fn stated(body: &str) -> Option<u64> {
    match serde_json::from_str(body) {
        Ok(answer) => usage(&answer),
        Err(_) => {
            let messages = body.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok());
            messages.filter_map(|message| usage(&message)).next_back()
        }
    }
}

fn billed() -> Vec<Billed> {
    let lines = recorded_lines(&["chat", "responses", "embeddings", "other"]);
    let found: Vec<Billed> = lines.iter().filter_map(|line| billed_by(line)).collect();
    assert!(lines.is_empty() || found.len() > 1_000, "the corpus is incomplete: {}", found.len());
    found
}

fn billed_by(line: &str) -> Option<Billed> {
    const DIALECTS: [&str; 4] = ["openai-chat", "openai-completions", "openai-responses", "openai-embeddings"];
    let mut record: Value = serde_json::from_str(line).unwrap();
    let request = record["request"].take();
    let is_ours = matches!(record["provider"].as_str()?, "openai" | "azure");
    if !is_ours || !DIALECTS.contains(&record["dialect"].as_str()?) || record["status"] != 200 {
        return None;
    }
    let encoding = Encoding::of_openai_model(request["model"].as_str()?)?;
    let input = stated(record["body"].as_str()?)?;
    Some(Billed { id: record["id"].as_str().unwrap_or_default().to_owned(), encoding, request, input })
}

#[test]
fn no_recorded_request_was_billed_more_than_its_bound() {
    let (mut counted, mut tightest, mut sums) = (0, (i64::MAX, String::new()), (0, 0, 0));
    let records = billed();
    for Billed { id, encoding, request, input } in &records {
        let table = Table::shared(*encoding);
        let body = request.to_string();
        let Some(most) = bound(body.as_bytes(), |text| table.count(text)) else { continue };
        assert!(most >= *input, "{id}: {most} counted, {input} billed: {body}");
        counted += 1;
        sums = (sums.0 + body.len(), sums.1 + most, sums.2 + input);
        let margin = i64::try_from(most - input).unwrap();
        if margin < tightest.0 {
            tightest = (margin, format!("{id}: {most} counted, {input} billed"));
        }
    }
    println!(
        "{counted} of {} requests counted; bytes, counted, billed: {sums:?}; smallest margin {} tokens, {}",
        records.len(),
        tightest.0,
        tightest.1
    );
}

/// Embeddings are billed for their texts and nothing else, so there the provider's figure is that of the table.
#[test]
fn recorded_embeddings_are_counted_to_the_token() {
    let mut exact = 0;
    for Billed { id, encoding, request, input } in billed() {
        let texts: Vec<&str> = match &request["input"] {
            Value::String(text) => vec![text],
            Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        let is_all = request["input"].as_array().is_none_or(|all| all.len() == texts.len());
        // The recording took the names of home folders out of the texts.
        let is_whole = is_all && !texts.iter().any(|text| text.contains("/Users/"));
        if is_whole && is_embedding(&request) {
            let counted: u64 = texts.iter().map(|text| Table::shared(encoding).count(text)).sum();
            assert_eq!(counted, input, "{id}: {request}");
            exact += 1;
        }
    }
    println!("{exact} recorded embeddings counted exactly");
}

fn is_embedding(request: &Value) -> bool {
    request["model"].as_str().is_some_and(|model| model.starts_with("text-embedding"))
}

//! Plain JSON answers of each endpoint.

use serde_json::{Value, json};

use super::ask::Ask;
use crate::serve::Endpoint;

/// The time that all answers name as their creation, in seconds since 1970.
pub(crate) const CREATED: u64 = 1_760_000_000;
/// The model that all answers name.
pub(crate) const MODEL: &str = "mock-1-2025-10-09";

/// The whole body of an honest answer, padded to the size asked for.
pub(crate) fn body(ask: &Ask<'_>) -> Vec<u8> {
    let usage = usage(ask, ask.usage());
    body_with(ask, Some(&usage))
}

/// The whole body with this usage object, or without any.
pub(crate) fn body_with(ask: &Ask<'_>, usage: Option<&str>) -> Vec<u8> {
    let (before, after) = match ask.endpoint {
        Endpoint::Embeddings => return embeddings(ask, usage).into_bytes(),
        Endpoint::Chat => (
            format!(
                r#"{{"id":"chatcmpl-{}-{}","object":"chat.completion","created":{CREATED},"model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":""#,
                ask.connection, ask.request
            ),
            r#"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}]"#,
        ),
        Endpoint::Completions => (
            format!(
                r#"{{"id":"cmpl-{}-{}","object":"text_completion","created":{CREATED},"model":"{MODEL}","choices":[{{"text":""#,
                ask.connection, ask.request
            ),
            r#"","index":0,"logprobs":null,"finish_reason":"stop"}]"#,
        ),
        Endpoint::Responses => (
            format!(
                r#"{{"id":"resp_{0}_{1}","object":"response","created_at":{CREATED},"status":"completed","error":null,"incomplete_details":null,"model":"{MODEL}","output":[{{"type":"message","id":"msg_{0}_{1}","status":"completed","role":"assistant","content":[{{"type":"output_text","annotations":[],"text":""#,
                ask.connection, ask.request
            ),
            r#""}]}]"#,
        ),
        Endpoint::Transcriptions => (r#"{"text":""#.to_owned(), "\""),
    };
    let tail = usage.map_or_else(|| "}".to_owned(), |usage| format!(r#","usage":{usage}}}"#));
    let fixed = before.len() + after.len() + tail.len();
    let content = content(ask, ask.options.size.saturating_sub(fixed));
    [before.as_bytes(), content.as_bytes(), after.as_bytes(), tail.as_bytes()].concat()
}

/// The usage object of an endpoint with these input and output tokens.
pub(crate) fn usage(ask: &Ask<'_>, (input, output): (u64, u64)) -> String {
    let total = input.saturating_add(output);
    let (cached, reasoning) = (ask.options.cached_tokens, ask.options.reasoning_tokens);
    let pictures = member("image_tokens", ask.options.picture_tokens);
    // As OpenRouter and xAI state them.
    let searches = match (ask.endpoint, ask.options.searches) {
        (_, 0) => String::new(),
        (Endpoint::Responses, count) => format!(r#","server_side_tool_usage_details":{{"web_search_calls":{count}}}"#),
        (_, count) => format!(r#","server_tool_use_details":{{"web_search_requests":{count}}}"#),
    };
    match ask.endpoint {
        Endpoint::Embeddings => format!(r#"{{"prompt_tokens":{input},"total_tokens":{input}}}"#),
        Endpoint::Responses => format!(
            r#"{{"input_tokens":{input},"input_tokens_details":{{"cached_tokens":{cached}}},"output_tokens":{output},"output_tokens_details":{{"reasoning_tokens":{reasoning}{pictures}}},"total_tokens":{total}{searches}}}"#
        ),
        Endpoint::Transcriptions => format!(r#"{{"type":"duration","seconds":{}}}"#, ask.options.seconds),
        Endpoint::Chat | Endpoint::Completions => format!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached}}},"completion_tokens_details":{{"reasoning_tokens":{reasoning}{pictures}}}{searches}}}"#
        ),
    }
}

/// A further member of an object, for a count that is not 0.
fn member(name: &str, count: u64) -> String {
    if count == 0 { String::new() } else { format!(r#","{name}":{count}"#) }
}

/// Text that needs no escapes in JSON, of about `bytes` bytes.
pub(crate) fn content(ask: &Ask<'_>, bytes: usize) -> String {
    if ask.options.echo {
        let text = echo(ask);
        return json_inner(&text);
    }
    const WORDS: &str = "The quick brown fox jumps over the lazy dog and thinks about streams of tokens. ";
    let mut text = WORDS.repeat(bytes / WORDS.len() + 1);
    text.truncate(bytes);
    text
}

/// `echo:BYTES:SHA256:LAST`, of the request body and its last message or input.
fn echo(ask: &Ask<'_>) -> String {
    let digest = crate::serve::sha256_hex(ask.body);
    format!("echo:{}:{digest}:{}", ask.body.len(), last_input(ask.body).unwrap_or_default())
}

fn last_input(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let last = value.get("messages").and_then(Value::as_array).and_then(|messages| messages.last());
    let last =
        last.and_then(|message| message.get("content")).or_else(|| value.get("input")).or_else(|| value.get("prompt"));
    last.and_then(Value::as_str).map(str::to_owned)
}

/// A string as it stands between the quotes of JSON.
fn json_inner(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

fn embeddings(ask: &Ask<'_>, usage: Option<&str>) -> String {
    let count = input_count(ask.body);
    let items: Vec<Value> = (0..count)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": embedding(ask, index)}))
        .collect();
    let mut answer = json!({"object": "list", "data": items, "model": MODEL}).to_string();
    if let Some(usage) = usage {
        answer.truncate(answer.len() - 1);
        answer.push_str(r#","usage":"#);
        answer.push_str(usage);
        answer.push('}');
    }
    answer
}

/// The same numbers for the same place in the input, so that answers can be compared.
fn embedding(ask: &Ask<'_>, index: usize) -> Value {
    let mut random = fastrand::Rng::with_seed(index as u64);
    let numbers: Vec<f32> = (0..ask.options.dims).map(|_| random.f32() - 0.5).collect();
    if ask.base64 {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        return Value::from(base64(&bytes));
    }
    Value::from(numbers)
}

/// How many inputs an embeddings request has: a list of strings or of token lists counts each, all else is one.
fn input_count(body: &[u8]) -> usize {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    match value.get("input").and_then(Value::as_array) {
        Some(list) if !list.iter().all(Value::is_number) => list.len(),
        _ => 1,
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = ALPHABET.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'A');
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_to_whole_groups() {
        for (bytes, want) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), want, "{bytes}");
        }
    }

    #[test]
    fn inputs_are_counted_by_their_form() {
        for (input, want) in [(r#""a""#, 1), (r#"["a","b","c"]"#, 3), ("[1,2,3]", 1), ("[[1],[2,3]]", 2)] {
            assert_eq!(input_count(format!(r#"{{"input":{input}}}"#).as_bytes()), want, "{input}");
        }
    }
}

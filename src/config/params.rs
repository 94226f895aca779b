//! The open part of a model: `params`, and the injected prompt.

use std::time::Duration;

use serde_json::Value;

use super::fields::{Fields, Item};
use super::hint::did_you_mean;
use super::model::{MockParams, ModelList, Prompt, PromptRole, Provider};
use super::problem::{Code, Problem, Problems};
use super::project_tables::MOCK_PARAMS;
use super::shape::check_table;
use super::value::{self, Refusal};
use super::yaml::{Content, Entry, Node, join_key};

/// What `params` says.
#[derive(Debug, Default)]
pub(super) struct Params {
    /// Defaults of the request body.
    pub(super) body: Vec<(String, Value)>,
    pub(super) mock: MockParams,
    /// `params.timeout`, which acts as `timeouts.total`.
    pub(super) total: Option<Duration>,
}

/// Keys that the gateway decides on itself.
const DECIDED: [&str; 10] = [
    "model",
    "messages",
    "input",
    "stream",
    "stream_options",
    "n",
    "best_of",
    "tools",
    "previous_response_id",
    "conversation",
];
/// Keys that client libraries take as a destination, a header or a transport.
const DESTINATIONS: [&str; 21] = [
    "api_base",
    "api_type",
    "api_version",
    "azure_deployment",
    "azure_endpoint",
    "base_url",
    "default_headers",
    "default_query",
    "endpoint",
    "extra_body",
    "extra_headers",
    "extra_query",
    "headers",
    "host",
    "http_client",
    "openai_api_base",
    "openai_proxy",
    "organization",
    "proxies",
    "proxy",
    "url",
];
/// Keys that hold a secret in client libraries.
const CREDENTIALS: [&str; 6] =
    ["api_key", "authorization", "azure_ad_token", "bearer_token", "openai_api_key", "token"];

/// Reads `params`: forbidden keys are refused, those of the mock provider are taken out.
pub(super) fn read_params(
    model: &Fields<'_>,
    (list, provider): (ModelList, Option<Provider>),
    problems: &mut Problems,
) -> Params {
    let mut params = Params::default();
    let Some(item) = model.item("params") else {
        return params;
    };
    let entries = match &item.node.content {
        Content::Map(entries) => entries,
        Content::Refused => return params,
        _ => {
            let refusal = Refusal::wrong_type("a map", item.node);
            problems.push(problem(&item.path, item.node, refusal));
            return params;
        }
    };
    if provider == Some(Provider::Mock) {
        params.mock = read_mock(entries, &item, problems);
    }
    for entry in entries {
        let path = join_key(&item.path, &entry.key);
        if entry.key == "timeout" {
            params.total = read_timeout(model, entry, &path, problems);
            continue;
        }
        if let Some(refusal) = refuse_key(&entry.key) {
            problems.push(Problem::error(path, entry.key_at, refusal.code, refusal.message).maybe_hint(refusal.hint));
            continue;
        }
        if MOCK_PARAMS.field(&entry.key).is_some() {
            if provider.is_some_and(|provider| provider != Provider::Mock) {
                let message = "only the mock provider reads this key";
                problems.push(Problem::error(path, entry.key_at, Code::Conflict, message));
            }
            continue;
        }
        if provider == Some(Provider::Mock) {
            let message = "the mock provider does not read this key";
            problems.push(
                Problem::warning(path.as_str(), entry.key_at, Code::NoEffect, message)
                    .maybe_hint(did_you_mean(&entry.key, MOCK_PARAMS.names())),
            );
        }
        if list == ModelList::Transcription {
            let message = "a form with audio is sent as the client wrote it; defaults are not added to it";
            problems.push(Problem::error(path, entry.key_at, Code::Unsupported, message));
            continue;
        }
        let value = value::json(&entry.value, &path, &mut |path, node, refusal| {
            problems.push(problem(path, node, refusal));
        });
        if !value.is_null() {
            params.body.push((entry.key.clone(), value));
        }
    }
    params
}

/// Decides whether a key may stand in `params`.
fn refuse_key(key: &str) -> Option<Refusal> {
    let folded = key.to_ascii_lowercase().replace('-', "_");
    let folded = folded.as_str();
    if CREDENTIALS.contains(&folded) {
        return Some(Refusal::new(
            Code::LiteralSecret,
            "a key is not written into `params`; use `credentials.api_key: !secret NAME`",
        ));
    }
    if DESTINATIONS.contains(&folded) {
        return Some(Refusal::new(
            Code::Unsupported,
            "the destination comes from `credentials.base_url`, and headers are not set here",
        ));
    }
    if DECIDED.contains(&folded) {
        return Some(Refusal::new(Code::Unsupported, "comes from the client's request and has no default"));
    }
    matches!(folded, "max_retries" | "enable_prompt_cache")
        .then(|| Refusal::new(Code::Unsupported, format!("`params.{folded}` is not supported yet")))
}

fn read_timeout(model: &Fields<'_>, entry: &Entry, path: &str, problems: &mut Problems) -> Option<Duration> {
    if entry.value.is_null() {
        return None;
    }
    if model.table("timeouts").has("total") {
        let message = "`timeouts.total` is written too; remove this key";
        problems.push(Problem::error(path, entry.key_at, Code::Conflict, message));
        return None;
    }
    match value::duration(&entry.value, "1 s", "2 hours") {
        Ok(total) => {
            let message = "acts as `timeouts.total`; write it there";
            problems.push(Problem::warning(path, entry.key_at, Code::ActsAs, message));
            Some(total)
        }
        Err(refusal) => {
            problems.push(problem(path, &entry.value, refusal));
            None
        }
    }
}

/// Reads the mock provider's own keys.
fn read_mock(entries: &[Entry], item: &Item<'_>, problems: &mut Problems) -> MockParams {
    let own: Vec<Entry> = entries.iter().filter(|entry| MOCK_PARAMS.field(&entry.key).is_some()).cloned().collect();
    let own = Node { at: item.node.at, content: Content::Map(own) };
    check_table(&MOCK_PARAMS, &own, &item.path, problems);
    let fields = Fields::new(&MOCK_PARAMS, &own, item.path.clone());
    let millis = |name| Duration::from_millis(fields.integer(name).unwrap_or(0));
    let default = MockParams::default();
    MockParams {
        latency: millis("latency_ms"),
        token_delay: millis("token_delay_ms"),
        response_text: fields.text("response_text"),
        vector_size: fields.integer("vector_size").unwrap_or(default.vector_size),
    }
}

/// Reads `prompt` and `role`, which belong together.
pub(super) fn read_prompt(model: &Fields<'_>, list: ModelList, problems: &mut Problems) -> Option<Prompt> {
    let role = model.choice("role");
    let mut warn = |item: &Item<'_>, message: &str| {
        problems.push(Problem::warning(item.path.as_str(), item.node.at, Code::NoEffect, message));
    };
    let no_messages = match list {
        ModelList::Chat => None,
        ModelList::Embedding => Some("embeddings have no messages to put a prompt before"),
        ModelList::Transcription => Some("speech has no messages to put a prompt before"),
    };
    if let Some(message) = no_messages {
        for name in ["prompt", "role"] {
            if let Some(item) = model.item(name) {
                warn(&item, message);
            }
        }
    } else if !model.has("prompt")
        && !model.has("prompt_ref")
        && let Some(item) = model.item("role")
    {
        warn(&item, "a role has no effect without `prompt`");
    }
    let text = model.text("prompt")?;
    let role = match role {
        None | Some("system") => PromptRole::System,
        Some("developer") => PromptRole::Developer,
        Some(_) => {
            let item = model.item("role")?;
            let message = "a prompt is sent as `system` or `developer`";
            problems.push(Problem::error(item.path, item.node.at, Code::Conflict, message));
            return None;
        }
    };
    Some(Prompt { text, role })
}

fn problem(path: &str, node: &Node, refusal: Refusal) -> Problem {
    Problem::error(path, node.at, refusal.code, refusal.message).maybe_hint(refusal.hint)
}

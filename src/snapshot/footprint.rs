//! What a compiled configuration would take in memory.
//!
//! A text of one MiB can name one long prompt in thousands of routes, and each of them keeps it ready to be sent. So the sum is
//! estimated, a little high, before anything is built.

use std::collections::HashMap;

use crate::config::{At, Code, Model, Problem, Provider, Route as RouteConfig};

use super::source::ProjectSource;

/// Most memory of one compiled project.
pub const COMPILED_BYTES_MAX: u64 = 256 << 20;
/// Structures of one route and of one target, names and counters included.
const ROUTE_BYTES: u64 = 1 << 10;
const TARGET_BYTES: u64 = 4 << 10;
/// Text of one request head beside address and key.
const HEAD_BYTES: u64 = 512;
/// Heads of one target, one an endpoint.
const HEADS: u64 = 5;
/// A number of the mock provider's vector, as text.
const VECTOR_NUMBER_BYTES: u64 = 12;

/// Refuses a project that would take more than [`COMPILED_BYTES_MAX`]; the problem stands at the route that takes most.
pub(super) fn too_large(project: &ProjectSource) -> Option<Problem> {
    let config = &project.config;
    let mut costs = HashMap::new();
    let mut cost_of = |index: &At<usize>| -> u64 {
        let cost = || config.models.get(index.value).map_or(0, |model| target_bytes(project, model));
        *costs.entry(index.value).or_insert_with(cost)
    };
    let mut sum = 0_u64;
    let mut largest: Option<(u64, &RouteConfig)> = None;
    for route in &config.routes {
        let targets: u64 = route.references().map(&mut cost_of).sum();
        let bytes = ROUTE_BYTES.saturating_add(targets);
        sum = sum.saturating_add(bytes);
        if largest.is_none_or(|(most, _)| bytes > most) {
            largest = Some((bytes, route));
        }
    }
    let (_, route) = largest.filter(|_| sum > COMPILED_BYTES_MAX)?;
    let message = format!(
        "the configuration would take about {} MiB when compiled, at most {} MiB are accepted; this route takes most: name fewer \
         models in routes, or shorten prompts and params",
        sum.div_ceil(1 << 20),
        COMPILED_BYTES_MAX >> 20
    );
    Some(route.name.refuse(Code::TooLarge, message))
}

fn target_bytes(project: &ProjectSource, model: &Model) -> u64 {
    let names = project.slug.len() + project.organization.len() + model.id.value.len() + model.name.len();
    // A prompt is kept in the three forms in which endpoints take it.
    let prompt = model.prompt.as_ref().map_or(0, |prompt| 3 * quoted_bytes(&prompt.text));
    let params: u64 = model.params.iter().map(|(name, value)| bytes(value.to_string().len() + 2 * name.len())).sum();
    let address = model.base_url.as_ref().map_or(0, |url| bytes(url.value.len()));
    let key = match &model.api_key {
        Some(name) => project.secrets.get(&name.value).map_or(0, |secret| bytes(secret.value.reveal().len())),
        None => project.provider_keys.iter().map(|key| bytes(key.value.reveal().len())).max().unwrap_or(0),
    };
    let mock = if model.provider == Provider::Mock {
        let text = model.mock.response_text.as_ref().map_or(0, String::len);
        bytes(text) + u64::from(model.mock.vector_size) * VECTOR_NUMBER_BYTES
    } else {
        0
    };
    TARGET_BYTES + 4 * bytes(names) + prompt + params + HEADS * (HEAD_BYTES + address + key) + mock
}

/// Length of a text as a JSON string.
fn quoted_bytes(text: &str) -> u64 {
    let escaped = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    });
    2 + escaped.sum::<u64>()
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::source;
    use super::*;

    /// So many routes that name one model with a prompt of so many bytes.
    fn text(routes: usize, prompt_bytes: usize) -> String {
        let names: String = (0..routes).map(|route| format!("  r{route}: {{chat_models: [m]}}\n")).collect();
        let prompt = "p".repeat(prompt_bytes);
        format!("chat_models: [{{model_id: m, model: mock/m, prompt: {prompt}}}]\nroutes:\n{names}")
    }

    #[test]
    fn long_prompt_in_many_routes_is_refused_before_it_is_built() {
        for (name, routes, prompt_bytes, refused) in
            [("many routes", 2_000, 1_000, false), ("long prompt", 1_000, 64_000, false), ("both", 2_000, 64_000, true)]
        {
            let problem = too_large(&source("p", "p", &text(routes, prompt_bytes)));
            assert_eq!(problem.is_some(), refused, "{name}: {problem:?}");
            if let Some(problem) = problem {
                assert_eq!((problem.code, &*problem.path), (Code::TooLarge, "routes.r0"), "{name}");
                assert!(problem.message.contains("at most 256 MiB"), "{}", problem.message);
            }
        }
    }

    #[test]
    fn escapes_count_as_they_are_written() {
        for text in ["plain", "\"quoted\"\\", "\u{1}\u{2}\n\t\r", "grüße"] {
            let written = serde_json::Value::from(text).to_string().len();
            assert_eq!(quoted_bytes(text), bytes(written), "{text:?}");
        }
    }
}

//! The usage of a recorded answer, by its provider's own form.
//!
//! Reads with serde_json alone. Each form is as its provider documents it; what is stated beside the input or the output is
//! counted into it.

use serde_json::{Map, Value};

/// Tokens by class; parts are within their whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reading {
    pub(super) input: i128,
    pub(super) output: i128,
    pub(super) cache_read: i128,
    pub(super) cache_write: i128,
    pub(super) cache_write_1h: i128,
    pub(super) audio_input: i128,
    pub(super) audio_output: i128,
    pub(super) reasoning: i128,
    pub(super) image_input: i128,
    pub(super) image_output: i128,
    /// Searches of the provider and pictures that it made: no tokens.
    pub(super) searches: i128,
    pub(super) images: i128,
}

/// The form of a usage object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    OpenAi,
    Anthropic,
    Gemini,
    Bedrock,
}

/// What an answer says about itself.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) usage: Option<(Form, Value)>,
    pub(super) model: Option<String>,
    /// The last whole response of the Responses wire.
    response: Option<Value>,
}

/// Reads an answer: one document, or the events of a stream in their order.
pub(super) fn read(events: &[Value]) -> Answer {
    let mut answer = Answer::default();
    for event in events {
        for place in ["", "/message", "/response", "/x_groq", "/metadata"] {
            let Some(object) = event.pointer(place) else { continue };
            if object["object"] == "response" {
                answer.response = Some(object.clone());
            }
            for name in ["model", "modelVersion"] {
                let model = object[name].as_str().filter(|model| !model.is_empty());
                answer.model = model.map(str::to_owned).or(answer.model.take());
            }
            for name in ["usage", "usageMetadata", "amazon-bedrock-invocationMetrics"] {
                if let Some(usage) = object.get(name).and_then(Value::as_object) {
                    answer.see(usage, event["type"].as_str().unwrap_or_default());
                }
            }
        }
    }
    answer
}

impl Answer {
    /// Adds what a response of the Responses wire shows of its searches and pictures beside its usage.
    pub(super) fn complete(&self, usage: &Value, reading: &mut Reading) {
        if let Some((beside, drawn)) = self.response.as_ref().map(made) {
            reading.searches = searches(usage).or(beside).unwrap_or(0);
            reading.images = reading.images.max(drawn);
        }
    }

    fn see(&mut self, usage: &Map<String, Value>, event: &str) {
        let has = |names: &[&str]| names.iter().any(|name| usage.contains_key(*name));
        let form = if has(&["promptTokenCount", "totalTokenCount"]) {
            Form::Gemini
        } else if has(&["inputTokens", "inputTokenCount"]) {
            Form::Bedrock
        } else if !has(&["prompt_tokens"])
            && (event.starts_with("message")
                || has(&["cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"]))
        {
            Form::Anthropic
        } else {
            Form::OpenAi
        };
        match &mut self.usage {
            // Anthropic states input at the begin and output at the end; of what stands twice the last counts.
            Some((Form::Anthropic, known)) => {
                let known = known.as_object_mut().unwrap();
                known.extend(usage.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())));
            }
            other => {
                let usage = Value::Object(usage.clone());
                if tokens(form, &usage).is_some() {
                    *other = Some((form, usage));
                }
            }
        }
    }
}

/// Reads the tokens of a usage object; none when it states neither input nor output.
pub(super) fn tokens(form: Form, usage: &Value) -> Option<Reading> {
    match form {
        Form::OpenAi => openai(usage),
        Form::Anthropic => anthropic(usage),
        Form::Gemini => Some(gemini(usage)),
        Form::Bedrock => Some(bedrock(usage)),
    }
}

/// The largest of the counts at these places: those that stand twice say the same.
fn count(usage: &Value, places: &[&str]) -> Option<i128> {
    places.iter().filter_map(|place| usage.pointer(place)?.as_u64()).max().map(i128::from)
}

fn openai(usage: &Value) -> Option<Reading> {
    let of = |places: &[&str]| count(usage, places).unwrap_or(0);
    let output = count(usage, &["/completion_tokens", "/output_tokens"]);
    let total = count(usage, &["/total_tokens"]);
    // Voyage states the total of an embedding alone.
    let input = count(usage, &["/prompt_tokens", "/input_tokens"]).or(total.filter(|_| output.is_none()))?;
    let mut reading = Reading {
        input,
        output: output.unwrap_or(0),
        cache_read: of(&[
            "/prompt_tokens_details/cached_tokens",
            "/input_tokens_details/cached_tokens",
            "/prompt_cache_hit_tokens",
            "/cached_tokens",
            "/num_cached_tokens",
        ]),
        cache_write: of(&["/prompt_tokens_details/cache_write_tokens", "/input_tokens_details/cache_write_tokens"]),
        cache_write_1h: 0,
        audio_input: of(&["/prompt_tokens_details/audio_tokens"]),
        audio_output: of(&["/completion_tokens_details/audio_tokens"]),
        reasoning: of(&[
            "/completion_tokens_details/reasoning_tokens",
            "/output_tokens_details/reasoning_tokens",
            "/reasoning_tokens",
        ]),
        image_input: of(&["/prompt_tokens_details/image_tokens", "/input_tokens_details/image_tokens"]),
        image_output: of(&["/completion_tokens_details/image_tokens", "/output_tokens_details/image_tokens"]),
        searches: searches(usage).unwrap_or(0),
        images: of(&["/server_side_tool_usage_details/image_generation_calls"]),
    };
    // xAI states reasoning beside the output in Chat, Mistral sound beside the input: the total shows it.
    let apart = total.unwrap_or(0) - reading.input - reading.output;
    if apart > 0 && apart == reading.reasoning {
        reading.output += apart;
    } else if apart > 0 && apart == reading.audio_input {
        reading.input += apart;
    }
    Some(reading)
}

/// How often the provider searched; none where the usage says nothing of it.
fn searches(usage: &Value) -> Option<i128> {
    let of = |place: &str| count(usage, &[place]);
    let xai = ["web_search_calls", "x_search_calls"].map(|name| of(&format!("/server_side_tool_usage_details/{name}")));
    let xai = xai.into_iter().flatten().reduce(|web, own| web + own);
    of("/server_tool_use/web_search_requests")
        .or_else(|| of("/server_tool_use_details/web_search_requests"))
        .or_else(|| of("/num_search_queries"))
        .or(xai)
}

/// Searches and pictures of a response that states them beside its usage, or lists its calls.
fn made(response: &Value) -> (Option<i128>, i128) {
    let items = || response["output"].as_array().into_iter().flatten();
    let is_search = |item: &&Value| {
        let kind = item["type"].as_str().unwrap_or_default();
        let action = item.pointer("/action/type").and_then(Value::as_str).unwrap_or("search");
        ["web_search_call", "x_search_call"].contains(&kind) && action == "search"
    };
    let called = items().filter(is_search).count();
    let drawn = items().filter(|item| item["type"] == "image_generation_call").count();
    let stated = count(response, &["/tool_usage/web_search/num_requests"]);
    (stated.or(i128::try_from(called).ok()), i128::try_from(drawn).unwrap())
}

fn anthropic(usage: &Value) -> Option<Reading> {
    let of = |place: &str| count(usage, &[place]).unwrap_or(0);
    let hour = of("/cache_creation/ephemeral_1h_input_tokens");
    let written = of("/cache_creation_input_tokens").max(of("/cache_creation/ephemeral_5m_input_tokens") + hour);
    let read = of("/cache_read_input_tokens");
    Some(Reading {
        input: count(usage, &["/input_tokens"])? + written + read,
        output: of("/output_tokens"),
        cache_read: read,
        cache_write: written,
        cache_write_1h: hour,
        searches: searches(usage).unwrap_or(0),
        ..Reading::default()
    })
}

fn gemini(usage: &Value) -> Reading {
    let of = |place: &str| count(usage, &[place]).unwrap_or(0);
    let by_kind = |place: &str, kinds: &[&str]| {
        let parts = usage[place].as_array().into_iter().flatten();
        let parts = parts.filter(|part| part["modality"].as_str().is_some_and(|kind| kinds.contains(&kind)));
        i128::from(parts.filter_map(|part| part["tokenCount"].as_u64()).sum::<u64>())
    };
    let heard = |place: &str| by_kind(place, &["AUDIO"]);
    let seen = |place: &str| by_kind(place, &["IMAGE", "DOCUMENT"]);
    let thought = of("/thoughtsTokenCount");
    let input = of("/promptTokenCount") + of("/toolUsePromptTokenCount");
    let read = of("/cachedContentTokenCount");
    let output = of("/candidatesTokenCount") + thought;
    let audio_output = heard("candidatesTokensDetails");
    Reading {
        input,
        output,
        cache_read: read,
        audio_input: heard("promptTokensDetails").min(input - read),
        audio_output,
        reasoning: thought.min(output - audio_output),
        image_input: seen("promptTokensDetails"),
        image_output: seen("candidatesTokensDetails"),
        ..Reading::default()
    }
}

fn bedrock(usage: &Value) -> Reading {
    let of = |places: &[&str]| count(usage, places).unwrap_or(0);
    let read = of(&["/cacheReadInputTokens", "/cacheReadInputTokenCount"]);
    let written = of(&["/cacheWriteInputTokens", "/cacheWriteInputTokenCount"]);
    Reading {
        input: of(&["/inputTokens", "/inputTokenCount"]) + read + written,
        output: of(&["/outputTokens", "/outputTokenCount"]),
        cache_read: read,
        cache_write: written,
        ..Reading::default()
    }
}

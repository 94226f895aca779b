//! A checked project: its models and routes.

use std::time::Duration;

use crate::base::{NanoUsd, OnCancel, OnExhausted, PicoUsd};

use super::limits::RouteLimit;
use super::problem::At;

/// One project configuration, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Project {
    /// Every model of every list, in the order of the document.
    pub models: Vec<Model>,
    /// Every route, in the order of the document.
    pub routes: Vec<Route>,
    /// `prices`, in the order of the document; no two of one model.
    pub prices: Vec<PriceEntry>,
    /// Whose credentials are used; none leaves it to the project's setting.
    pub mode: Option<Mode>,
    /// Whether credits pay when an own key fails, in [`Mode::Hybrid`]. Default true.
    pub allow_paid_fallback: Option<bool>,
}

/// Whose credentials are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Own ones where there are some, else those of the platform.
    #[default]
    Hybrid,
    /// Own ones only.
    ApiKeys,
    /// Those of the platform only, paid from credits.
    Credits,
}

/// The list in which a model is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelList {
    /// `chat_models`.
    Chat,
    /// `embedding_models`.
    Embedding,
    /// `transcription_models`.
    Transcription,
}

impl Route {
    /// The models of every list of the route, in the order of the lists.
    pub fn references(&self) -> impl Iterator<Item = &At<usize>> {
        self.chat.iter().chain(&self.embedding).chain(&self.transcription)
    }
}

impl ModelList {
    /// The key of the list, in the document and in a route.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Chat => "chat_models",
            Self::Embedding => "embedding_models",
            Self::Transcription => "transcription_models",
        }
    }
}

/// One entry of a model list.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The list it stands in.
    pub list: ModelList,
    /// `model_id`: unique in the project, ASCII.
    pub id: At<String>,
    /// Who serves it.
    pub provider: Provider,
    /// Name of the model as the provider knows it.
    pub name: String,
    /// Name of the secret that holds the API key.
    pub api_key: Option<At<String>>,
    /// Address instead of the provider's own, without a trailing slash.
    pub base_url: Option<At<String>>,
    /// Defaults for the request body, in the order of the document. The mock provider's own keys are not among them.
    pub params: Vec<(String, serde_json::Value)>,
    /// How the mock provider answers. Meaningful for [`Provider::Mock`] only.
    pub mock: MockParams,
    /// Text put before the client's messages.
    pub prompt: Option<Prompt>,
    /// Timeouts written at the model: they win over the route's.
    pub timeouts: TimeoutsPatch,
    /// Whether the one resend after a reused connection closed before any response byte stays silent. It is made in any
    /// case; without this it counts as an attempt and as a reset. Default `false`.
    pub retry_safe: bool,
    /// Most tokens of one answer, 1 or more. Default: the price catalogue, else 4,096.
    pub max_output_tokens: Option<u64>,
    /// How a stream that its client left is billed. Default `estimate`.
    pub on_cancel: OnCancel,
    /// Prices written at the model: they win over every other source.
    pub costs: Costs,
}

/// Prices as written at one place; what is absent comes from the next place. 0 is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Costs {
    /// Tokens of a prompt.
    pub input: Option<PicoUsd>,
    /// Tokens of an answer.
    pub output: Option<PicoUsd>,
    /// Tokens of a prompt read from the provider's cache.
    pub cached_input: Option<PicoUsd>,
    /// Tokens of a prompt written to the provider's cache for five minutes.
    pub cache_write_5m: Option<PicoUsd>,
    /// Tokens of a prompt written to the provider's cache for an hour.
    pub cache_write_1h: Option<PicoUsd>,
    /// Tokens of a prompt that are pictures.
    pub image_input: Option<PicoUsd>,
    /// Tokens of an answer that are pictures.
    pub image_output: Option<PicoUsd>,
}

/// One entry of `prices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceEntry {
    /// `model`: `provider/name`, where the name may end in `*`.
    pub model: At<String>,
    /// Who serves it.
    pub provider: Provider,
    /// The prices; input and output are there.
    pub costs: Costs,
    /// What each request costs beside its tokens.
    pub per_request: NanoUsd,
    /// What each picture in an answer costs beside its tokens.
    pub per_image: NanoUsd,
    /// What each search of the provider costs.
    pub per_web_search: NanoUsd,
    /// What each minute of sound costs beside them.
    pub per_audio_minute: NanoUsd,
}

impl PriceEntry {
    /// The name of the model, or what it begins with.
    #[must_use]
    pub fn name(&self) -> &str {
        self.model.value.split_once('/').map_or("", |(_, name)| name.trim())
    }

    /// Whether the entry holds for this model, and how closely: the length of what fits, above all for a whole name.
    #[must_use]
    pub fn fits(&self, provider: Provider, model: &str) -> Option<usize> {
        let fit = match self.name().strip_suffix('*') {
            Some(start) => model.starts_with(start).then_some(start.len()),
            None => (self.name() == model).then_some(usize::MAX),
        };
        fit.filter(|_| self.provider == provider)
    }
}

/// How the mock provider answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockParams {
    /// Wait before the first byte of the answer.
    pub latency: Duration,
    /// Wait between two events of a stream.
    pub token_delay: Duration,
    /// Text of the answer; the mock provider's own when absent.
    pub response_text: Option<String>,
    /// Numbers in one embedding, 1 to 8,192.
    pub vector_size: u32,
}

impl Default for MockParams {
    fn default() -> Self {
        Self { latency: Duration::ZERO, token_delay: Duration::ZERO, response_text: None, vector_size: 1_536 }
    }
}

/// A text that goes before the client's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The text, at most 64 KiB.
    pub text: String,
    /// The role under which it is sent.
    pub role: PromptRole,
}

/// Role of an injected prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PromptRole {
    /// `system`.
    #[default]
    System,
    /// `developer`.
    Developer,
}

impl PromptRole {
    /// The role as it stands in a message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
        }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Name: the second part of `project/route`.
    pub name: At<String>,
    /// Chat models, as indices into [`Project::models`].
    pub chat: Vec<At<usize>>,
    /// Embedding models, as indices into [`Project::models`].
    pub embedding: Vec<At<usize>>,
    /// Transcription models, as indices into [`Project::models`].
    pub transcription: Vec<At<usize>>,
    /// Timeouts written at the route.
    pub timeouts: TimeoutsPatch,
    /// Its limits.
    pub limits: Vec<RouteLimit>,
    /// Most tokens of one answer, 1 or more. Default: the model's.
    pub max_output_tokens: Option<u64>,
    /// Whether the cap is written into requests to providers. Default: where a limit of money or tokens can apply.
    pub enforce_output_cap: Option<bool>,
    /// What happens to a stream that passes its reservation when its limits are used up. Default `finish`.
    pub on_exhausted: OnExhausted,
}

/// Who serves a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// OpenAI, and everything that speaks its wire at another address.
    OpenAi,
    /// Groq.
    Groq,
    /// OpenRouter.
    OpenRouter,
    /// DeepSeek.
    DeepSeek,
    /// Mistral AI.
    Mistral,
    /// The provider inside the gateway, for tests and first steps.
    Mock,
}

impl Provider {
    /// Every provider of this version.
    pub const ALL: [Self; 6] = [Self::OpenAi, Self::Groq, Self::OpenRouter, Self::DeepSeek, Self::Mistral, Self::Mock];

    /// The name in `model: provider/name`, in metrics and in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Groq => "groq",
            Self::OpenRouter => "openrouter",
            Self::DeepSeek => "deepseek",
            Self::Mistral => "mistralai",
            Self::Mock => "mock",
        }
    }

    /// The provider's own address, without a trailing slash; none for the mock provider.
    #[must_use]
    pub fn default_base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1"),
            Self::Groq => Some("https://api.groq.com/openai/v1"),
            Self::OpenRouter => Some("https://openrouter.ai/api/v1"),
            Self::DeepSeek => Some("https://api.deepseek.com/v1"),
            Self::Mistral => Some("https://api.mistral.ai/v1"),
            Self::Mock => None,
        }
    }
}

/// Timeouts as written at one place; what is absent comes from the next place or the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeoutsPatch {
    /// TCP and TLS.
    pub connect: Option<Duration>,
    /// Request sent until the first response byte.
    pub first_byte: Option<Duration>,
    /// Longest gap between two content events.
    pub idle: Option<Duration>,
    /// All attempts together.
    pub total: Option<Duration>,
}

/// The timeouts that hold for one target of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS. Default 3 s.
    pub connect: Duration,
    /// Request sent until the first response byte. Default 120 s.
    pub first_byte: Duration,
    /// Longest gap between two content events; comments and pings do not count. Default 60 s.
    pub idle: Duration,
    /// All attempts together. Default 30 minutes.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(1_800),
        }
    }
}

impl Timeouts {
    /// Takes the model's value, else the route's, else the default.
    ///
    /// Then lowers what cannot be reached: `connect` <= `first_byte` <= `total` and `idle` <= `total` always hold.
    #[must_use]
    pub fn resolve(route: &TimeoutsPatch, model: &TimeoutsPatch) -> Self {
        let default = Self::default();
        let total = model.total.or(route.total).unwrap_or(default.total);
        let first_byte = model.first_byte.or(route.first_byte).unwrap_or(default.first_byte).min(total);
        let connect = model.connect.or(route.connect).unwrap_or(default.connect);
        let idle = model.idle.or(route.idle).unwrap_or(default.idle);
        Self { connect: connect.min(first_byte), first_byte, idle: idle.min(total), total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_timeouts_win_over_the_route_and_total_caps_all() {
        let seconds = |s| Some(Duration::from_secs(s));
        let route = TimeoutsPatch { connect: seconds(2), total: seconds(10), ..TimeoutsPatch::default() };
        let model = TimeoutsPatch { connect: seconds(1), ..TimeoutsPatch::default() };
        let got = Timeouts::resolve(&route, &model);
        assert_eq!(Some(got.connect), seconds(1));
        assert_eq!(Some(got.first_byte), seconds(10));
        assert_eq!(Some(got.idle), seconds(10));
        assert_eq!(Some(got.total), seconds(10));
        let none = TimeoutsPatch::default();
        assert_eq!(Timeouts::resolve(&none, &none), Timeouts::default());
    }
}

//! The keys of a project document.

use super::limit_tables::{BUDGET, CONCURRENCY, COUNT_MAX, DURATION, RATE, TOKENS};
use super::table::{Field, Kind, Table};
use super::words;

/// Most entries of one model list.
const MODELS_MAX: usize = 5_000;
/// Most routes of one project.
const ROUTES_MAX: usize = 2_000;
/// Most bytes of a prompt.
const PROMPT_BYTES_MAX: usize = 64 << 10;
const OUTPUT_TOKENS: Kind = Kind::Int { min: 1, max: COUNT_MAX };
const NO_PLUGINS: &str = "Millrace loads no plugins; leave the map empty";

pub(super) static PROJECT: Table = Table {
    name: "project",
    doc: "One project: models, and the routes that clients call as `project/route`.",
    fields: &[
        Field::new(
            "routes",
            Kind::Map { names: &words::ROUTE_NAME, of: &Kind::Table(&ROUTE), max: ROUTES_MAX },
            "Routes by name. At most 2,000.",
        ),
        Field::new("chat_models", MODELS, "Models for chat."),
        Field::new("embedding_models", MODELS, "Models for embeddings."),
        Field::new(
            "transcription_models",
            MODELS,
            "Models for speech to text.",
        ),
        Field::unsupported("guardrails", "Checks of requests and answers."),
        Field::unsupported("routing", "Rules that choose a model by the request."),
        Field::unsupported("mcp_servers", "Tool servers."),
        Field::unsupported("cache", "Address of a cache store."),
        Field::new(
            "mode",
            Kind::Choice(&["hybrid", "api-keys", "credits"]),
            "Whose credentials are used: `api-keys` own ones, `credits` those of the platform, `hybrid` own ones where there are \
             some, else the platform's. Wins over the project's setting, which is `hybrid` by default.",
        ),
        Field::new(
            "allow_paid_fallback",
            Kind::Bool,
            "With `hybrid`: whether the platform's credential serves, paid from credits, when the provider refuses an own key \
             (401 or 403). Default true.",
        )
        .default("true"),
        Field::new(
            "prices",
            Kind::List { of: &Kind::Table(&PRICE), max: MODELS_MAX },
            "Prices of models, instead of those of the price catalogue.",
        ),
        Field::empty("plugins", &["extension"], NO_PLUGINS, "Accepted only when empty: Millrace loads no plugins."),
    ],
};

const MODELS: Kind = Kind::List { of: &Kind::Table(&MODEL), max: MODELS_MAX };

pub(super) static MODEL: Table = Table {
    name: "model",
    doc: "One model of one provider.",
    fields: &[
        Field::new(
            "model_id",
            Kind::Word(&words::MODEL_ID),
            "Name by which routes refer to the model. Unique in the project, 1 to 128 printable ASCII characters.",
        )
        .required(),
        Field::new(
            "model",
            Kind::Word(&words::MODEL_NAME),
            "`provider/name`. Providers: `openai`, `groq`, `openrouter`, `deepseek`, `mistralai`, `mock`. Anything that speaks the OpenAI wire: `openai/name` with `credentials.base_url`.",
        )
        .required(),
        Field::new(
            "credentials",
            Kind::Table(&CREDENTIALS),
            "Address and key of the provider.",
        ),
        Field::new(
            "params",
            Kind::Json,
            "Defaults for the request body; what the client sends wins. For `mock/*`: `latency_ms`, `token_delay_ms`, `response_text`, `vector_size`.",
        ),
        Field::new(
            "prompt",
            Kind::Text {
                bytes_max: PROMPT_BYTES_MAX,
            },
            "Text put before the client's messages. At most 64 KiB.",
        ),
        Field::unsupported("prompt_ref", "Name of a text in the prompt catalogue."),
        Field::new(
            "role",
            Kind::Choice(&["system", "developer", "user", "assistant"]),
            "Role of the prompt: `system` or `developer`. Default `system`.",
        ),
        Field::new(
            "timeouts",
            Kind::Table(&TIMEOUTS),
            "Timeouts of this model; they win over the route's.",
        ),
        Field::new(
            "retry_safe",
            Kind::Bool,
            "A request on a reused connection that closed before any byte of the answer is sent once more. Default false: that counts as an attempt and a reset; true: it stays silent.",
        )
        .default("false"),
        Field::unsupported("retry_attempts", "Retries of this model."),
        Field::new(
            "on_cancel",
            Kind::Choice(&["estimate", "drain", "free"]),
            "How a stream that the client left is billed: `estimate` what arrived, `drain` it to its end, or `free`. Default \
             `estimate`.",
        )
        .default("estimate"),
        Field::unsupported("circuit_breaker", "When the model is skipped."),
        Field::new(
            "max_output_tokens",
            OUTPUT_TOKENS,
            "Most tokens of one answer, 1 or more: what a request may reserve. Default: the price catalogue, else 4,096.",
        ),
        Field::new(
            "input_cost_per_million_tokens",
            Kind::Money,
            "USD for a million tokens of prompts, at most 6 decimals; 0 is free. Default: `prices`, else the price catalogue.",
        ),
        Field::new(
            "output_cost_per_million_tokens",
            Kind::Money,
            "USD for a million tokens of answers. Default: `prices`, else the price catalogue.",
        ),
        Field::new(
            "input_cached_cost_per_million_tokens",
            Kind::Money,
            "USD for a million tokens of prompts that the provider's cache held. Default: `prices`, else the price catalogue, else \
             the input price.",
        ),
        Field::new(
            "input_cache_creation_5m_cost_per_million_tokens",
            Kind::Money,
            "USD for a million tokens of prompts written to the provider's cache for five minutes. Default as above.",
        ),
        Field::new(
            "input_cache_creation_1h_cost_per_million_tokens",
            Kind::Money,
            "USD for a million tokens of prompts written to the provider's cache for an hour. Default as above, and never below \
             the price for five minutes.",
        ),
    ],
};

pub(super) static PRICE: Table = Table {
    name: "price",
    doc: "What a model costs, in USD with at most 6 decimals. 0 is free.",
    fields: &[
        Field::new(
            "model",
            Kind::Word(&words::MODEL_NAME),
            "`provider/name`; the name may end in `*`. A whole name wins, then the longest start.",
        )
        .required(),
        Field::new("input", Kind::Money, "A million tokens of prompts.").required(),
        Field::new("output", Kind::Money, "A million tokens of answers.").required(),
        Field::new(
            "cached_input",
            Kind::Money,
            "A million tokens of prompts that the provider's cache held. Default: the input price.",
        ),
        Field::new(
            "cache_write_5m",
            Kind::Money,
            "A million tokens of prompts written to the provider's cache for five minutes. Default: the input price.",
        ),
        Field::new(
            "cache_write_1h",
            Kind::Money,
            "A million tokens of prompts written to the provider's cache for an hour. Default: the dearer of the input price and \
             `cache_write_5m`.",
        ),
        Field::new(
            "image_input",
            Kind::Money,
            "A million tokens of pictures in prompts, where the provider counts them apart. Default: the input price.",
        ),
        Field::new(
            "image_output",
            Kind::Money,
            "A million tokens of pictures in answers, where the provider counts them apart. Default: the output price.",
        ),
        Field::new("per_request", Kind::Money, "Each request, beside its tokens. Default 0.").default("0"),
        Field::new(
            "per_audio_minute",
            Kind::Money,
            "Each minute of sound that a transcription hears, beside its tokens, by the millisecond. Default 0.",
        )
        .default("0"),
        Field::new("per_image", Kind::Money, "Each picture in an answer, beside its tokens. Default 0.").default("0"),
        Field::new("per_web_search", Kind::Money, "Each search that the provider makes for an answer. Default 0.")
            .default("0"),
    ],
};

static CREDENTIALS: Table = Table {
    name: "credentials",
    doc: "Address and key of the provider.",
    fields: &[
        Field::new(
            "api_key",
            Kind::Secret,
            "`!secret NAME`: name of the secret that holds the key. With `base_url` and without a key no `Authorization` is sent.",
        ),
        Field::new(
            "base_url",
            Kind::Word(&words::BASE_URL),
            "Address instead of the provider's own, such as `http://vllm.internal:8000/v1`.",
        ),
        Field::unsupported("api_version", "Version of the Azure API."),
        Field::unsupported("azure_ad_token", "Token of Azure."),
    ],
};

/// The keys of `params` that the mock provider reads itself.
pub(super) static MOCK_PARAMS: Table = Table {
    name: "mock_params",
    doc: "How the mock provider answers.",
    fields: &[
        Field::new("latency_ms", Kind::Int { min: 0, max: 600_000 }, "Wait before the first byte, in milliseconds.")
            .default("0"),
        Field::new(
            "token_delay_ms",
            Kind::Int { min: 0, max: 60_000 },
            "Wait between two events of a stream, in milliseconds.",
        )
        .default("0"),
        Field::new("response_text", Kind::Text { bytes_max: PROMPT_BYTES_MAX }, "Text of the answer."),
        Field::new("vector_size", Kind::Int { min: 1, max: 8_192 }, "Numbers in one embedding.").default("1536"),
    ],
};

pub(super) static TIMEOUTS: Table = Table {
    name: "timeouts",
    doc: "How long to wait for a provider. `connect` <= `first_byte` <= `total`, `idle` <= `total`.",
    fields: &[
        Field::new("connect", Kind::Duration { min: "10 ms", max: "30 s" }, "TCP and TLS. 10 ms to 30 s, default 3 s."),
        Field::new(
            "first_byte",
            Kind::Duration { min: "100 ms", max: "10 minutes" },
            "From the request until the first byte of the answer. 100 ms to 10 minutes, default 120 s.",
        ),
        Field::new(
            "idle",
            Kind::Duration { min: "1 s", max: "10 minutes" },
            "Longest gap between two events with content. 1 s to 10 minutes, default 60 s.",
        ),
        Field::new(
            "total",
            Kind::Duration { min: "1 s", max: "2 hours" },
            "All attempts together. 1 s to 2 hours, default 30 minutes.",
        ),
    ],
};

pub(super) static ROUTE: Table = Table {
    name: "route",
    doc: "What clients call as `project/route`.",
    fields: &[
        Field::new("chat_models", MODEL_IDS, "`model_id` of the chat model that serves the route."),
        Field::new("embedding_models", MODEL_IDS, "`model_id` of the embedding model that serves the route."),
        Field::new(
            "transcription_models",
            MODEL_IDS,
            "`model_id` of the model that turns speech into text for the route.",
        ),
        Field::new(
            "timeouts",
            Kind::Table(&TIMEOUTS),
            "Timeouts of every model of this route that has none of its own.",
        ),
        Field::unsupported("routing", "Rule that chooses a model by the request."),
        Field::unsupported("balancing", "How requests are shared among models."),
        Field::unsupported("fallback", "Which model takes over."),
        Field::unsupported("retries", "When and how often to try again."),
        Field::unsupported("circuit_breaker", "When a model is skipped."),
        Field::unsupported("guardrails", "Checks of requests and answers."),
        Field::unsupported("caching", "Whether answers are kept."),
        Field::new("rate_limiting", Kind::Table(&RATE), "Limit of requests."),
        Field::new("token_limiting", Kind::Table(&TOKENS), "Limits of tokens of requests and of answers."),
        Field::new(
            "budget_limiting",
            Kind::Table(&BUDGET),
            "Limit of money; every model of the route needs a price.",
        ),
        Field::new("duration_limiting", Kind::Table(&DURATION), "Limit of seconds of audio; needs `transcription_models`."),
        Field::new("concurrency_limiting", Kind::Table(&CONCURRENCY), "Limit of open requests."),
        Field::new(
            "max_output_tokens",
            OUTPUT_TOKENS,
            "Most tokens of one answer, 1 or more; the lowest of route, model and request counts. Default: the model's.",
        ),
        Field::new(
            "enforce_output_cap",
            Kind::Bool,
            "Whether the cap is written into requests to providers. Default: where a limit of money or tokens can apply. false \
             weakens the bound of what can be overspent.",
        ),
        Field::new(
            "on_exhausted_midstream",
            Kind::Choice(&["finish", "cut"]),
            "What happens to a stream that passes what was reserved for it when its limits are used up: `finish` or `cut`. \
             Default `finish`.",
        )
        .default("finish"),
        Field::unsupported("stream_obfuscation", "Padding of events."),
        Field::unsupported("response_model", "Which model name an answer shows."),
        Field::unsupported("mcp_servers", "Tool servers."),
        Field::empty("plugins", &["extension"], NO_PLUGINS, "Accepted only when empty: Millrace loads no plugins."),
    ],
};

const MODEL_IDS: Kind = Kind::List { of: &Kind::Word(&words::ID), max: MODELS_MAX };

//! What one request asks of the mock, script included.

use serde::Deserialize;

use super::script::Script;
use crate::serve::{Delay, Request};

/// The endpoints of the OpenAI dialect that the mock answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Embeddings,
    Responses,
}

impl Endpoint {
    /// The endpoint of a path; a base path before `/v1` is allowed.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (_, rest) = path.rsplit_once("/v1/")?;
        match rest {
            "chat/completions" => Some(Self::Chat),
            "completions" => Some(Self::Completions),
            "embeddings" => Some(Self::Embeddings),
            "responses" => Some(Self::Responses),
            _ => None,
        }
    }
}

/// The fields of a request body that the mock reads; all others are skipped.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Fields {
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(crate) encoding_format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

impl Fields {
    /// Reads a JSON body. A repeated key is an error, since two readers could differ about it.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("malformed body: {error}"))
    }
}

/// One request with its script.
pub(crate) struct Ask<'a> {
    pub(crate) script: Script<'a>,
    pub(crate) endpoint: Endpoint,
    /// Whether a stream was asked for, of an endpoint that has streams.
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) base64: bool,
    pub(crate) body: &'a [u8],
    /// No chunks in the answer, since the client speaks HTTP/1.0.
    pub(crate) http_10: bool,
    pub(crate) connection: u64,
    pub(crate) request: u64,
    pub(crate) seed: u64,
    pub(crate) options: Options,
}

/// The options that all scripts share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Wait before the head.
    pub(crate) latency: Delay,
    /// Wait between head and first event, in milliseconds.
    pub(crate) first_ms: u64,
    /// Bytes of a plain body, at least.
    pub(crate) size: usize,
    /// Content events of a stream.
    pub(crate) events: u64,
    /// Time between two content events.
    pub(crate) gap: Delay,
    /// Bytes of one event with its blank line, at least.
    pub(crate) bytes: usize,
    /// Whether each content event carries its time of sending.
    pub(crate) stamp: bool,
    /// Whether a plain body goes out chunked.
    pub(crate) chunked: bool,
    /// Whether the answer says `connection: close` and closes.
    pub(crate) close: bool,
    /// Whether the content repeats what was asked.
    pub(crate) echo: bool,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) reasoning_tokens: u64,
    /// Numbers in one embedding.
    pub(crate) dims: usize,
}

impl Options {
    /// Reads the shared options. Streams of `paced` scripts have 100 events 10 ms apart by default, others 20 at once.
    pub(crate) fn read(script: &Script<'_>, stream: bool, paced: bool) -> Result<Self, String> {
        let events = script.number("events", if paced { 100 } else { 20 }, 100_000_000)?;
        let completion_tokens = if stream { events } else { 20 };
        Ok(Self {
            latency: script.delay("latency", Delay::NONE)?,
            first_ms: script.number("first_ms", 0, 3_600_000)?,
            size: script.number("size", 600, 256 << 20)?,
            events,
            gap: script.delay(
                "gap",
                if paced {
                    Delay::Fixed(10.0)
                } else {
                    Delay::NONE
                },
            )?,
            bytes: script.number("bytes", 250, 64 << 20)?,
            stamp: script.has("stamp"),
            chunked: script.has("chunked"),
            close: script.has("close"),
            echo: script.has("echo"),
            prompt_tokens: script.number("prompt", 100, u64::MAX)?,
            completion_tokens: script.number("completion", completion_tokens, u64::MAX)?,
            cached_tokens: script.number("cached", 0, u64::MAX)?,
            reasoning_tokens: script.number("reasoning", 0, u64::MAX)?,
            dims: script.number("dims", 16, 65_536)?,
        })
    }
}

impl<'a> Ask<'a> {
    /// Puts a request and its script together.
    pub(crate) fn new(
        request: &'a Request,
        endpoint: Endpoint,
        fields: &'a Fields,
    ) -> Result<Self, String> {
        let script = Script::parse(fields.model.as_deref().unwrap_or_default())?;
        let stream = fields.stream.unwrap_or(false) && endpoint != Endpoint::Embeddings;
        let paced = !matches!(script.name, super::script::Name::Fault(_));
        let options = Options::read(&script, stream, paced)?;
        let include_usage = fields
            .stream_options
            .as_ref()
            .and_then(|options| options.include_usage)
            .unwrap_or(false);
        Ok(Self {
            script,
            endpoint,
            stream,
            include_usage,
            base64: fields.encoding_format.as_deref() == Some("base64"),
            body: request.body(),
            http_10: request.is_http_10(),
            connection: 0,
            request: 0,
            seed: 0,
            options,
        })
    }

    /// Input and output tokens that an honest answer claims.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let output = if self.endpoint == Endpoint::Embeddings {
            0
        } else {
            self.options.completion_tokens
        };
        (self.options.prompt_tokens, output)
    }
}

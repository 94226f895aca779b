//! What one request asks of the mock, script included.

use super::script::Script;
use crate::serve::{Delay, Endpoint, Fields, Request};

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
    /// Tokens of the answer that are pictures.
    pub(crate) picture_tokens: u64,
    /// Searches beside the tokens.
    pub(crate) searches: u64,
    /// Seconds that a transcription says it heard.
    pub(crate) seconds: u64,
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
            gap: script.delay("gap", if paced { Delay::Fixed(10.0) } else { Delay::NONE })?,
            bytes: script.number("bytes", 250, 64 << 20)?,
            stamp: script.has("stamp"),
            chunked: script.has("chunked"),
            close: script.has("close"),
            echo: script.has("echo"),
            prompt_tokens: script.number("prompt", 100, u64::MAX)?,
            completion_tokens: script.number("completion", completion_tokens, u64::MAX)?,
            cached_tokens: script.number("cached", 0, u64::MAX)?,
            reasoning_tokens: script.number("reasoning", 0, u64::MAX)?,
            picture_tokens: script.number("pictures", 0, u64::MAX)?,
            searches: script.number("searches", 0, u64::MAX)?,
            seconds: script.number("seconds", 1, u64::MAX)?,
            dims: script.number("dims", 16, 65_536)?,
        })
    }
}

impl<'a> Ask<'a> {
    /// Puts a request and its script together.
    pub(crate) fn new(request: &'a Request, endpoint: Endpoint, fields: &'a Fields) -> Result<Self, String> {
        let script = Script::parse(fields.model.as_deref().unwrap_or_default())?;
        let stream = fields.stream.unwrap_or(false) && endpoint != Endpoint::Embeddings;
        let paced = !matches!(script.name, super::script::Name::Fault(_));
        let options = Options::read(&script, stream, paced)?;
        let include_usage = fields.includes_usage();
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
        // A transcription states seconds instead.
        if self.endpoint == Endpoint::Transcriptions {
            return (0, 0);
        }
        let output = if self.endpoint == Endpoint::Embeddings { 0 } else { self.options.completion_tokens };
        (self.options.prompt_tokens, output)
    }
}

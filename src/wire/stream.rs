//! Watches a relayed stream: usage, end, failure.
//!
//! The state machine decides how a stream may end, so that a client never takes half an answer for a whole one: an end
//! marker is only relayed or added when the provider ended properly (reference: wire-conventions 3.1, faults F-13..F-20).
//! An event that it cannot read is relayed unread: a client may know more than we do.

use super::chunk::{self, Chunk, Frame};
use super::endpoint::Endpoint;
use super::error::StreamErrorAt;
use super::event::{self, Event};
use super::json::Scanner;
use super::json_place::JsonFault;
use super::made::{MadeSoFar, read_response};
use super::said::said_chars;
use super::transcript::{self, Said};
use super::upstream_error::{Meaning, view_upstream_error};
use crate::base::{Finish, TokenCounts};

/// What to do with one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Relay its bytes.
    Pass,
    /// Relay it with the cost in its usage, which is the final one so far. Only after [`StreamWatch::tell_usage`].
    PassUsage,
    /// Keep it back: a usage chunk that we asked for and the client did not.
    Hide,
    /// Keep it back: an end marker that this wire does not have, or anything after the end.
    Drop,
    /// Keep it back: the provider reports a failure. End the stream with our own error event, then close.
    Fail(Meaning),
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Properly; nothing is to be written.
    Clean,
    /// Complete, but without its end marker: write `data: [DONE]` and a blank line.
    AddDone,
    /// Cut off: write an error event, no end marker.
    Truncated,
    /// The provider said so: in the wire's own final event, which was relayed, or by [`Action::Fail`]. Write nothing
    /// more; the request failed.
    Failed,
}

/// How far the terminal events have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Done,
    Failed,
}

/// The state of one stream.
#[derive(Debug, Clone)]
pub struct StreamWatch {
    endpoint: Endpoint,
    hide_usage_chunk: bool,
    tells_usage: bool,
    phase: Phase,
    usage: Option<TokenCounts>,
    audio_millis: Option<u64>,
    /// Choices seen and choices finished, a bit each.
    seen: u64,
    finished: u64,
    finish: Finish,
    messages_count: u64,
    content_bytes: u64,
    said_chars: u64,
    /// Pictures in the deltas.
    images: u32,
    made: MadeSoFar,
    response_id: Box<str>,
    frame: Frame,
}

/// Longest response id that is kept, in bytes.
const RESPONSE_ID_BYTES_MAX: usize = 256;

impl StreamWatch {
    /// Starts at the head of a stream; with `hide_usage_chunk`, we asked for a usage chunk that the client does not want.
    #[must_use]
    pub fn new(endpoint: Endpoint, hide_usage_chunk: bool) -> Self {
        Self {
            endpoint,
            hide_usage_chunk,
            tells_usage: false,
            phase: Phase::Open,
            usage: None,
            audio_millis: None,
            seen: 0,
            finished: 0,
            finish: Finish::Unknown,
            messages_count: 0,
            content_bytes: 0,
            said_chars: 0,
            images: 0,
            made: MadeSoFar::default(),
            response_id: Box::default(),
            frame: Frame::default(),
        }
    }

    /// From now on the events with the usage of the whole stream are told apart: [`Action::PassUsage`].
    pub fn tell_usage(&mut self) {
        self.tells_usage = true;
    }

    /// Reads one whole event, blank line included, and says what to do with it.
    #[inline]
    pub fn observe(&mut self, event: &[u8]) -> Action {
        if self.phase != Phase::Open {
            return Action::Drop;
        }
        if self.endpoint.has_chunks()
            && let Some(text) = event::plain_message(event)
            && let Ok(chunk) = chunk::read_chunk(self.endpoint, text, &mut self.frame)
        {
            self.messages_count += 1;
            return self.take_chunk(&chunk, text);
        }
        if self.endpoint == Endpoint::Responses
            && let Some((name, text)) = event::named_message(event)
            && name.starts_with(b"response.")
        {
            self.messages_count += 1;
            return self.take_response_event(name, text);
        }
        self.observe_fields(&event::parse_event(event))
    }

    /// Reads what is left without a blank line when the provider closed, and says what to do with it.
    ///
    /// On [`Action::Pass`] and [`Action::PassUsage`] it is a whole message: relay it and two line feeds. Half a message is
    /// dropped: the client shall not see it. Then ask for [`StreamWatch::end`].
    pub fn observe_tail(&mut self, tail: &[u8]) -> Action {
        let parsed = event::parse_event(tail);
        let is_whole = match &parsed.text {
            Some(text) if is_done(text) => true,
            Some(text) => {
                let mut scanner = Scanner::resume(text, 0, 0);
                scanner.skip_space();
                scanner.value().is_ok() && scanner.finish().is_ok()
            }
            None => parsed.error.is_some(),
        };
        if self.phase != Phase::Open || !is_whole {
            return Action::Drop;
        }
        self.observe_fields(&parsed)
    }

    /// Reads an event that is more than one plain message.
    fn observe_fields(&mut self, event: &Event<'_>) -> Action {
        if let Some(error) = event.error {
            return self.fail(error);
        }
        let Some(text) = event.text.as_deref() else {
            return Action::Pass;
        };
        if is_done(text) {
            return self.take_done();
        }
        if event.name == b"ping" || text.is_empty() {
            return Action::Pass;
        }
        self.messages_count += 1;
        if self.endpoint == Endpoint::Responses {
            return self.take_response_event(event.name, text);
        }
        if event.name == b"error" {
            return self.fail(text);
        }
        if self.endpoint == Endpoint::Transcriptions
            && let Ok(said) = transcript::read_event(text)
        {
            return self.take_transcript(&said, text);
        }
        match chunk::read_chunk(self.endpoint, text, &mut self.frame) {
            Ok(chunk) => self.take_chunk(&chunk, text),
            Err(_) => {
                // Unreadable for us; the bytes still count as an answer that someone was paid for.
                self.content_bytes += text.len() as u64;
                Action::Pass
            }
        }
    }

    fn take_done(&mut self) -> Action {
        if self.endpoint == Endpoint::Responses {
            return Action::Drop;
        }
        self.phase = Phase::Done;
        Action::Pass
    }

    #[inline]
    fn take_chunk(&mut self, chunk: &Chunk, text: &[u8]) -> Action {
        self.seen |= chunk.seen;
        self.finished |= chunk.finished;
        if chunk.finished != 0 {
            self.finish = chunk.finish;
        }
        self.content_bytes += chunk.content_bytes as u64;
        self.said_chars += chunk.said_chars as u64;
        self.images = self.images.saturating_add(chunk.images);
        if chunk.cites {
            self.made.cited();
        }
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        if let Some(error) = chunk.error {
            return self.fail(error.of(text));
        }
        let only_usage = chunk.has_usage && chunk.choices_count == Some(0);
        if only_usage && self.hide_usage_chunk {
            return Action::Hide;
        }
        // Some state what was used so far in every chunk: only the last ones count.
        if self.tells_usage && chunk.usage.is_some() && self.is_complete() {
            return Action::PassUsage;
        }
        Action::Pass
    }

    fn take_transcript(&mut self, said: &Said, text: &[u8]) -> Action {
        if let Some(error) = said.error {
            return self.fail(error.of(text));
        }
        self.content_bytes += said.content_bytes as u64;
        self.said_chars += said.said_chars as u64;
        self.usage = said.usage.or(self.usage);
        self.audio_millis = said.audio_millis.or(self.audio_millis);
        self.seen |= u64::from(said.is_known);
        if said.is_last {
            (self.seen, self.finished, self.finish) = (1, 1, Finish::Completed);
        }
        let is_stated = said.usage.is_some() || said.audio_millis.is_some();
        if self.tells_usage && is_stated && said.is_last { Action::PassUsage } else { Action::Pass }
    }

    #[cold]
    fn fail(&mut self, error: &[u8]) -> Action {
        self.phase = Phase::Failed;
        Action::Fail(view_upstream_error(200, error).meaning)
    }

    fn take_response_event(&mut self, name: &[u8], text: &[u8]) -> Action {
        let Ok(kind) = response_kind(name, text) else {
            self.content_bytes += text.len() as u64;
            return Action::Pass;
        };
        match kind {
            b"response.created" => self.keep_response_id(text),
            b"response.completed" | b"response.incomplete" | b"response.failed" => {
                let is_stated = self.keep_response_usage(text);
                self.phase = if kind == b"response.failed" { Phase::Failed } else { Phase::Done };
                self.finish_response(kind, text);
                if self.tells_usage && is_stated {
                    return Action::PassUsage;
                }
            }
            b"response.function_call_arguments.done" => self.finish = Finish::ToolCalls,
            // OpenAI sends `response.failed` after it. If that does not come, the stream is truncated and gets ours.
            b"error" => {}
            _ if kind.ends_with(b".delta") => {
                let delta = find_member(text, b"delta").unwrap_or_default();
                self.content_bytes += delta.len().saturating_sub(2) as u64;
                if kind == b"response.output_text.delta" {
                    let text = delta.get(1..delta.len().saturating_sub(1)).unwrap_or_default();
                    self.said_chars += said_chars(text, memchr::memchr(b'\\', text).is_some()) as u64;
                }
            }
            _ => self.keep_item(kind, text),
        }
        Action::Pass
    }

    /// Only the final event states searches, and a client may leave before it.
    fn keep_item(&mut self, kind: &[u8], text: &[u8]) {
        let item = || find_member(text, b"item").unwrap_or_default();
        match kind {
            b"response.output_item.added" => self.made.begun(item()),
            b"response.output_item.done" => self.made.ended(item()),
            _ => {}
        }
    }

    fn keep_response_id(&mut self, text: &[u8]) {
        let id = find_member(text, b"response")
            .and_then(|response| find_member(response, b"id"))
            .and_then(|id| id.strip_prefix(b"\"")?.strip_suffix(b"\""))
            .and_then(|id| std::str::from_utf8(id).ok());
        if let Some(id) = id
            && id.len() <= RESPONSE_ID_BYTES_MAX
            && !id.contains('\\')
        {
            self.response_id = id.into();
        }
    }

    fn finish_response(&mut self, kind: &[u8], text: &[u8]) {
        let reason = || {
            let response = find_member(text, b"response")?;
            let reason = find_member(find_member(response, b"incomplete_details")?, b"reason")?;
            reason.strip_prefix(b"\"")?.strip_suffix(b"\"")
        };
        match kind {
            b"response.incomplete" => self.finish = reason().map_or(Finish::Unknown, Finish::stated),
            b"response.completed" if self.finish != Finish::ToolCalls => self.finish = Finish::Completed,
            _ => {}
        }
    }

    /// Returns whether a valid usage is there.
    fn keep_response_usage(&mut self, text: &[u8]) -> bool {
        let stated = find_member(text, b"response").and_then(read_response);
        self.usage = stated.or(self.usage);
        stated.is_some()
    }

    /// Says how the stream stands if the provider closes now.
    #[must_use]
    pub fn end(&self) -> End {
        match self.phase {
            Phase::Done => End::Clean,
            Phase::Failed => End::Failed,
            // What ends a transcription is its last event; a marker behind it is the provider's own.
            Phase::Open if self.is_complete() && self.endpoint == Endpoint::Transcriptions => End::Clean,
            Phase::Open if self.is_complete() => End::AddDone,
            Phase::Open => End::Truncated,
        }
    }

    /// Tells whether every choice that was seen has its finish reason.
    fn is_complete(&self) -> bool {
        self.seen != 0 && self.seen & !self.finished == 0
    }

    /// Tells whether the terminal event was seen: nothing more needs to be read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Gives the wire of the stream.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Gives the last valid usage.
    #[must_use]
    pub fn usage(&self) -> Option<TokenCounts> {
        self.usage.map(|usage| TokenCounts { images: usage.images.max(self.images), ..usage })
    }

    /// Gives the searches and pictures that the events have shown so far, for a stream without a usage.
    #[must_use]
    pub fn made_so_far(&self) -> (u32, u32) {
        let (searches, images) = self.made.counts();
        (searches, images.max(self.images))
    }

    /// Gives what a transcription heard, in milliseconds, where the provider states it.
    #[must_use]
    pub fn audio_millis(&self) -> Option<u64> {
        self.audio_millis
    }

    /// Says why it ended, as far as the provider said so.
    #[must_use]
    pub fn finish(&self) -> Finish {
        self.finish
    }

    /// Counts the events with a message in them; comments and pings are none. It grows while there is progress.
    #[must_use]
    pub fn messages_count(&self) -> u64 {
        self.messages_count
    }

    /// Gives the bytes of generated text, reasoning and arguments so far, as JSON text; a base for estimates.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Gives the characters of the text so far, without white space and repeats: a base for what it cost at least.
    #[must_use]
    pub fn said_chars(&self) -> u64 {
        self.said_chars
    }

    /// Says where our own error event would stand.
    ///
    /// Providers number the events of a response from 0 without gaps, so the count of messages is the next number.
    #[must_use]
    pub fn error_at(&self) -> StreamErrorAt<'_> {
        StreamErrorAt { response_id: &self.response_id, sequence_number: self.messages_count }
    }
}

fn is_done(text: &[u8]) -> bool {
    text.trim_ascii() == b"[DONE]"
}

/// Gives the `type` of an event on the Responses wire: what clients go by, else the event's name.
fn response_kind<'a>(name: &'a [u8], text: &'a [u8]) -> Result<&'a [u8], JsonFault> {
    if let Some(rest) = text.strip_prefix(b"{\"type\":\"")
        && let Some(end) = memchr::memchr(b'"', rest)
    {
        return Ok(rest.get(..end).unwrap_or_default());
    }
    if !name.is_empty() {
        return Ok(name);
    }
    let kind = find_member(text, b"type").ok_or(JsonFault::Unexpected)?;
    Ok(kind.strip_prefix(b"\"").and_then(|kind| kind.strip_suffix(b"\"")).unwrap_or(kind))
}

/// Finds the value of a member of an object and stops there; what follows is not looked at.
fn find_member<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut scanner = Scanner::resume(text, 0, 0);
    scanner.skip_space();
    if !scanner.open_object().ok()? {
        return None;
    }
    loop {
        let found = scanner.name().ok()?.span.inner_of(text) == name;
        let value = scanner.value().ok()?;
        if found {
            return Some(value.span.of(text));
        }
        if !scanner.next_member().ok()? {
            return None;
        }
    }
}

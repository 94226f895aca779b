//! Reads one chunk of a Chat or Completions stream.
//!
//! Chunks of one stream have the same bytes around the delta: id, object, time and model before it, `null`s after it. So
//! both parts are remembered, and a chunk that has them is compared there and scanned only in its delta.

use memchr::memmem;

use super::endpoint::Endpoint;
use super::json::Scanner;
use super::json_place::{JsonFault, Span, Value};
use super::said::said_chars;
use super::usage::{parse_count, scan_usage};
use crate::base::{Finish, TokenCounts};

/// What one chunk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Chunk {
    /// Elements of `choices`; `None` if it is missing or no array.
    pub(super) choices_count: Option<u32>,
    /// Choices in this chunk, a bit each; those from 63 on share one.
    pub(super) seen: u64,
    /// Those of them with a finish reason.
    pub(super) finished: u64,
    /// The finish reason of the last of those.
    pub(super) finish: Finish,
    /// A `usage` object is there, valid or not.
    pub(super) has_usage: bool,
    /// The counts in it, if valid.
    pub(super) usage: Option<TokenCounts>,
    /// A top-level `error` that is not `null`.
    pub(super) error: Option<Span>,
    /// Bytes of text, reasoning and arguments in the deltas.
    pub(super) content_bytes: usize,
    /// Characters of the text alone; see [`said_chars`].
    pub(super) said_chars: usize,
    /// Pictures in the deltas.
    pub(super) images: u32,
    /// A delta cites pages that a search found.
    pub(super) cites: bool,
}

/// What the last chunk had around its delta.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    /// The part before the delta, without anything of note in it.
    head: Vec<u8>,
    /// The `index` in it.
    index: u32,
    /// The part after the delta, checked behind that head and without anything of note in it.
    tail: Vec<u8>,
    /// Choices of a chunk with this head and tail; the `index` may stand in either.
    seen: u64,
}

/// Longest head or tail that is worth remembering, in bytes.
const FRAME_BYTES_MAX: usize = 1_024;
/// Containers that are open at the delta: the chunk, `choices`, the choice.
const DELTA_DEPTH: u32 = 3;

/// One element of `choices`.
#[derive(Debug, Clone, Copy, Default)]
struct Choice {
    index: u32,
    finished: bool,
}

impl Choice {
    fn unfinished(index: u32) -> Self {
        Self { index, finished: false }
    }
}

/// Reads a chunk, the JSON text of one message, and remembers its frame.
///
/// # Errors
/// [`JsonFault`] if it is not one JSON object; nothing is remembered then.
#[inline]
pub(super) fn read_chunk(endpoint: Endpoint, text: &[u8], frame: &mut Frame) -> Result<Chunk, JsonFault> {
    if !frame.head.is_empty() && text.starts_with(&frame.head) {
        let mut pass = Pass::new(endpoint, text, frame.head.len(), DELTA_DEPTH);
        pass.delta()?;
        let delta_end = pass.scanner.at();
        let tail = text.get(delta_end..).unwrap_or_default();
        if !frame.tail.is_empty() && tail == frame.tail.as_slice() {
            pass.chunk.seen = frame.seen;
            pass.chunk.choices_count = Some(1);
            return Ok(pass.chunk);
        }
        let content_bytes = pass.chunk.content_bytes;
        pass.after_delta(frame.index)?;
        if pass.chunk.content_bytes == content_bytes {
            frame.keep_tail(&pass.chunk, tail);
        }
        return Ok(pass.chunk);
    }
    let mut pass = Pass::new(endpoint, text, 0, 0);
    pass.whole()?;
    if let Some((end, index)) = pass.head
        && let Some(head) = text.get(..end)
        && end <= FRAME_BYTES_MAX
    {
        frame.head.clear();
        frame.head.extend_from_slice(head);
        frame.index = index;
        frame.tail.clear();
    }
    Ok(pass.chunk)
}

impl Frame {
    fn keep_tail(&mut self, chunk: &Chunk, tail: &[u8]) {
        let is_plain =
            !chunk.has_usage && chunk.error.is_none() && chunk.finished == 0 && chunk.choices_count == Some(1);
        if is_plain && tail.len() <= FRAME_BYTES_MAX {
            self.seen = chunk.seen;
            self.tail.clear();
            self.tail.extend_from_slice(tail);
        }
    }
}

struct Pass<'a> {
    endpoint: Endpoint,
    text: &'a [u8],
    scanner: Scanner<'a>,
    chunk: Chunk,
    /// End of the head and the index in it, if nothing of note came before the first delta.
    head: Option<(usize, u32)>,
}

impl<'a> Pass<'a> {
    fn new(endpoint: Endpoint, text: &'a [u8], at: usize, depth: u32) -> Self {
        Self { endpoint, text, scanner: Scanner::resume(text, at, depth), chunk: Chunk::default(), head: None }
    }

    fn whole(&mut self) -> Result<(), JsonFault> {
        self.scanner.skip_space();
        if self.scanner.open_object()? {
            self.members()?;
        }
        self.scanner.finish()
    }

    /// Goes on behind the first choice's `delta`.
    fn after_delta(&mut self, index: u32) -> Result<(), JsonFault> {
        let mut choice = Choice::unfinished(index);
        if self.scanner.next_member()? {
            self.choice_members(&mut choice)?;
        }
        self.count(choice);
        self.chunk.choices_count = Some(1);
        if self.scanner.next_element()? {
            self.choices(1)?;
        }
        if self.scanner.next_member()? {
            self.members()?;
        }
        self.scanner.finish()
    }

    fn members(&mut self) -> Result<(), JsonFault> {
        loop {
            match self.scanner.name()?.span.inner_of(self.text) {
                b"choices" if self.scanner.peek() == b'[' => {
                    self.chunk.choices_count = Some(0);
                    if self.scanner.open_array()? {
                        self.choices(0)?;
                    }
                }
                b"usage" => self.usage()?,
                b"x_groq" if self.scanner.peek() == b'{' => self.groq()?,
                b"error" => {
                    let value = self.scanner.value()?;
                    if value.first != b'n' {
                        self.chunk.error = Some(value.span);
                    }
                }
                _ => {
                    self.scanner.value()?;
                }
            }
            if !self.scanner.next_member()? {
                return Ok(());
            }
        }
    }

    fn usage(&mut self) -> Result<(), JsonFault> {
        let found = scan_usage(&mut self.scanner, self.text)?;
        self.chunk.has_usage |= found.is_object;
        // The last valid one counts.
        self.chunk.usage = found.counts().or(self.chunk.usage);
        Ok(())
    }

    fn groq(&mut self) -> Result<(), JsonFault> {
        if !self.scanner.open_object()? {
            return Ok(());
        }
        loop {
            let name = self.scanner.name()?.span.inner_of(self.text);
            match name {
                b"usage" => self.usage()?,
                _ => {
                    self.scanner.value()?;
                }
            }
            if !self.scanner.next_member()? {
                return Ok(());
            }
        }
    }

    fn choices(&mut self, mut count: u32) -> Result<(), JsonFault> {
        loop {
            count += 1;
            if self.scanner.peek() != b'{' {
                self.scanner.value()?;
            } else {
                let mut choice = Choice::default();
                if self.scanner.open_object()? {
                    self.choice_members(&mut choice)?;
                }
                self.count(choice);
            }
            self.chunk.choices_count = Some(count);
            if !self.scanner.next_element()? {
                return Ok(());
            }
        }
    }

    fn choice_members(&mut self, choice: &mut Choice) -> Result<(), JsonFault> {
        loop {
            match self.scanner.name()?.span.inner_of(self.text) {
                b"delta" => {
                    let is_plain = self.chunk == Chunk { choices_count: Some(0), ..Chunk::default() };
                    if is_plain && !choice.finished {
                        self.head = Some((self.scanner.at(), choice.index));
                    }
                    self.delta()?;
                }
                b"text" if self.endpoint == Endpoint::Completions => {
                    let before = self.scanner.text_bytes();
                    let value = self.scanner.value()?;
                    self.chunk.content_bytes += self.scanner.text_bytes() - before;
                    self.hear(value);
                }
                b"finish_reason" => {
                    let value = self.scanner.value()?;
                    choice.finished = value.first != b'n';
                    if choice.finished {
                        self.chunk.finish = Finish::stated(value.span.inner_of(self.text));
                    }
                }
                b"index" => {
                    let value = self.scanner.value()?;
                    let index = parse_count(value.span.of(self.text)).unwrap_or(0);
                    choice.index = u32::try_from(index).unwrap_or(u32::MAX);
                }
                _ => {
                    self.scanner.value()?;
                }
            }
            if !self.scanner.next_member()? {
                return Ok(());
            }
        }
    }

    /// Steps over a delta and counts the text in it, wherever providers put it; `role` is none.
    fn delta(&mut self) -> Result<(), JsonFault> {
        if self.scanner.peek() != b'{' {
            self.scanner.value()?;
            return Ok(());
        }
        if !self.scanner.open_object()? {
            return Ok(());
        }
        loop {
            let name = self.scanner.name()?.span.inner_of(self.text);
            let before = self.scanner.text_bytes();
            let value = self.scanner.value()?;
            if name != b"role" {
                self.chunk.content_bytes += self.scanner.text_bytes() - before;
            }
            match name {
                b"content" => self.hear(value),
                b"images" if value.first == b'[' => self.chunk.images += value.children,
                b"annotations" if value.first == b'[' => {
                    self.chunk.cites |= memmem::find(value.span.of(self.text), b"\"url_citation\"").is_some();
                }
                _ => {}
            }
            if !self.scanner.next_member()? {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, value: Value) {
        if value.first == b'"' {
            self.chunk.said_chars += said_chars(value.span.inner_of(self.text), value.escaped);
        }
    }

    fn count(&mut self, choice: Choice) {
        let bit = 1u64 << choice.index.min(63);
        self.chunk.seen |= bit;
        if choice.finished {
            self.chunk.finished |= bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(before: &str, delta: &str, after: &str) -> String {
        format!(
            r#"{{"id":"c1","model":"m",{before}"choices":[{{"index":2,"delta":{delta},"finish_reason":null}}]{after}}}"#
        )
    }

    #[test]
    fn a_remembered_frame_changes_nothing_but_the_cost() {
        let usage = r#","usage":{"prompt_tokens":1,"completion_tokens":2}"#;
        let texts = [
            chunk("", r#"{"role":"assistant","content":""}"#, ""),
            chunk("", r#"{"content":"ab"}"#, ""),
            chunk("", r#"{"tool_calls":[{"index":0,"function":{"arguments":"xyz"}}]}"#, r#","obfuscation":"aa""#),
            chunk("", "{}", usage),
            chunk("", "{}", r#","error":{"code":500}"#),
            chunk("", r#"{"content":"a"}"#, "x"),
            chunk(r#""usage":{"prompt_tokens":1},"#, r#"{"content":"a"}"#, ""),
            chunk(r#""error":"e","#, r#"{"content":"a"}"#, ""),
            chunk("", r#"{"content":"a"},"finish_reason":"stop""#, ""),
            r#"{"id":"c1","model":"m","choices":[{"index":2,"delta":{"content":"a"}},{"index":70,"finish_reason":"stop"}]}"#.to_owned(),
            r#"{"id":"c1","model":"m","choices":[{"index":2,"delta":"#.to_owned(),
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null,"index":3}]}"#.to_owned(),
            r#"{"choices":[{"delta":{"content":"b"},"finish_reason":null,"index":3}]}"#.to_owned(),
            r#"{"choices":[{"delta":{"content":"b"},"delta":{"content":"abc"}}]}"#.to_owned(),
            r#"{"choices":[{"delta":{"content":"c"},"delta":{"content":"abc"}}]}"#.to_owned(),
            r#"{"choices":[]}"#.to_owned(),
        ];
        let mut frame = Frame::default();
        for _ in 0..2 {
            for text in &texts {
                let fresh = read_chunk(Endpoint::Chat, text.as_bytes(), &mut Frame::default());
                let with_frame = read_chunk(Endpoint::Chat, text.as_bytes(), &mut frame);
                assert_eq!(with_frame, fresh, "{text}");
            }
        }
    }

    #[test]
    fn content_is_counted_wherever_it_stands() {
        for (delta, want) in [
            (r#"{"role":"assistant","content":""}"#, 0),
            (r#"{"content":"abc"}"#, 3),
            (r#"{"content":null,"reasoning_content":"abcd"}"#, 4),
            (r#"{"content":[{"type":"t","thinking":[{"text":"abcd"}]}]}"#, 5),
            (r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a"}}]}"#, 4),
            ("null", 0),
        ] {
            let text = chunk("", delta, "");
            let read = read_chunk(Endpoint::Chat, text.as_bytes(), &mut Frame::default()).unwrap();
            assert_eq!(read.content_bytes, want, "{delta}");
        }
        let text = br#"{"choices":[{"text":"abc","index":0,"finish_reason":"length"}]}"#;
        let read = read_chunk(Endpoint::Completions, text, &mut Frame::default()).unwrap();
        assert_eq!((read.content_bytes, read.seen, read.finished), (3, 1, 1));
    }
}

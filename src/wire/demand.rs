//! What a request may cost at most.
//!
//! Read only where a limit or a cap needs it; the strict pass over the body has noted where the fields stand.

use smallvec::SmallVec;

use super::body_error::{BodyError, BodyFault};
use super::edit::Edits;
use super::endpoint::Endpoint;
use super::json_place::{Span, Text, Value};
use super::request::RequestView;
use super::usage::parse_count;

/// Where the fields stand that bound or multiply an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DemandSpans {
    pub(super) max_tokens: Option<Span>,
    pub(super) max_completion_tokens: Option<Span>,
    pub(super) max_output_tokens: Option<Span>,
    pub(super) n: Option<Span>,
    pub(super) best_of: Option<Span>,
    /// Value of `prompt` and how many elements it has. Only read on the Completions wire.
    pub(super) prompt: Option<(Span, u32)>,
    /// `prompt` names one that the provider keeps. Only read on the Responses wire.
    pub(super) names_prompt: bool,
    /// `input` has an item of which the provider reads more than stands in it. Only read on the Responses wire.
    pub(super) names_items: bool,
    /// Letters that are spelt as escapes, which has no other reason than to hide a name.
    pub(super) disguised: u32,
}

/// What an item of `input` on the Responses wire says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ItemKind {
    has_type: bool,
    has_role: bool,
    /// It names another type than those that stand for themselves, or hides a name.
    is_other: bool,
}

impl ItemKind {
    pub(super) fn note(&mut self, body: &[u8], name: Text, value: Value) {
        match name.span.inner_of(body) {
            b"type" if value.first == b'"' => {
                self.has_type = true;
                self.is_other |= value.escaped || !PLAIN_ITEMS.contains(&value.span.inner_of(body));
            }
            b"role" => self.has_role |= value.first != b'n',
            _ => self.is_other |= name.escaped,
        }
    }

    /// An item without a type is a message if it says whose; else it refers to one that the provider keeps.
    pub(super) fn is_plain(self) -> bool {
        !self.is_other && (self.has_type || self.has_role)
    }
}

/// What a request asks for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Most tokens of one answer, as the client bounds them; none when it does not. The larger of two bounds.
    pub output_cap: Option<u64>,
    /// How many answers are made: `n` or `best_of`, for each prompt.
    pub answers: u64,
    /// Things that the provider turns into tokens by rules of its own: pictures, files, what it looks up.
    pub unseen: u64,
    /// Whether no bound of the input follows from the body: it refers to a file, a kept conversation, item or prompt, has
    /// thoughts that only the provider can read, or refers to tools of the provider that read more.
    pub is_open: bool,
}

/// Most answers that any provider makes of one request; more is refused.
const ANSWERS_MAX: u64 = 128;
/// A name in a body, cut at its first `_`: how it begins, with its quote, and how it goes on.
type Mark = (&'static [u8], &'static [u8]);

/// Pictures, which providers bound. Base64 text bounds its own tokens by its length, a link does not.
const PICTURES: [Mark; 2] = [(b"\"image", b"_url\""), (b"\"input", b"_image\"")];
/// What the provider reads beside the body: files, links to sound and film, its own searches and tools.
const REFERENCES: [Mark; 12] = [
    (b"\"file", b"_id"),
    (b"\"file", b"_url\""),
    (b"\"file", b"_search\""),
    (b"\"vector", b"_store_ids\""),
    (b"\"video", b"_url\""),
    (b"\"audio", b"_url\""),
    (b"\"web", b"_search"),
    (b"\"x", b"_search\""),
    (b"\"search", b"_parameters\""),
    (b"\"code", b"_interpreter\""),
    (b"\"computer", b"_use"),
    (b"\"server", b"_label\""),
];
/// Items of `input` that are all that the provider reads for them. Not among them: references, thoughts, which are kept or
/// encrypted, and what tools of the provider found.
const PLAIN_ITEMS: [&[u8]; 5] =
    [b"message", b"function_call", b"function_call_output", b"custom_tool_call", b"custom_tool_call_output"];
/// Member with which some aggregators add searches to a request.
const PLUGINS: &[u8] = b"plugins";

impl RequestView {
    /// Reads what the body asks for at most.
    ///
    /// # Errors
    /// [`BodyError`] when one of the fields is no whole number in its range: such a body could cost anything.
    pub fn demand(&self, endpoint: Endpoint, body: &[u8]) -> Result<Demand, BodyError> {
        if !endpoint.has_output_cap() {
            // Of what was heard nobody knows how much is said: the model's own bound holds.
            let output_cap = (endpoint == Endpoint::Embeddings).then_some(0);
            return Ok(Demand { output_cap, answers: 1, unseen: 0, is_open: false });
        }
        let spans = &self.demand;
        let caps = match endpoint {
            Endpoint::Responses => [("max_output_tokens", spans.max_output_tokens), ("", None)],
            Endpoint::Completions => [("max_tokens", spans.max_tokens), ("", None)],
            _ => [("max_tokens", spans.max_tokens), ("max_completion_tokens", spans.max_completion_tokens)],
        };
        let mut output_cap = None;
        for (name, span) in caps {
            output_cap = output_cap.max(count(body, name, span, u64::from(u32::MAX))?);
        }
        let mut answers = 1;
        if endpoint != Endpoint::Responses {
            let n = count(body, "n", spans.n, ANSWERS_MAX)?.unwrap_or(1);
            let best_of = count(body, "best_of", spans.best_of, ANSWERS_MAX)?.unwrap_or(1);
            answers = n.max(best_of).max(1) * prompts(body, spans.prompt);
        }
        let (pictures, named) = unseen(body);
        let references = named + u64::from(spans.disguised);
        let kept = u64::from(self.needs_state) + u64::from(spans.names_prompt) + u64::from(spans.names_items);
        let is_open = references + kept > 0 || self.has_name(body, PLUGINS);
        Ok(Demand { output_cap, answers, unseen: pictures.saturating_add(references).saturating_add(kept), is_open })
    }
}

impl RequestView {
    /// Whether one answer is all that the body can ask for. Looks at what stands there, not at its value.
    #[must_use]
    pub fn asks_one_answer(&self) -> bool {
        let DemandSpans { n, best_of, prompt, .. } = &self.demand;
        n.is_none() && best_of.is_none() && prompt.is_none_or(|(_, prompts)| prompts <= 1)
    }
}

/// Counts what may be a picture, and what may be something else that the body does not hold; never too few. Looks at the
/// places of one byte only: nearly all bodies have few of it.
fn unseen(body: &[u8]) -> (u64, u64) {
    let (mut pictures, mut references, mut pairs) = (0u64, 0u64, 0u64);
    for at in memchr::memchr_iter(b'_', body) {
        let (before, after) = body.split_at(at);
        let is = |(start, end): &Mark| after.starts_with(end) && before.ends_with(start);
        pictures += u64::from(PICTURES.iter().any(is));
        pairs += u64::from(PICTURES.first().is_some_and(is));
        references += u64::from(REFERENCES.iter().any(is));
    }
    // The name stands twice in one picture of the Chat wire, as its type and as its member.
    (pictures - pairs / 2, references)
}

/// A list of prompts makes an answer for each; a list of numbers is one prompt in tokens.
fn prompts(body: &[u8], prompt: Option<(Span, u32)>) -> u64 {
    let Some((span, children)) = prompt else { return 1 };
    let inner = span.of(body).strip_prefix(b"[").unwrap_or_default().trim_ascii_start();
    match inner.first() {
        Some(b'"' | b'[') => u64::from(children).max(1),
        _ => 1,
    }
}

fn count(body: &[u8], name: &'static str, span: Option<Span>, max: u64) -> Result<Option<u64>, BodyError> {
    let Some(span) = span.filter(|span| span.of(body) != b"null") else { return Ok(None) };
    match parse_count(span.of(body)).filter(|count| *count <= max) {
        Some(count) => Ok(Some(count)),
        None => Err(BodyError::new(BodyFault::Type(name, "a whole number in its range"), span.start as usize)),
    }
}

/// The text of a cap that the gateway writes into a request.
#[derive(Debug, Clone, Default)]
pub struct CapText {
    /// `,"name":digits`.
    member: SmallVec<[u8; 48]>,
    digits_at: usize,
}

impl CapText {
    /// A cap under the name that this endpoint, and the provider, know.
    #[must_use]
    pub fn new(endpoint: Endpoint, is_openai: bool, tokens: u64) -> Self {
        let name: &[u8] = match endpoint {
            Endpoint::Responses => b",\"max_output_tokens\":",
            // Its reasoning models refuse the older name, other servers do not know the newer one.
            Endpoint::Chat if is_openai => b",\"max_completion_tokens\":",
            _ => b",\"max_tokens\":",
        };
        let mut member = SmallVec::from_slice(name);
        member.extend_from_slice(tokens.to_string().as_bytes());
        Self { digits_at: name.len(), member }
    }

    fn digits(&self) -> &[u8] {
        self.member.get(self.digits_at..).unwrap_or_default()
    }
}

impl<'a> Edits<'a> {
    /// Bounds the answer: a cap of the client that is larger, or `null`, is replaced, and one is added where there is none.
    /// Nothing is done for endpoints that make no tokens.
    pub fn cap_output(&mut self, endpoint: Endpoint, (view, body): (&RequestView, &[u8]), cap: (u64, &'a CapText)) {
        let (tokens, text) = cap;
        let spans = &view.demand;
        let written = match endpoint {
            Endpoint::Embeddings | Endpoint::Transcriptions => return,
            Endpoint::Responses => [spans.max_output_tokens, None],
            Endpoint::Completions => [spans.max_tokens, None],
            Endpoint::Chat => [spans.max_tokens, spans.max_completion_tokens],
        };
        let mut is_bounded = false;
        for span in written.into_iter().flatten() {
            let asked = parse_count(span.of(body));
            // Of two names one may be `null`: a number there could contradict the other.
            let is_second = is_bounded && asked.is_none();
            if asked.is_none_or(|asked| asked > tokens) && !is_second {
                self.replace(span, text.digits());
            }
            is_bounded = true;
        }
        if !is_bounded {
            self.append_cap(view, &text.member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{Limits, view_request};
    use super::*;

    fn demand(endpoint: Endpoint, body: &str) -> Result<Demand, String> {
        let view = view_request(endpoint, body.as_bytes(), &Limits::default()).map_err(|error| error.to_string())?;
        view.demand(endpoint, body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_that_multiplies_the_cost_is_read() {
        let chat = Endpoint::Chat;
        let text = Endpoint::Completions;
        for (endpoint, body, cap, answers, unseen) in [
            (chat, r#"{"model":"m","messages":[]}"#, None, 1, 0),
            (chat, r#"{"model":"m","max_tokens":7,"n":3}"#, Some(7), 3, 0),
            (chat, r#"{"model":"m","max_tokens":7,"max_completion_tokens":9}"#, Some(9), 1, 0),
            (chat, r#"{"model":"m","max_tokens":null,"n":null}"#, None, 1, 0),
            (text, r#"{"model":"m","prompt":["a","b","c"],"best_of":4,"n":2,"max_tokens":5}"#, Some(5), 12, 0),
            (text, r#"{"model":"m","prompt":[1,2,3]}"#, None, 1, 0),
            (text, r#"{"model":"m","prompt":[[1,2],[3]]}"#, None, 2, 0),
            (Endpoint::Responses, r#"{"model":"m","max_output_tokens":6,"n":5}"#, Some(6), 1, 0),
            (Endpoint::Embeddings, r#"{"model":"m","max_tokens":6,"n":5}"#, Some(0), 1, 0),
            (
                chat,
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
                None,
                1,
                1,
            ),
            (
                chat,
                r#"{"model":"m","messages":[{"content":[{"type":"im\u0061ge_url"}],"text":"\u00e9\u003c"}]}"#,
                None,
                1,
                1,
            ),
        ] {
            let found = demand(endpoint, body).unwrap();
            assert_eq!((found.output_cap, found.answers, found.unseen), (cap, answers, unseen), "{body}");
        }
    }

    #[test]
    fn input_is_open_where_the_provider_adds_to_it() {
        for (endpoint, body, want) in [
            (
                Endpoint::Chat,
                r#"{"model":"m","messages":[{"content":"on web_search and file_id"}],"tool_choice":"auto"}"#,
                false,
            ),
            (Endpoint::Chat, r#"{"model":"m","a":[{"image_url":{"url":"x"},"type":"image_url"}]}"#, false),
            (Endpoint::Chat, r#"{"model":"m","web_search_options":{}}"#, true),
            (Endpoint::Chat, r#"{"model":"m","plugins":[{"id":"web"}]}"#, true),
            (Endpoint::Chat, r#"{"model":"m","a":{"type":"file","file":{"file_id":"f"}}}"#, true),
            (Endpoint::Chat, r#"{"model":"m","a":{"type":"video_url"}}"#, true),
            (Endpoint::Responses, r#"{"model":"m","input":"x"}"#, false),
            (Endpoint::Responses, r#"{"model":"m","previous_response_id":"r"}"#, true),
            (Endpoint::Responses, r#"{"model":"m","previous_response_id":null}"#, false),
            (Endpoint::Responses, r#"{"model":"m","prompt":{"id":"p"}}"#, true),
            (Endpoint::Responses, r#"{"model":"m","reasoning":{},"input":[]}"#, false),
            (Endpoint::Responses, r#"{"model":"m","input":[{"role":"user","content":"item_reference"},"x"]}"#, false),
            (
                Endpoint::Responses,
                r#"{"model":"m","input":[{"type":"message","id":"msg_1","role":"assistant","content":[]},{"type":"function_call"}]}"#,
                false,
            ),
            (Endpoint::Responses, r#"{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}"#, true),
            (Endpoint::Responses, r#"{"model":"m","input":[{"role":"user"},{"id":"msg_1"}]}"#, true),
            (Endpoint::Responses, r#"{"model":"m","input":[{"type":null,"id":"msg_1"}]}"#, true),
            (Endpoint::Responses, r#"{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[]}]}"#, true),
            (Endpoint::Responses, r#"{"model":"m","input":[{"type":"r\u0065asoning","id":"rs_1"}]}"#, true),
            (Endpoint::Responses, r#"{"model":"m","input":[{"t\u0079pe":"reasoning","role":"user"}]}"#, true),
            (Endpoint::Responses, r#"{"model":"m","input":[{"type":"file_search_call","id":"fs_1"}]}"#, true),
            (Endpoint::Chat, r#"{"model":"m","input":[{"type":"item_reference"}]}"#, false),
            (Endpoint::Responses, r#"{"model":"m","tools":[{"type":"mcp","server_label":"s"}]}"#, true),
            (Endpoint::Responses, r#"{"model":"m","tools":[{"type":"function","name":"web"}]}"#, false),
        ] {
            assert_eq!(demand(endpoint, body).map(|demand| demand.is_open), Ok(want), "{body}");
        }
    }

    #[test]
    fn what_could_cost_anything_is_refused() {
        for body in [
            r#"{"model":"m","max_tokens":1e400}"#,
            r#"{"model":"m","max_tokens":-1}"#,
            r#"{"model":"m","max_tokens":"7"}"#,
            r#"{"model":"m","n":129}"#,
            r#"{"model":"m","n":1.5}"#,
            r#"{"model":"m","max_tokens":7,"max_tokens":8}"#,
            r#"{"model":"m","MAX_TOKENS":7}"#,
            r#"{"model":"m","m\u0061x_tokens":7}"#,
        ] {
            assert!(demand(Endpoint::Chat, body).is_err(), "{body}");
        }
    }

    #[test]
    fn cap_is_written_lowered_or_left() {
        for (endpoint, body, want) in [
            (Endpoint::Chat, r#"{"model":"m"}"#, r#"{"model":"m","max_completion_tokens":10}"#),
            (Endpoint::Chat, r#"{"model":"m","max_tokens":9}"#, r#"{"model":"m","max_tokens":9}"#),
            (Endpoint::Chat, r#"{"model":"m","max_tokens":11}"#, r#"{"model":"m","max_tokens":10}"#),
            (Endpoint::Chat, r#"{"max_tokens":null,"model":"m"}"#, r#"{"max_tokens":10,"model":"m"}"#),
            (
                Endpoint::Chat,
                r#"{"max_tokens":99,"max_completion_tokens":null,"model":"m"}"#,
                r#"{"max_tokens":10,"max_completion_tokens":null,"model":"m"}"#,
            ),
            (Endpoint::Completions, r#"{"model":"m"}"#, r#"{"model":"m","max_tokens":10}"#),
            (Endpoint::Responses, r#"{"model":"m"}"#, r#"{"model":"m","max_output_tokens":10}"#),
            (Endpoint::Embeddings, r#"{"model":"m"}"#, r#"{"model":"m"}"#),
        ] {
            let view = view_request(endpoint, body.as_bytes(), &Limits::default()).unwrap();
            let text = CapText::new(endpoint, true, 10);
            let mut edits = Edits::new();
            edits.cap_output(endpoint, (&view, body.as_bytes()), (10, &text));
            let mut out = Vec::new();
            edits.write(body.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}

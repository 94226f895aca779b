//! The forwarded body: the client's bytes with splices.
//!
//! Nothing is copied: the result is a list of slices, some of the client's body and some of fragments that were encoded
//! when the configuration was compiled. Order and bytes of everything else stay as the client wrote them.

use smallvec::SmallVec;

use super::endpoint::Endpoint;
use super::form::Form;
use super::json_place::Span;
use super::json_text::push_json_string;
use super::request::RequestView;
use super::usage::parse_count;

/// A system prompt of the configuration, encoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// `{"role":...,"content":...}`.
    message: Box<[u8]>,
    /// `"..."`: the text as a JSON string.
    text: Box<[u8]>,
    /// `,"instructions":"..."`.
    member: Box<[u8]>,
}

impl Prompt {
    /// Encodes a prompt with the role under which it is inserted, such as `system`.
    #[must_use]
    pub fn new(role: &str, text: &str) -> Self {
        let mut quoted = Vec::new();
        push_json_string(text, &mut quoted);
        let mut message = b"{\"role\":".to_vec();
        push_json_string(role, &mut message);
        message.extend_from_slice(b",\"content\":");
        message.extend_from_slice(&quoted);
        message.push(b'}');
        let mut member = b",\"instructions\":".to_vec();
        member.extend_from_slice(&quoted);
        Self { message: message.into(), text: quoted.into(), member: member.into() }
    }

    /// Bytes that it adds to a body, about.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a prompt is never empty")]
    pub fn len(&self) -> usize {
        self.message.len()
    }

    /// Gives the text as a JSON string without its closing quote.
    fn opened_text(&self) -> &[u8] {
        self.text.split_last().map_or(&[], |(_, opened)| opened)
    }
}

/// `params` of the configuration: members that a body gets when the client did not set them, encoded once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Defaults {
    members: Vec<DefaultMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct DefaultMember {
    name: Box<[u8]>,
    /// `,"name":value`.
    member: Box<[u8]>,
}

/// Names that mean the same cap; two of them in one body are refused by providers.
const OUTPUT_CAPS: [&[u8]; 3] = [b"max_tokens", b"max_completion_tokens", b"max_output_tokens"];

impl Defaults {
    /// Adds one member; `encoded` is its value as JSON text.
    pub fn push(&mut self, name: &str, encoded: &str) {
        let mut member = b",".to_vec();
        push_json_string(name, &mut member);
        member.push(b':');
        member.extend_from_slice(encoded.as_bytes());
        self.members.push(DefaultMember { name: name.as_bytes().into(), member: member.into() });
    }

    /// The cap on an answer that these members set, where it is a whole number.
    #[must_use]
    pub fn output_cap(&self, endpoint: Endpoint) -> Option<u64> {
        if !endpoint.has_output_cap() {
            return None;
        }
        let caps = self.members.iter().filter(|member| OUTPUT_CAPS.contains(&&*member.name));
        let value = |member: &DefaultMember| {
            let value = member.member.get(member.name.len() + 4..)?;
            parse_count(value)
        };
        caps.filter_map(value).max()
    }

    /// Bytes that these members add to a body at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.members.iter().map(|member| member.member.len()).sum()
    }

    /// Whether a member makes the provider read what no body shows.
    #[must_use]
    pub fn open_input(&self) -> bool {
        const OPENING: [&[u8]; 4] = [b"web_search_options", b"search_parameters", b"plugins", b"prompt"];
        self.members.iter().any(|member| OPENING.contains(&&*member.name))
    }

    /// Tells whether there is nothing to add.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// One splice: a range of the body and what stands there instead.
#[derive(Debug, Clone, Copy)]
struct Edit<'a> {
    span: Span,
    text: &'a [u8],
}

/// The splices of one body, in order of their place.
#[derive(Debug, Clone, Default)]
pub struct Edits<'a> {
    list: SmallVec<[Edit<'a>; 6]>,
    /// Whether a cap on the answer was added, so that no default may add another.
    adds_cap: bool,
}

impl<'a> Edits<'a> {
    /// Starts without any change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the value of `model`; `quoted` is a JSON string with its quotes.
    pub fn set_model(&mut self, view: &RequestView, quoted: &'a [u8]) {
        self.push(view.model, quoted);
    }

    /// Replaces the value of `model` in a form; `name` is plain text.
    pub fn set_form_model(&mut self, form: &Form, name: &'a [u8]) {
        self.push(form.model, name);
    }

    /// Makes `stream_options.include_usage` true, whatever the client wrote.
    pub fn ask_for_usage(&mut self, view: &RequestView, body: &[u8]) {
        let Some(options) = view.stream_options else {
            let end = empty_at(view.close);
            self.push(end, b",\"stream_options\":{\"include_usage\":true}");
            return;
        };
        if options.of(body) == b"null" {
            self.push(options, b"{\"include_usage\":true}");
            return;
        }
        match view.include_usage {
            Some(value) if value.of(body) == b"true" => {}
            Some(value) => self.push(value, b"true"),
            None if holds_only_space(options.inner_of(body)) => {
                self.push(options, b"{\"include_usage\":true}");
            }
            None => self.push(empty_at(options.start + 1), b"\"include_usage\":true,"),
        }
    }

    /// Adds the members that the client did not set; what it set, even to `null`, wins.
    pub fn add_defaults(&mut self, view: &RequestView, body: &[u8], defaults: &'a Defaults) {
        for default in &defaults.members {
            let mut rivals = OUTPUT_CAPS.iter().filter(|name| **name != &*default.name);
            let is_cap = OUTPUT_CAPS.contains(&&*default.name);
            let capped = is_cap && (self.adds_cap || rivals.any(|name| view.has_name(body, name)));
            if !capped && !view.has_name(body, &default.name) {
                self.push(empty_at(view.close), &default.member);
            }
        }
    }

    /// Puts a prompt first: before all messages (Chat), or at the head of `instructions`, a blank line between
    /// (Responses). Other endpoints have no place for it, nor has a body without `messages`: nothing changes.
    pub fn add_prompt(&mut self, endpoint: Endpoint, view: &RequestView, body: &[u8], prompt: &'a Prompt) {
        match (endpoint, view.messages, view.instructions) {
            (Endpoint::Chat, Some(messages), _) => {
                let head = empty_at(messages.start + 1);
                self.push(head, &prompt.message);
                if !holds_only_space(messages.inner_of(body)) {
                    self.push(head, b",");
                }
            }
            (Endpoint::Responses, _, None) => self.push(empty_at(view.close), &prompt.member),
            (Endpoint::Responses, _, Some(instructions)) => {
                if matches!(instructions.of(body), b"null" | b"\"\"") {
                    self.push(instructions, &prompt.text);
                    return;
                }
                let quote = Span { start: instructions.start, end: instructions.start + 1 };
                self.push(quote, prompt.opened_text());
                self.push(empty_at(quote.end), b"\\n\\n");
            }
            _ => {}
        }
    }

    /// Replaces a value.
    pub(super) fn replace(&mut self, span: Span, text: &'a [u8]) {
        self.push(span, text);
    }

    /// Puts a cap on the answer, given as a member with its leading comma, behind all others.
    pub(super) fn append_cap(&mut self, view: &RequestView, member: &'a [u8]) {
        self.adds_cap = true;
        self.push(empty_at(view.close), member);
    }

    /// Adds a splice behind those of the same or an earlier place.
    fn push(&mut self, span: Span, text: &'a [u8]) {
        let place = self.list.iter().rposition(|edit| edit.span.start <= span.start).map_or(0, |last| last + 1);
        self.list.insert(place, Edit { span, text });
    }

    /// Gives the length of the forwarded body for a client's body of this length.
    #[must_use]
    pub fn body_bytes(&self, client_bytes: usize) -> usize {
        let (cut, added) =
            self.list.iter().fold((0, 0), |(cut, added), edit| (cut + edit.span.bytes(), added + edit.text.len()));
        client_bytes.saturating_sub(cut) + added
    }

    /// Gives the forwarded body as slices, none of them empty.
    #[must_use]
    pub fn pieces<'b>(&'b self, body: &'b [u8]) -> Pieces<'b>
    where
        'a: 'b,
    {
        Pieces { body, edits: self.list.iter(), at: 0, pending: None, ended: false }
    }

    /// Appends the forwarded body to a send buffer.
    pub fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.body_bytes(body.len()));
        for piece in self.pieces(body) {
            out.extend_from_slice(piece);
        }
    }
}

fn empty_at(at: u32) -> Span {
    Span { start: at, end: at }
}

fn holds_only_space(inner: &[u8]) -> bool {
    inner.iter().all(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
}

/// The slices of a forwarded body; see [`Edits::pieces`].
#[derive(Debug, Clone)]
pub struct Pieces<'b> {
    body: &'b [u8],
    edits: std::slice::Iter<'b, Edit<'b>>,
    at: usize,
    pending: Option<&'b [u8]>,
    ended: bool,
}

impl<'b> Iterator for Pieces<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        loop {
            if let Some(text) = self.pending.take()
                && !text.is_empty()
            {
                return Some(text);
            }
            if self.ended {
                return None;
            }
            let start = self.at;
            let end = match self.edits.next() {
                Some(edit) => {
                    self.pending = Some(edit.text);
                    self.at = edit.span.end as usize;
                    edit.span.start as usize
                }
                None => {
                    self.ended = true;
                    self.body.len()
                }
            };
            if let Some(piece) = self.body.get(start..end)
                && !piece.is_empty()
            {
                return Some(piece);
            }
        }
    }
}

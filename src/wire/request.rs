//! The lazy view of a client's body: one strict pass.
//!
//! The pass checks the whole document and remembers where the few things stand that a gateway decides on. Everything
//! else is the client's business and is forwarded as it came. What another reader could understand differently is
//! refused: a name that we read standing twice, spelt with escapes, or spelt in other letter case (Go's decoder
//! ignores case), since upstream would then serve something else than what was authorized.

use smallvec::SmallVec;

use super::body_error::{BodyError, BodyFault};
use super::demand::{DemandSpans, ItemKind};
use super::endpoint::Endpoint;
use super::form::Form;
use super::json::{self, Scanner};
use super::json_place::{JsonFault, Span, Text, Value, offset};
use super::json_text;

/// Bounds of a client's body; its size is limited before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of arrays and objects. From 1 to 128; default 64.
    pub depth_max: u32,
    /// Most JSON values. Default 200,000.
    pub nodes_max: u32,
    /// Most elements of `messages`, or of `input` on the Responses wire. Default 4,096.
    pub messages_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 64, nodes_max: 200_000, messages_max: 4_096 }
    }
}

/// Longest `model`, in bytes.
pub(super) const MODEL_BYTES_MAX: usize = 200;

/// Where things stand in one checked body. All spans are of that body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestView {
    /// Value of `model`, with its quotes; 1 to 200 of `A-Z a-z 0-9 . _ / -`, without escapes.
    pub model: Span,
    /// `stream` is `true`.
    pub stream: bool,
    /// Value of `stream_options`: an object or `null`.
    pub stream_options: Option<Span>,
    /// Value of `stream_options.include_usage`: `true`, `false` or `null`.
    pub include_usage: Option<Span>,
    /// Value of `messages`: an array. Only read on the Chat wire.
    pub messages: Option<Span>,
    /// Value of `instructions`: a string or `null`. Only read on the Responses wire.
    pub instructions: Option<Span>,
    /// `previous_response_id` or `conversation` asks for a provider that keeps state. Only read on the Responses wire.
    pub needs_state: bool,
    /// What multiplies the cost of an answer, as the client wrote it.
    pub demand: DemandSpans,
    /// The form, where the body is one: then no other span than this view's `model` is of it, which has no quotes there.
    pub form: Option<Box<Form>>,
    /// Offset of the outer `{`.
    pub open: u32,
    /// Offset of the outer `}`.
    pub close: u32,
    names: SmallVec<[Text; 16]>,
}

impl RequestView {
    /// The view of a form.
    #[must_use]
    pub fn of_form(form: Form) -> Self {
        Self { model: form.model, stream: form.stream, form: Some(Box::new(form)), ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            model: Span::default(),
            stream: false,
            stream_options: None,
            include_usage: None,
            messages: None,
            instructions: None,
            needs_state: false,
            demand: DemandSpans::default(),
            form: None,
            open: 0,
            close: 0,
            names: SmallVec::new(),
        }
    }

    /// Gives the name in `model`, without quotes.
    #[must_use]
    pub fn model_name<'a>(&self, body: &'a [u8]) -> &'a str {
        let name = if self.form.is_some() { self.model.of(body) } else { self.model.inner_of(body) };
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// Tells whether the client asked for a usage chunk: `stream_options.include_usage` is `true`.
    #[must_use]
    pub fn wants_usage(&self, body: &[u8]) -> bool {
        self.include_usage.is_some_and(|value| value.of(body) == b"true")
    }

    /// Tells whether the top-level object has a member of this name, however it is escaped and whatever its value.
    #[must_use]
    pub fn has_name(&self, body: &[u8], name: &[u8]) -> bool {
        self.names.iter().any(|text| {
            let inner = text.span.inner_of(body);
            if text.escaped {
                return json_text::unescape(inner).is_some_and(|plain| plain == name);
            }
            inner == name
        })
    }
}

/// A name that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Model,
    Stream,
    StreamOptions,
    Messages,
    Input,
    Instructions,
    Conversation,
    PreviousResponseId,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    N,
    BestOf,
    Prompt,
}

/// The same names as text; the position is the bit in the set of seen names.
const NAMES: [(&str, Name); 14] = [
    ("model", Name::Model),
    ("stream", Name::Stream),
    ("stream_options", Name::StreamOptions),
    ("messages", Name::Messages),
    ("input", Name::Input),
    ("instructions", Name::Instructions),
    ("conversation", Name::Conversation),
    ("previous_response_id", Name::PreviousResponseId),
    ("max_tokens", Name::MaxTokens),
    ("max_completion_tokens", Name::MaxCompletionTokens),
    ("max_output_tokens", Name::MaxOutputTokens),
    ("n", Name::N),
    ("best_of", Name::BestOf),
    ("prompt", Name::Prompt),
];

const INCLUDE_USAGE: &str = "include_usage";

impl Name {
    #[inline]
    fn find(name: &[u8]) -> Option<Self> {
        // By length first: most names of a body are none of ours and end here.
        match name.len() {
            1 if name == b"n" => Some(Self::N),
            5 if name == b"model" => Some(Self::Model),
            5 if name == b"input" => Some(Self::Input),
            6 if name == b"stream" => Some(Self::Stream),
            6 if name == b"prompt" => Some(Self::Prompt),
            7 if name == b"best_of" => Some(Self::BestOf),
            8 if name == b"messages" => Some(Self::Messages),
            10 if name == b"max_tokens" => Some(Self::MaxTokens),
            12 if name == b"instructions" => Some(Self::Instructions),
            12 if name == b"conversation" => Some(Self::Conversation),
            14 if name == b"stream_options" => Some(Self::StreamOptions),
            17 if name == b"max_output_tokens" => Some(Self::MaxOutputTokens),
            20 if name == b"previous_response_id" => Some(Self::PreviousResponseId),
            21 if name == b"max_completion_tokens" => Some(Self::MaxCompletionTokens),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stream => "stream",
            Self::StreamOptions => "stream_options",
            Self::Messages => "messages",
            Self::Input => "input",
            Self::Instructions => "instructions",
            Self::Conversation => "conversation",
            Self::PreviousResponseId => "previous_response_id",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::N => "n",
            Self::BestOf => "best_of",
            Self::Prompt => "prompt",
        }
    }
}

/// Checks a whole body and says where the things stand that we read.
///
/// # Errors
/// [`BodyError`] says what is wrong and where; nothing of the body's content is in it.
pub fn view_request(endpoint: Endpoint, body: &[u8], limits: &Limits) -> Result<RequestView, BodyError> {
    let fail = |fault, at| Err(BodyError::new(BodyFault::Json(fault), at));
    if body.starts_with(b"\xEF\xBB\xBF") {
        return fail(JsonFault::Mark, 0);
    }
    if body.len() > json::BYTES_MAX {
        return fail(JsonFault::Nodes, json::BYTES_MAX);
    }
    if simdutf8::basic::from_utf8(body).is_err() {
        let at = std::str::from_utf8(body).map_or_else(|e| e.valid_up_to(), str::len);
        return fail(JsonFault::Utf8, at);
    }
    let mut pass = Pass {
        endpoint,
        body,
        messages_max: limits.messages_max,
        scanner: Scanner::new(body, 0, limits.depth_max, limits.nodes_max),
        view: RequestView::empty(),
        seen: 0,
    };
    match pass.run() {
        Ok(()) => {
            pass.view.demand.disguised = pass.scanner.disguised;
            Ok(pass.view)
        }
        Err(Fault::Json(fault)) => fail(fault, pass.scanner.at()),
        Err(Fault::Body(error)) => Err(error),
    }
}

/// A fault of the grammar, whose place the scanner knows, or one of meaning.
enum Fault {
    Json(JsonFault),
    Body(BodyError),
}

impl From<JsonFault> for Fault {
    fn from(fault: JsonFault) -> Self {
        Self::Json(fault)
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

struct Pass<'a> {
    endpoint: Endpoint,
    body: &'a [u8],
    messages_max: u32,
    scanner: Scanner<'a>,
    view: RequestView,
    seen: u16,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        self.scanner.skip_space();
        self.view.open = offset(self.scanner.at());
        if self.scanner.peek() != b'{' {
            return self.refuse_other_document();
        }
        if self.scanner.open_object()? {
            loop {
                self.member()?;
                if !self.scanner.next_member()? {
                    break;
                }
            }
        }
        let end = self.scanner.at();
        self.view.close = offset(end.saturating_sub(1));
        self.scanner.finish()?;
        if self.seen & (1 << Name::Model as u8) == 0 {
            return Err(BodyError::new(BodyFault::ModelMissing, end).into());
        }
        Ok(())
    }

    /// Tells broken JSON from valid JSON that is not an object.
    #[cold]
    fn refuse_other_document(&mut self) -> Result<(), Fault> {
        self.scanner.value()?;
        self.scanner.finish()?;
        Err(BodyError::new(BodyFault::NotAnObject, self.view.open as usize).into())
    }

    #[inline]
    fn member(&mut self) -> Result<(), Fault> {
        let name = self.scanner.name()?;
        let inner = name.span.inner_of(self.body);
        let Some(known) = Name::find(inner) else {
            check_spelling(self.body, name, NAMES.iter().map(|&(text, _)| text))?;
            self.view.names.push(name);
            self.scanner.value()?;
            return Ok(());
        };
        let bit = 1u16 << known as u8;
        if self.seen & bit != 0 {
            return Err(BodyError::new(BodyFault::Duplicate(known.as_str()), name.span.start as usize).into());
        }
        self.seen |= bit;
        self.view.names.push(name);
        if known == Name::StreamOptions && self.scanner.peek() == b'{' {
            return self.stream_options();
        }
        if known == Name::Input && self.endpoint == Endpoint::Responses && self.scanner.peek() == b'[' {
            return self.items();
        }
        let value = self.scanner.value()?;
        self.keep(known, value)
    }

    #[inline]
    fn keep(&mut self, name: Name, value: Value) -> Result<(), Fault> {
        let refuse = |name, want| Err(BodyError::new(BodyFault::Type(name, want), value.span.start as usize).into());
        match name {
            Name::Model => {
                if !is_model(value, self.body) {
                    return Err(BodyError::new(BodyFault::ModelForm, value.span.start as usize).into());
                }
                self.view.model = value.span;
            }
            Name::Stream => match value.first {
                b't' => self.view.stream = true,
                b'f' | b'n' => {}
                _ => return refuse("stream", "`true` or `false`"),
            },
            // An object is read by `stream_options`.
            Name::StreamOptions => match value.first {
                b'n' => self.view.stream_options = Some(value.span),
                _ => return refuse("stream_options", "an object"),
            },
            Name::Messages if self.endpoint == Endpoint::Chat => {
                if value.first != b'[' {
                    return refuse("messages", "an array");
                }
                self.check_count("messages", value.children, value.span.start as usize)?;
                self.view.messages = Some(value.span);
            }
            Name::Instructions if self.endpoint == Endpoint::Responses => {
                if !matches!(value.first, b'"' | b'n') {
                    return refuse("instructions", "a string");
                }
                self.view.instructions = Some(value.span);
            }
            Name::PreviousResponseId | Name::Conversation if self.endpoint == Endpoint::Responses => {
                self.view.needs_state |= value.first != b'n';
            }
            Name::MaxTokens => self.view.demand.max_tokens = Some(value.span),
            Name::MaxCompletionTokens => self.view.demand.max_completion_tokens = Some(value.span),
            Name::MaxOutputTokens => self.view.demand.max_output_tokens = Some(value.span),
            Name::N => self.view.demand.n = Some(value.span),
            Name::BestOf => self.view.demand.best_of = Some(value.span),
            Name::Prompt if self.endpoint == Endpoint::Completions => {
                self.view.demand.prompt = Some((value.span, value.children));
            }
            Name::Prompt if self.endpoint == Endpoint::Responses => self.view.demand.names_prompt = value.first != b'n',
            _ => {}
        }
        Ok(())
    }

    fn check_count(&self, name: &'static str, count: u32, at: usize) -> Result<(), BodyError> {
        if count > self.messages_max {
            return Err(BodyError::new(BodyFault::TooMany(name), at));
        }
        Ok(())
    }

    /// The list in `input` of the Responses wire.
    fn items(&mut self) -> Result<(), Fault> {
        let start = self.scanner.at();
        let mut count = 0;
        if self.scanner.open_array()? {
            loop {
                count += 1;
                if self.scanner.peek() == b'{' {
                    self.item()?;
                } else {
                    self.scanner.value()?;
                }
                if !self.scanner.next_element()? {
                    break;
                }
            }
        }
        Ok(self.check_count("input", count, start)?)
    }

    /// One item: whether the provider reads nothing for it but what stands in it.
    fn item(&mut self) -> Result<(), Fault> {
        let mut item = ItemKind::default();
        if self.scanner.open_object()? {
            loop {
                let name = self.scanner.name()?;
                let value = self.scanner.value()?;
                item.note(self.body, name, value);
                if !self.scanner.next_member()? {
                    break;
                }
            }
        }
        self.view.demand.names_items |= !item.is_plain();
        Ok(())
    }

    fn stream_options(&mut self) -> Result<(), Fault> {
        let start = self.scanner.at();
        if self.scanner.open_object()? {
            loop {
                let name = self.scanner.name()?;
                let ours = name.span.inner_of(self.body) == INCLUDE_USAGE.as_bytes();
                let at = name.span.start as usize;
                if !ours {
                    check_spelling(self.body, name, std::iter::once(INCLUDE_USAGE))?;
                } else if self.view.include_usage.is_some() {
                    return Err(BodyError::new(BodyFault::Duplicate(INCLUDE_USAGE), at).into());
                }
                let value = self.scanner.value()?;
                if ours {
                    if !matches!(value.first, b't' | b'f' | b'n') {
                        let fault = BodyFault::Type(INCLUDE_USAGE, "`true` or `false`");
                        return Err(BodyError::new(fault, value.span.start as usize).into());
                    }
                    self.view.include_usage = Some(value.span);
                }
                if !self.scanner.next_member()? {
                    break;
                }
            }
        }
        self.view.stream_options = Some(Span::new(start, self.scanner.at()));
        Ok(())
    }
}

fn is_model(value: Value, body: &[u8]) -> bool {
    let name = value.span.inner_of(body);
    value.first == b'"' && is_model_text(name)
}

/// Whether a text can be the name of a model.
pub(super) fn is_model_text(name: &[u8]) -> bool {
    (1..=MODEL_BYTES_MAX).contains(&name.len())
        && name.iter().all(|b| matches!(b, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-'))
}

/// Refuses a name that some reader would take for one of `ours` although we do not.
#[inline]
fn check_spelling(body: &[u8], name: Text, ours: impl Iterator<Item = &'static str>) -> Result<(), BodyError> {
    let inner = name.span.inner_of(body);
    let plain = !name.escaped && inner.iter().all(|b| (b'_'..=b'z').contains(b));
    if plain {
        return Ok(());
    }
    check_unusual_spelling(inner, name, ours)
}

#[cold]
fn check_unusual_spelling(inner: &[u8], name: Text, ours: impl Iterator<Item = &'static str>) -> Result<(), BodyError> {
    let folded =
        json_text::unescape(inner).map(|plain| fold_case(&String::from_utf8_lossy(&plain))).unwrap_or_default();
    for known in ours {
        if folded == known {
            let fault = BodyFault::Spelling(known);
            return Err(BodyError::new(fault, name.span.start as usize));
        }
    }
    Ok(())
}

/// Folds letter case as Go's JSON decoder does: ASCII, and the two letters that fold into ASCII.
fn fold_case(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '\u{17F}' => 's',
            '\u{212A}' => 'k',
            _ => c.to_ascii_lowercase(),
        })
        .collect()
}

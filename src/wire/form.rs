//! The view of a form with a file: one strict pass.
//!
//! `multipart/form-data` (RFC 7578, RFC 2046) is read differently by nearly every reader, and what a provider reads must be what
//! was authorized here. So there is one way to write it: CRLF line ends, nothing before the first delimiter and nothing behind the
//! last, no line in between that only looks like one, plain names, no encodings. The form itself is forwarded as it came.

use memchr::memmem;
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::base::{Digest, TURN_BYTES, Turns};

use super::body_error::{BodyError, BodyFault, FormFault};
use super::form_head::{FormType, PartHead, read_head};
use super::json_place::Span;
use super::request::is_model_text;

/// Most parts of one form; the endpoint has a dozen fields, some of them lists.
const PARTS_MAX: usize = 128;
/// Most bytes of all parts together that are no file.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Where things stand in one checked form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// How the client delimits its parts.
    pub form_type: FormType,
    /// Value of `model`: 1 to 200 of `A-Z a-z 0-9 . _ / -`.
    pub model: Span,
    /// Content of `file`.
    pub file: Span,
    /// What the client wants the answer to be.
    pub format: AnswerFormat,
    /// `stream` is `true`.
    pub stream: bool,
    /// Bytes of all values that are not the file.
    pub text_bytes: u32,
}

/// What a transcription is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerFormat {
    /// A JSON object: `json`, `verbose_json`, `diarized_json`, and where nothing is said.
    #[default]
    Json,
    /// Something else: `text`, `srt`, `vtt`, and what we do not know.
    Text,
}

/// A name that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Model,
    Stream,
    ResponseFormat,
    File,
    /// Would change how text is read.
    Charset,
}

/// The same names as text; the position is the bit in the set of seen names.
const NAMES: [(&str, Name); 5] = [
    ("model", Name::Model),
    ("stream", Name::Stream),
    ("response_format", Name::ResponseFormat),
    ("file", Name::File),
    ("_charset_", Name::Charset),
];

/// Checks a whole form, in turns, and says where the things stand that we read.
///
/// # Errors
/// [`BodyError`] says what is wrong and where; nothing of the form's content is in it.
pub async fn view_form(form_type: FormType, body: &[u8], turns: &mut Turns) -> Result<Form, BodyError> {
    let delimiter = delimiter(&form_type);
    let mut parts = Parts::new(body, &delimiter)?;
    let mut pass = Pass { body, seen: 0, model: None, file: None, stream: false, format: AnswerFormat::Json, text: 0 };
    while let Some((head, value)) = parts.next(turns).await? {
        pass.take(&head, value)?;
    }
    pass.finish(form_type, parts.at)
}

/// Gives a form that was checked to `tell`, piece by piece and as it was written, but for what is no text: of that the number of
/// bytes and their SHA-256.
pub async fn tell_form(form_type: &FormType, body: &[u8], turns: &mut Turns, mut tell: impl FnMut(&[u8])) {
    let delimiter = delimiter(form_type);
    let Ok(mut parts) = Parts::new(body, &delimiter) else { return };
    let mut told = 0;
    while let Ok(Some((head, value))) = parts.next(turns).await {
        let content = value.of(body);
        // Some send short samples of voices in fields.
        let is_text = head.is_plain_text && !head.has_filename && !content.starts_with(b"data:");
        if is_text && head.name.of(body) != b"file" {
            continue;
        }
        tell(body.get(told..head.len_to).unwrap_or_default());
        let mut hasher = Sha256::new();
        for piece in content.chunks(TURN_BYTES) {
            hasher.update(piece);
            turns.spend(piece.len()).await;
        }
        let digest = Digest::from_bytes(hasher.finalize().into());
        tell(format!("[{} bytes, {digest}]", content.len()).as_bytes());
        told = value.end as usize;
    }
    tell(body.get(told..).unwrap_or_default());
}

fn delimiter(form_type: &FormType) -> SmallVec<[u8; 72]> {
    let mut delimiter = SmallVec::from_slice(b"--");
    delimiter.extend_from_slice(form_type.boundary());
    delimiter
}

/// Steps through the parts of a form.
struct Parts<'a> {
    body: &'a [u8],
    finder: memmem::Finder<'a>,
    /// Behind the last delimiter so far.
    at: usize,
    left: usize,
}

impl<'a> Parts<'a> {
    fn new(body: &'a [u8], delimiter: &'a [u8]) -> Result<Self, BodyError> {
        if !body.starts_with(delimiter) {
            return Err(BodyError::new(BodyFault::Form(FormFault::Start), 0));
        }
        Ok(Self { body, finder: memmem::Finder::new(delimiter), at: delimiter.len(), left: PARTS_MAX })
    }

    /// The head and the value of the next part; none behind the last one.
    async fn next(&mut self, turns: &mut Turns) -> Result<Option<(PartHead, Span)>, BodyError> {
        let (body, at) = (self.body, self.at);
        let fail = |fault, at| Err(BodyError::new(BodyFault::Form(fault), at));
        let Some(left) = self.left.checked_sub(1) else { return fail(FormFault::Parts, at) };
        self.left = left;
        let after = body.get(at..).unwrap_or_default();
        if let Some(rest) = after.strip_prefix(b"--") {
            return match rest {
                b"" | b"\r\n" => Ok(None),
                _ => fail(FormFault::Trailing, at),
            };
        }
        if !after.starts_with(b"\r\n") {
            return fail(if after.len() < 2 { FormFault::End } else { FormFault::Delimiter }, at);
        }
        let head = read_head(body, at + 2)?;
        turns.spend(head.len_to - at).await;
        let Some(next) = turns.find(&self.finder, body, head.len_to).await else {
            return fail(FormFault::End, body.len());
        };
        // Whatever looks like a delimiter has to be one, or two readers could find different parts.
        if next < head.len_to + 2 || body.get(next - 2..next) != Some(b"\r\n") {
            return fail(FormFault::Delimiter, next);
        }
        self.at = next + self.finder.needle().len();
        Ok(Some((head, Span::new(head.len_to, next - 2))))
    }
}

struct Pass<'a> {
    body: &'a [u8],
    seen: u8,
    model: Option<Span>,
    file: Option<Span>,
    stream: bool,
    format: AnswerFormat,
    text: usize,
}

impl Pass<'_> {
    fn take(&mut self, head: &PartHead, value: Span) -> Result<(), BodyError> {
        let name = head.name.of(self.body);
        let at = head.name.start as usize;
        let fail = |fault| Err(BodyError::new(fault, at));
        let known = known(name).map_err(|fault| BodyError::new(fault, at))?;
        if known != Some(Name::File) {
            self.text = self.text.saturating_add(value.bytes());
            if self.text > TEXT_BYTES_MAX {
                return fail(BodyFault::Form(FormFault::TextBytes));
            }
        }
        let Some(known) = known else { return Ok(()) };
        let text = NAMES.get(known as usize).map_or("", |(text, _)| text);
        let bit = 1 << known as u8;
        if self.seen & bit != 0 {
            return fail(BodyFault::Duplicate(text));
        }
        self.seen |= bit;
        if known != Name::File && (head.has_filename || !head.is_plain_text) {
            return fail(BodyFault::Type(text, "a field of plain text"));
        }
        match (known, value.of(self.body)) {
            (Name::File, _) => self.file = Some(value),
            (Name::Charset, _) => return fail(BodyFault::Form(FormFault::Charset)),
            (Name::Model, model) => {
                if !is_model_text(model) {
                    return Err(BodyError::new(BodyFault::ModelForm, value.start as usize));
                }
                self.model = Some(value);
            }
            (Name::Stream, b"true") => self.stream = true,
            (Name::Stream, b"false") => {}
            (Name::Stream, _) => return fail(BodyFault::Type(text, "`true` or `false`")),
            (Name::ResponseFormat, b"json" | b"verbose_json" | b"diarized_json") => self.format = AnswerFormat::Json,
            (Name::ResponseFormat, _) => self.format = AnswerFormat::Text,
        }
        Ok(())
    }

    fn finish(self, form_type: FormType, at: usize) -> Result<Form, BodyError> {
        let model = self.model.ok_or_else(|| BodyError::new(BodyFault::ModelMissing, at))?;
        let file = self.file.ok_or_else(|| BodyError::new(BodyFault::FileMissing, at))?;
        let text_bytes = u32::try_from(self.text).unwrap_or(u32::MAX);
        Ok(Form { form_type, model, file, format: self.format, stream: self.stream, text_bytes })
    }
}

/// Finds a name that we read; one that some reader could take for it is refused: other letter case, or with the brackets and
/// dots that some take for lists and members.
fn known(name: &[u8]) -> Result<Option<Name>, BodyFault> {
    let base = name.split(|byte| matches!(byte, b'[' | b'.')).next().unwrap_or_default();
    for (text, known) in NAMES {
        if name == text.as_bytes() {
            return Ok(Some(known));
        }
        if base.eq_ignore_ascii_case(text.as_bytes()) {
            return Err(BodyFault::Spelling(text));
        }
    }
    Ok(None)
}

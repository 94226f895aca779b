//! Heads of a form: its type, and those of its parts.

use smallvec::SmallVec;

use super::body_error::{BodyError, BodyFault, FormFault};
use super::json_place::Span;

/// Longest head of one part, its empty line included.
const HEAD_BYTES_MAX: usize = 4_096;
/// Most lines of one.
const LINES_MAX: usize = 16;
/// Longest boundary (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// Longest name of a field.
const NAME_BYTES_MAX: usize = 64;

/// The type of a form: `multipart/form-data` with its boundary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormType {
    boundary: SmallVec<[u8; BOUNDARY_BYTES_MAX]>,
}

impl FormType {
    /// Reads the value of `content-type`; none when it is no form, or has no sound boundary.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (media_type, params) = split_at_semicolon(value);
        if !media_type.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
            return None;
        }
        let mut boundary = None;
        read_params(params, |name, value| {
            if name.eq_ignore_ascii_case(b"boundary") {
                return boundary.replace(value).is_none();
            }
            // A charset of the form itself means nothing; a second spelling of the boundary would.
            !name.to_ascii_lowercase().starts_with(b"boundary")
        })?;
        let boundary: &[u8] = boundary?;
        let is_sound = boundary.len() <= BOUNDARY_BYTES_MAX
            && boundary.iter().all(|byte| is_boundary_byte(*byte))
            && boundary.last().is_some_and(|last| *last != b' ');
        is_sound.then(|| Self { boundary: SmallVec::from_slice(boundary) })
    }

    /// The boundary, without the two hyphens before it.
    #[must_use]
    pub fn boundary(&self) -> &[u8] {
        &self.boundary
    }

    /// The value of `content-type` for a provider, in pieces; the boundary is quoted where it has to be.
    #[must_use]
    pub fn pieces(&self) -> [&[u8]; 3] {
        if self.boundary.iter().all(|byte| is_token_byte(*byte)) {
            return [b"multipart/form-data; boundary=", &self.boundary, b""];
        }
        [b"multipart/form-data; boundary=\"", &self.boundary, b"\""]
    }
}

/// The head of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartHead {
    /// Value of `name`.
    pub(super) name: Span,
    /// Whether it says that it is a file.
    pub(super) has_filename: bool,
    /// Whether its value is text in which letters are bytes.
    pub(super) is_plain_text: bool,
    /// Where the content begins.
    pub(super) len_to: usize,
}

/// Reads the head of a part that begins at `start`.
pub(super) fn read_head(body: &[u8], start: usize) -> Result<PartHead, BodyError> {
    let fail = |fault, at| BodyError::new(BodyFault::Form(fault), at);
    let mut at = start;
    let mut disposition = None;
    let mut is_plain_text = None;
    for _ in 0..=LINES_MAX {
        let budget = (start + HEAD_BYTES_MAX).min(body.len());
        let rest = body.get(at..budget).unwrap_or_default();
        let Some(length) = memchr::memchr2(b'\r', b'\n', rest) else {
            let fault = if budget == body.len() { FormFault::End } else { FormFault::HeadBytes };
            return Err(fail(fault, at));
        };
        if rest.get(length..length + 2) != Some(b"\r\n") {
            return Err(fail(FormFault::Head, at + length));
        }
        let line = rest.get(..length).unwrap_or_default();
        let next = at + length + 2;
        if line.is_empty() {
            let (name, has_filename) = disposition.ok_or_else(|| fail(FormFault::Disposition, start))?;
            return Ok(PartHead { name, has_filename, is_plain_text: is_plain_text.unwrap_or(true), len_to: next });
        }
        let (name, value) = field(line).ok_or_else(|| fail(FormFault::Head, at))?;
        if name.eq_ignore_ascii_case(b"content-disposition") {
            let (found, has_filename) = read_disposition(value).ok_or_else(|| fail(FormFault::Disposition, at))?;
            // The name lies inside the line.
            let offset = found.as_ptr().addr().saturating_sub(body.as_ptr().addr());
            if disposition.replace((Span::new(offset, offset + found.len()), has_filename)).is_some() {
                return Err(fail(FormFault::Disposition, at));
            }
        } else if name.eq_ignore_ascii_case(b"content-type") {
            if is_plain_text.replace(is_plain(value)).is_some() {
                return Err(fail(FormFault::Head, at));
            }
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding")
            && !["binary", "8bit", "7bit"].iter().any(|known| value.eq_ignore_ascii_case(known.as_bytes()))
        {
            return Err(fail(FormFault::Encoding, at));
        }
        at = next;
    }
    Err(fail(FormFault::HeadBytes, at))
}

/// Splits a header line; none when it is folded, has control characters or no plain name.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    let is_name = !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte));
    let is_value = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    (is_name && is_value).then(|| (name, value.trim_ascii()))
}

/// Reads `form-data; name="..."`, with at most one `filename` and one `filename*`: the name, and whether one of those is there.
fn read_disposition(value: &[u8]) -> Option<(&[u8], bool)> {
    let (kind, params) = split_at_semicolon(value);
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return None;
    }
    let (mut name, mut plain, mut extended) = (None, false, false);
    read_params(params, |param, value| {
        if param.eq_ignore_ascii_case(b"name") {
            return name.replace(value).is_none();
        }
        if param.eq_ignore_ascii_case(b"filename") {
            return !std::mem::replace(&mut plain, true);
        }
        param.eq_ignore_ascii_case(b"filename*") && !std::mem::replace(&mut extended, true)
    })?;
    let name: &[u8] = name?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']');
    let is_sound = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(is_plain);
    is_sound.then_some((name, plain || extended))
}

fn split_at_semicolon(value: &[u8]) -> (&[u8], &[u8]) {
    value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()))
}

/// Gives each parameter of `;name=value;name="value"` to `take`; none when one is malformed or `take` says no.
fn read_params<'a>(mut rest: &'a [u8], mut take: impl FnMut(&'a [u8], &'a [u8]) -> bool) -> Option<()> {
    rest = rest.trim_ascii();
    while !rest.is_empty() {
        rest = rest.strip_prefix(b";")?.trim_ascii_start();
        let (name, after) = rest.split_at(memchr::memchr(b'=', rest)?);
        if name.is_empty() || !name.iter().all(|byte| is_token_byte(*byte)) {
            return None;
        }
        let after = after.get(1..)?;
        let (value, after) = match after.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (quoted.get(..end)?, quoted.get(end + 1..)?)
            }
            None => {
                let end = after.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(after.len());
                (after.get(..end).filter(|value| !value.is_empty())?, after.get(end..)?)
            }
        };
        if !take(name, value) {
            return None;
        }
        rest = after.trim_ascii_start();
    }
    Some(())
}

/// Where a quoted text ends. Not all readers know escapes: an escaped quote, on which they would differ, is refused.
fn closing_quote(quoted: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', quoted.get(at..)?)?;
        if quoted.get(at) == Some(&b'"') {
            return Some(at);
        }
        if quoted.get(at + 1).is_none_or(|escaped| *escaped == b'"') {
            return None;
        }
        at += 2;
    }
}

/// Whether a part of this type is text in ASCII or UTF-8.
fn is_plain(content_type: &[u8]) -> bool {
    let kept = content_type.iter().filter(|byte| !matches!(byte, b' ' | b'\t' | b'"'));
    let folded: SmallVec<[u8; 40]> = kept.map(u8::to_ascii_lowercase).collect();
    matches!(&*folded, b"text/plain" | b"text/plain;charset=utf-8" | b"text/plain;charset=us-ascii")
}

/// RFC 9110, 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 2046, 5.1.1.
fn is_boundary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

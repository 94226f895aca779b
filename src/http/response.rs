//! Response heads of providers: strict, reduced to our needs.
//!
//! Nothing of an upstream head is passed on except through the fields named here (an allow-list by construction).

use super::head::{FIELDS_CEILING, Framing, Part, parse_length};
use super::lines::{Field, LINE_END, Lines, Malformed};

/// Why an upstream head is refused. The connection is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ResponseError {
    #[error("the response head is malformed")]
    Malformed,
    #[error("the response head has too many fields")]
    TooManyFields,
    #[error("the response's body length is ambiguous")]
    Framing,
    #[error("the provider switched protocols")]
    SwitchedProtocols,
}

/// What a body claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Content {
    /// `text/event-stream`, with or without parameters.
    EventStream,
    /// Anything else; types lie, so nothing is decided on them.
    #[default]
    Other,
}

/// How a body is compressed, although we ask for `identity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coding {
    /// Not at all.
    #[default]
    Identity,
    /// `gzip` or `x-gzip`.
    Gzip,
    /// `deflate`, several layers or an unknown coding: not decoded.
    Unknown,
}

/// A parsed response head. Ranges count from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head, its empty line included.
    pub len: usize,
    /// Status, 100 to 599.
    pub status: u16,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the connection may be used again after the body.
    pub keep_alive: bool,
    /// What the body claims to be.
    pub content: Content,
    /// How the body is compressed.
    pub coding: Coding,
    /// `retry-after`
    pub retry_after: Option<Part>,
    /// `retry-after-ms`
    pub retry_after_ms: Option<Part>,
    /// `openai-processing-ms`
    pub processing_ms: Option<Part>,
    /// `openai-version`
    pub version: Option<Part>,
}

/// Parses a complete response head, as [`super::find_end`] delimited it.
///
/// # Errors
/// [`ResponseError`] names what is wrong.
pub fn parse_response(bytes: &[u8]) -> Result<ResponseHead, ResponseError> {
    let mut lines = Lines::new(bytes);
    let (status, is_1_1) = read_status(&mut lines)?;
    if status == 101 {
        return Err(ResponseError::SwitchedProtocols);
    }
    if !(100..600).contains(&status) {
        return Err(ResponseError::Malformed);
    }
    let mut fields = Fields::default();
    let mut left = FIELDS_CEILING;
    while let Some(field) = lines.field()? {
        left = left.checked_sub(1).ok_or(ResponseError::TooManyFields)?;
        fields.take(&field)?;
    }
    let framing = fields.framing(status)?;
    let says_keep = if is_1_1 { !fields.says_close } else { fields.says_keep_alive };
    Ok(ResponseHead {
        len: bytes.len(),
        status,
        keep_alive: says_keep && framing != Framing::Close,
        framing,
        content: fields.content,
        coding: fields.coding,
        retry_after: fields.retry_after,
        retry_after_ms: fields.retry_after_ms,
        processing_ms: fields.processing_ms,
        version: fields.version,
    })
}

impl From<Malformed> for ResponseError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Reads the status, and whether the provider speaks HTTP/1.1. The space behind the status may be missing, as the reason may.
fn read_status(lines: &mut Lines<'_>) -> Result<(u16, bool), Malformed> {
    lines.skip_empty();
    let is_1_1 = lines.skip(b"HTTP/1.1").is_ok();
    if !is_1_1 {
        lines.skip(b"HTTP/1.0")?;
    }
    lines.skip(b" ")?;
    let status = Some(lines.word()?).filter(|digits| digits.len() == 3).and_then(parse_length).ok_or(Malformed)?;
    if lines.skip(LINE_END).is_err() {
        lines.skip(b" ")?;
        lines.text()?;
    }
    Ok((u16::try_from(status).map_err(|_| Malformed)?, is_1_1))
}

#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
    content: Content,
    coding: Coding,
    retry_after: Option<Part>,
    retry_after_ms: Option<Part>,
    processing_ms: Option<Part>,
    version: Option<Part>,
}

impl Fields {
    #[inline(always)]
    fn take(&mut self, field: &Field<'_>) -> Result<(), ResponseError> {
        let value = field.value;
        match field.name.len() {
            10 if field.is(b"connection") => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.says_close |= option.eq_ignore_ascii_case(b"close");
                    self.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            11 if field.is(b"retry-after") => self.retry_after = Some(field.place),
            12 if field.is(b"content-type") => {
                let start = value.get(..17).unwrap_or_default();
                if start.eq_ignore_ascii_case(b"text/event-stream") {
                    self.content = Content::EventStream;
                }
            }
            14 if field.is(b"content-length") => {
                if self.length.is_some() {
                    return Err(ResponseError::Framing);
                }
                self.length = Some(parse_length(value).ok_or(ResponseError::Framing)?);
            }
            14 if field.is(b"openai-version") => self.version = Some(field.place),
            14 if field.is(b"retry-after-ms") => self.retry_after_ms = Some(field.place),
            16 if field.is(b"content-encoding") => self.coding(value),
            17 if field.is(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ResponseError::Framing);
                }
                self.chunked = true;
            }
            20 if field.is(b"openai-processing-ms") => self.processing_ms = Some(field.place),
            _ => {}
        }
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) {
        let gzip = value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip");
        self.coding = match (self.coding, gzip) {
            (coding, _) if value.eq_ignore_ascii_case(b"identity") => coding,
            (Coding::Identity, true) => Coding::Gzip,
            _ => Coding::Unknown,
        };
    }

    fn framing(&self, status: u16) -> Result<Framing, ResponseError> {
        if self.chunked && self.length.is_some() {
            return Err(ResponseError::Framing);
        }
        if status < 200 || status == 204 || status == 304 {
            // A body announced here would be read as the next response: refused rather than guessed.
            let announced = self.chunked || self.length.is_some_and(|length| length > 0 && status != 304);
            return if announced { Err(ResponseError::Framing) } else { Ok(Framing::None) };
        }
        Ok(match (self.chunked, self.length) {
            (true, _) => Framing::Chunked,
            (false, Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::Close,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_by_their_framing() {
        for (name, head, want) in [
            ("length", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Ok((Framing::Length(5), true))),
            ("chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Ok((Framing::Chunked, true))),
            ("close", "HTTP/1.1 200 OK\r\n\r\n", Ok((Framing::Close, false))),
            (
                "says close",
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
                Ok((Framing::Length(5), false)),
            ),
            ("1.0", "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", Ok((Framing::Length(5), false))),
            ("no reason", "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", Ok((Framing::None, true))),
            (
                "both",
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
                Err(ResponseError::Framing),
            ),
            (
                "two lengths",
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
                Err(ResponseError::Framing),
            ),
            ("body with 204", "HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n", Err(ResponseError::Framing)),
            ("101", "HTTP/1.1 101 Switching\r\n\r\n", Err(ResponseError::SwitchedProtocols)),
            ("garbage", "SSH-2.0-x\r\n\r\n", Err(ResponseError::Malformed)),
        ] {
            let got = parse_response(head.as_bytes()).map(|head| (head.framing, head.keep_alive));
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn event_stream_is_known_with_and_without_charset() {
        for (value, want) in [
            ("text/event-stream", Content::EventStream),
            ("Text/Event-Stream; charset=utf-8", Content::EventStream),
            ("application/json", Content::Other),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {value}\r\n\r\n");
            let got = parse_response(head.as_bytes()).map(|head| head.content);
            assert_eq!(got, Ok(want), "{value}");
        }
    }
}

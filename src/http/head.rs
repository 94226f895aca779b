//! Request heads: one strict parse, no allocation.
//!
//! `lines.rs` reads the grammar; what RFC 9112 merely allows is refused here: repeated fields that frame or identify, odd
//! lengths, underscores in names. Every value is a range of the buffer.

use memchr::{memchr, memchr2};

use super::lines::{Field, LINE_END, Lines, Malformed};

/// Limits of one head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Longest head in bytes, request line included.
    pub bytes_max: usize,
    /// Most header fields; at most [`FIELDS_CEILING`].
    pub fields_max: usize,
}

/// Most header fields that can be configured.
pub const FIELDS_CEILING: usize = 128;

/// Methods that some path knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `OPTIONS`
    Options,
    /// A well-formed method that no path knows: answered 405.
    Other,
}

/// How the body of a message is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// Transfer coding `chunked`.
    Chunked,
    /// Until the connection ends; responses only.
    Close,
}

/// Why a head is refused. Each of them closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum HeadError {
    #[error("the request head is malformed")]
    Malformed,
    #[error("a line ends with a bare line feed or carriage return")]
    BareLineEnd,
    #[error("the request head is too large")]
    TooLarge,
    #[error("too many header fields")]
    TooManyFields,
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
    #[error("`Host` is missing, repeated or malformed")]
    Host,
    #[error("the request target is malformed or does not match `Host`")]
    Target,
    #[error("`Content-Length` is not 1 to 15 digits, or repeated")]
    ContentLength,
    #[error("`Transfer-Encoding` is not exactly one `chunked`")]
    TransferEncoding,
    #[error("both `Transfer-Encoding` and `Content-Length`")]
    BothFramings,
    #[error("HTTP/1.0 with a body")]
    OldVersionBody,
    #[error("`Expect` is not `100-continue`")]
    Expect,
    #[error("`Upgrade`, `CONNECT` and `TRACE` are not accepted")]
    Forbidden,
    #[error("a header name contains an underscore")]
    Underscore,
    #[error("a header field that must stand alone is repeated")]
    Repeated,
}

/// A part of the head, by byte range from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    start: u32,
    end: u32,
}

impl Part {
    const EMPTY: Self = Self { start: 0, end: 0 };

    /// So many bytes from an offset on. Heads are far below 4 GiB.
    pub(super) fn new(start: usize, len: usize) -> Self {
        let offset = |at: usize| u32::try_from(at).unwrap_or(0);
        Self { start: offset(start), end: offset(start + len) }
    }

    /// The bytes of the part, given those of the head.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let offset = |at: u32| usize::try_from(at).unwrap_or(0);
        bytes.get(offset(self.start)..offset(self.end)).unwrap_or_default()
    }
}

/// A parsed request head. Ranges count from the start of the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head, its empty line included.
    pub len: usize,
    /// The method.
    pub method: Method,
    /// The method as written, for messages.
    pub method_text: Part,
    /// The path, without the query.
    pub path: Part,
    /// Whether the target has a query (its text is never used nor logged).
    pub has_query: bool,
    /// Whether the client speaks HTTP/1.1 (else 1.0).
    pub is_1_1: bool,
    /// Whether the connection may serve another request.
    pub keep_alive: bool,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
    /// `authorization`
    pub authorization: Option<Part>,
    /// `x-api-key`
    pub x_api_key: Option<Part>,
    /// `api-key`
    pub api_key: Option<Part>,
    /// `content-type`
    pub content_type: Option<Part>,
    /// `content-encoding`, other than `identity`
    pub content_encoding: Option<Part>,
    /// `x-request-id`
    pub request_id: Option<Part>,
    /// `traceparent`
    pub traceparent: Option<Part>,
    /// `tracestate`
    pub tracestate: Option<Part>,
    /// `user-agent`
    pub user_agent: Option<Part>,
    /// `x-millrace-timeout-ms`
    pub timeout_ms: Option<Part>,
    /// `x-millrace-no-fallback`
    pub no_fallback: Option<Part>,
    /// `x-millrace-metadata`
    pub metadata: Option<Part>,
    /// Each `x-millrace-tags` and `x-rb-tags`, in their order; allocates only when there is one.
    pub tags: Vec<Part>,
    /// Each `x-forwarded-for`, in their order; allocates only when there is one.
    pub forwarded_for: Vec<Part>,
}

impl RequestHead {
    /// Stands for a head that could not be read.
    #[must_use]
    pub fn unreadable() -> Self {
        Self {
            len: 0,
            method: Method::Other,
            method_text: Part::EMPTY,
            path: Part::EMPTY,
            has_query: false,
            is_1_1: true,
            keep_alive: false,
            framing: Framing::None,
            expects_continue: false,
            authorization: None,
            x_api_key: None,
            api_key: None,
            content_type: None,
            content_encoding: None,
            request_id: None,
            traceparent: None,
            tracestate: None,
            user_agent: None,
            timeout_ms: None,
            no_fallback: None,
            metadata: None,
            tags: Vec::new(),
            forwarded_for: Vec::new(),
        }
    }
}

/// Parses a complete head, as [`super::find_end`] delimited it.
///
/// # Errors
/// [`HeadError`] names the first rule that is broken.
pub fn parse_request(bytes: &[u8], limits: HeadLimits) -> Result<RequestHead, HeadError> {
    let mut lines = Lines::new(bytes);
    let line = RequestLine::read(&mut lines)?;
    let mut fields = Fields::default();
    let mut left = limits.fields_max.min(FIELDS_CEILING);
    while let Some(field) = lines.field()? {
        left = left.checked_sub(1).ok_or(HeadError::TooManyFields)?;
        fields.take(&field)?;
    }
    if fields.host.is_none() && line.is_1_1 {
        return Err(HeadError::Host);
    }
    let (path, has_query) = line.path(fields.host)?;
    let framing = fields.framing()?;
    if !line.is_1_1 && framing != Framing::None {
        return Err(HeadError::OldVersionBody);
    }
    Ok(RequestHead {
        len: bytes.len(),
        method: parse_method(line.method)?,
        method_text: Part::new(line.at, line.method.len()),
        path,
        has_query,
        is_1_1: line.is_1_1,
        keep_alive: if line.is_1_1 { !fields.says_close } else { fields.says_keep_alive && !fields.says_close },
        framing,
        expects_continue: fields.expects_continue && line.is_1_1,
        authorization: fields.authorization,
        x_api_key: fields.x_api_key,
        api_key: fields.api_key,
        content_type: fields.content_type,
        content_encoding: fields.content_encoding,
        request_id: fields.request_id,
        traceparent: fields.traceparent,
        tracestate: fields.tracestate,
        user_agent: fields.user_agent,
        timeout_ms: fields.timeout_ms,
        no_fallback: fields.no_fallback,
        metadata: fields.metadata,
        tags: fields.tags,
        forwarded_for: fields.forwarded_for,
    })
}

impl From<Malformed> for HeadError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

struct RequestLine<'a> {
    /// Where it begins: a server ignores empty lines in front of it (RFC 9112, section 2.2).
    at: usize,
    method: &'a [u8],
    target: &'a [u8],
    is_1_1: bool,
}

impl<'a> RequestLine<'a> {
    fn read(lines: &mut Lines<'a>) -> Result<Self, HeadError> {
        lines.skip_empty();
        let at = lines.at();
        let method = lines.token()?;
        lines.skip(b" ")?;
        let target = lines.word()?;
        lines.skip(b" ")?;
        let is_1_1 = lines.skip(b"HTTP/1.1").is_ok();
        if !is_1_1 {
            lines.skip(b"HTTP/1.0").map_err(|_| HeadError::Version)?;
        }
        lines.skip(LINE_END)?;
        if !target.is_ascii() && std::str::from_utf8(target).is_err() {
            return Err(HeadError::Malformed);
        }
        Ok(Self { at, method, target, is_1_1 })
    }

    /// Splits the target into path and query, and tells whether there is one; the absolute form must name the same authority as
    /// `Host`.
    fn path(&self, host: Option<&[u8]>) -> Result<(Part, bool), HeadError> {
        let target = self.target;
        // Nearly no target has either of them.
        let is_plain = memchr2(b'#', b'?', target).is_none();
        if !is_plain && target.contains(&b'#') {
            return Err(HeadError::Target);
        }
        let target_at = self.at + self.method.len() + 1;
        if self.method == b"OPTIONS" && target == b"*" {
            return Ok((Part::new(target_at, target.len()), false));
        }
        let mut path_at = 0;
        if !target.starts_with(b"/") {
            let authority_at = scheme_bytes(target).ok_or(HeadError::Target)?;
            let rest = target.get(authority_at..).unwrap_or_default();
            let (authority, path) = rest.split_at(memchr2(b'/', b'?', rest).unwrap_or(rest.len()));
            let is_same = host.is_some_and(|host| host.eq_ignore_ascii_case(authority));
            if !is_same || !path.starts_with(b"/") {
                return Err(HeadError::Target);
            }
            path_at = authority_at + authority.len();
        }
        let path_and_query = target.get(path_at..).unwrap_or_default();
        let query_at = if is_plain { None } else { memchr(b'?', path_and_query) };
        let path = Part::new(target_at + path_at, query_at.unwrap_or(path_and_query.len()));
        Ok((path, query_at.is_some()))
    }
}

#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
    expects_continue: bool,
    authorization: Option<Part>,
    x_api_key: Option<Part>,
    api_key: Option<Part>,
    content_type: Option<Part>,
    content_encoding: Option<Part>,
    request_id: Option<Part>,
    traceparent: Option<Part>,
    tracestate: Option<Part>,
    user_agent: Option<Part>,
    timeout_ms: Option<Part>,
    no_fallback: Option<Part>,
    metadata: Option<Part>,
    tags: Vec<Part>,
    forwarded_for: Vec<Part>,
}

impl<'a> Fields<'a> {
    /// Looks at one field. The length picks the candidates, so that most fields cost one comparison.
    #[inline(always)]
    fn take(&mut self, field: &Field<'a>) -> Result<(), HeadError> {
        let value = field.value;
        match field.name.len() {
            4 if field.is(b"host") => return self.set_host(value),
            6 if field.is(b"expect") => {
                if self.expects_continue || !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(HeadError::Expect);
                }
                self.expects_continue = true;
            }
            7 if field.is(b"upgrade") => return Err(HeadError::Forbidden),
            7 if field.is(b"api-key") => return set(&mut self.api_key, field),
            9 if field.is(b"x-rb-tags") => self.tags.push(field.place),
            9 if field.is(b"x-api-key") => return set(&mut self.x_api_key, field),
            10 if field.is(b"connection") => self.connection(value)?,
            10 if field.is(b"user-agent") => self.user_agent = Some(field.place),
            10 if field.is(b"tracestate") => self.tracestate = Some(field.place),
            11 if field.is(b"traceparent") => return set(&mut self.traceparent, field),
            12 if field.is(b"content-type") => return set(&mut self.content_type, field),
            12 if field.is(b"x-request-id") => return set(&mut self.request_id, field),
            13 if field.is(b"authorization") => return set(&mut self.authorization, field),
            14 if field.is(b"content-length") => {
                if self.length.is_some() {
                    return Err(HeadError::ContentLength);
                }
                self.length = Some(parse_length(value).ok_or(HeadError::ContentLength)?);
            }
            15 if field.is(b"x-millrace-tags") => self.tags.push(field.place),
            15 if field.is(b"x-forwarded-for") => self.forwarded_for.push(field.place),
            16 if field.is(b"content-encoding") && !value.eq_ignore_ascii_case(b"identity") => {
                return set(&mut self.content_encoding, field);
            }
            17 if field.is(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                self.chunked = true;
            }
            19 if field.is(b"x-millrace-metadata") => return set(&mut self.metadata, field),
            21 if field.is(b"x-millrace-timeout-ms") => return set(&mut self.timeout_ms, field),
            22 if field.is(b"x-millrace-no-fallback") => return set(&mut self.no_fallback, field),
            _ if has_underscore(field.name) => return Err(HeadError::Underscore),
            _ => {}
        }
        Ok(())
    }

    fn set_host(&mut self, value: &'a [u8]) -> Result<(), HeadError> {
        if self.host.is_some() || value.is_empty() || !value.iter().all(is_of_authority) {
            return Err(HeadError::Host);
        }
        self.host = Some(value);
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), HeadError> {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.says_close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.says_keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                return Err(HeadError::Forbidden);
            }
        }
        Ok(())
    }

    fn framing(&self) -> Result<Framing, HeadError> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(HeadError::BothFramings),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(0)) | (false, None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }
}

/// Looks at eight bytes at a time: names are short, and there are ten and more in a head.
fn has_underscore(name: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (chunks, rest) = name.as_chunks::<8>();
    let in_chunk = |chunk: &[u8; 8]| {
        let differences = u64::from_le_bytes(*chunk) ^ (ONES * 0x5f);
        differences.wrapping_sub(ONES) & !differences & (ONES << 7) != 0
    };
    chunks.iter().any(in_chunk) || rest.contains(&b'_')
}

fn set(slot: &mut Option<Part>, field: &Field<'_>) -> Result<(), HeadError> {
    if slot.is_some() {
        return Err(HeadError::Repeated);
    }
    *slot = Some(field.place);
    Ok(())
}

/// Reads 1 to 15 digits and nothing else: no sign, space, list or hex.
#[must_use]
pub(super) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 15 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// Whether a host with its port may have the byte.
fn is_of_authority(byte: &u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'&'..=b'.')
        || matches!(byte, b'!' | b'$' | b'%' | b':' | b';' | b'=' | b'[' | b']' | b'_' | b'~')
}

fn parse_method(method: &[u8]) -> Result<Method, HeadError> {
    Ok(match method {
        b"POST" => Method::Post,
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"OPTIONS" => Method::Options,
        b"CONNECT" | b"TRACE" => return Err(HeadError::Forbidden),
        _ => Method::Other,
    })
}

/// Length of `http://` or `https://` at the front.
fn scheme_bytes(target: &[u8]) -> Option<usize> {
    let (scheme, rest) = target.split_at(memchr(b':', target)?);
    let is_known = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    (is_known && rest.starts_with(b"://")).then_some(scheme.len() + 3)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;

//! Request heads: one strict parse, no allocation.
//!
//! `httparse` reads the grammar; what it tolerates and RFC 9112 merely allows is refused here: bare line feeds, repeated
//! fields that frame or identify, odd lengths, underscores in names. Every value is a range of the buffer.

use std::mem::MaybeUninit;

use memchr::memchr_iter;

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

    /// Finds where `slice` lies in `bytes`, of which it is a part. Heads are far below 4 GiB.
    pub(super) fn locate(bytes: &[u8], slice: &[u8]) -> Self {
        let start = slice.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
        let offset = |at: usize| u32::try_from(at).unwrap_or(0);
        Self { start: offset(start), end: offset(start + slice.len()) }
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

/// Looks for the end of a head in what has arrived so far.
///
/// `seen` is how far an earlier call has looked; it is moved on. Returns the length of the head once its empty line is
/// there. Empty lines before the request line are skipped by the caller through [`leading_blank`].
///
/// # Errors
/// [`HeadError::BareLineEnd`] at once, before the head is complete; [`HeadError::TooLarge`] past the limit.
pub fn find_end(bytes: &[u8], seen: &mut usize, bytes_max: usize) -> Result<Option<usize>, HeadError> {
    let rest = bytes.get(*seen..).unwrap_or_default();
    for offset in memchr_iter(b'\n', rest) {
        let at = *seen + offset;
        if at == 0 || bytes.get(at - 1) != Some(&b'\r') {
            return Err(HeadError::BareLineEnd);
        }
        if at >= 3 && bytes.get(at - 3..at - 1) == Some(b"\r\n") {
            return if at < bytes_max { Ok(Some(at + 1)) } else { Err(HeadError::TooLarge) };
        }
    }
    *seen = bytes.len();
    if bytes.len() > bytes_max { Err(HeadError::TooLarge) } else { Ok(None) }
}

/// Length of the empty lines before a request line that a server should ignore (RFC 9112, section 2.2): at most one.
#[must_use]
pub fn leading_blank(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}

/// Parses a complete head, as [`find_end`] delimited it.
///
/// # Errors
/// [`HeadError`] names the first rule that is broken.
pub fn parse_request(bytes: &[u8], limits: HeadLimits) -> Result<RequestHead, HeadError> {
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_CEILING];
    let slots = slots.get_mut(..limits.fields_max.min(FIELDS_CEILING)).unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, slots) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err(HeadError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyFields),
        Err(httparse::Error::Version) => return Err(HeadError::Version),
        Err(_) => return Err(HeadError::Malformed),
    }
    let parts = Parts { bytes };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(HeadError::Malformed);
    };
    let mut fields = Fields::default();
    for header in request.headers.iter() {
        fields.take(&parts, header)?;
    }
    let host = match (&fields.host, minor) {
        (Some(host), _) => Some(parts.get(*host)),
        (None, 0) => None,
        (None, _) => return Err(HeadError::Host),
    };
    let (path, has_query) = parse_target(&parts, method, target, host)?;
    let framing = fields.framing()?;
    if minor == 0 && framing != Framing::None {
        return Err(HeadError::OldVersionBody);
    }
    Ok(RequestHead {
        len: bytes.len(),
        method: parse_method(method)?,
        method_text: parts.range(method.as_bytes()),
        path,
        has_query,
        is_1_1: minor == 1,
        keep_alive: if minor == 1 { !fields.says_close } else { fields.says_keep_alive && !fields.says_close },
        framing,
        expects_continue: fields.expects_continue && minor == 1,
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

struct Parts<'a> {
    bytes: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Where a slice of the head lies in it.
    fn range(&self, slice: &[u8]) -> Part {
        Part::locate(self.bytes, slice)
    }

    fn get(&self, part: Part) -> &'a [u8] {
        part.of(self.bytes)
    }
}

#[derive(Default)]
struct Fields {
    host: Option<Part>,
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

impl Fields {
    /// Looks at one field. The length picks the candidates, so that most fields cost one comparison.
    fn take(&mut self, parts: &Parts<'_>, header: &httparse::Header<'_>) -> Result<(), HeadError> {
        let name = header.name.as_bytes();
        let value = header.value;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            4 if is("host") => return set_host(&mut self.host, parts, value),
            6 if is("expect") => {
                if self.expects_continue || !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(HeadError::Expect);
                }
                self.expects_continue = true;
            }
            7 if is("upgrade") => return Err(HeadError::Forbidden),
            7 if is("api-key") => return set(&mut self.api_key, parts, value),
            9 if is("x-rb-tags") => self.tags.push(parts.range(value)),
            9 if is("x-api-key") => return set(&mut self.x_api_key, parts, value),
            10 if is("connection") => self.connection(value)?,
            10 if is("user-agent") => self.user_agent = Some(parts.range(value)),
            10 if is("tracestate") => self.tracestate = Some(parts.range(value)),
            11 if is("traceparent") => return set(&mut self.traceparent, parts, value),
            12 if is("content-type") => return set(&mut self.content_type, parts, value),
            12 if is("x-request-id") => return set(&mut self.request_id, parts, value),
            13 if is("authorization") => return set(&mut self.authorization, parts, value),
            14 if is("content-length") => {
                if self.length.is_some() {
                    return Err(HeadError::ContentLength);
                }
                self.length = Some(parse_length(value).ok_or(HeadError::ContentLength)?);
            }
            15 if is("x-millrace-tags") => self.tags.push(parts.range(value)),
            15 if is("x-forwarded-for") => self.forwarded_for.push(parts.range(value)),
            16 if is("content-encoding") && !value.eq_ignore_ascii_case(b"identity") => {
                return set(&mut self.content_encoding, parts, value);
            }
            17 if is("transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                self.chunked = true;
            }
            19 if is("x-millrace-metadata") => return set(&mut self.metadata, parts, value),
            22 if is("x-millrace-no-fallback") => return set(&mut self.no_fallback, parts, value),
            21 if is("x-millrace-timeout-ms") => return set(&mut self.timeout_ms, parts, value),
            _ => {}
        }
        if has_underscore(name) {
            return Err(HeadError::Underscore);
        }
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

fn set(slot: &mut Option<Part>, parts: &Parts<'_>, value: &[u8]) -> Result<(), HeadError> {
    if slot.is_some() {
        return Err(HeadError::Repeated);
    }
    *slot = Some(parts.range(value));
    Ok(())
}

fn set_host(slot: &mut Option<Part>, parts: &Parts<'_>, value: &[u8]) -> Result<(), HeadError> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(b);
    if slot.is_some() || value.is_empty() || !value.iter().all(allowed) {
        return Err(HeadError::Host);
    }
    *slot = Some(parts.range(value));
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

fn parse_method(method: &str) -> Result<Method, HeadError> {
    Ok(match method {
        "POST" => Method::Post,
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        "CONNECT" | "TRACE" => return Err(HeadError::Forbidden),
        _ => Method::Other,
    })
}

/// Splits the target into path and query; the absolute form must name the same authority as `Host`.
fn parse_target(parts: &Parts<'_>, method: &str, target: &str, host: Option<&[u8]>) -> Result<(Part, bool), HeadError> {
    if target.contains('#') {
        return Err(HeadError::Target);
    }
    if method == "OPTIONS" && target == "*" {
        return Ok((parts.range(target.as_bytes()), false));
    }
    let path_and_query = if target.starts_with('/') {
        target
    } else {
        let rest = strip_scheme(target).ok_or(HeadError::Target)?;
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        let same = host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_bytes()));
        if !same || !path.starts_with('/') {
            return Err(HeadError::Target);
        }
        path
    };
    let (path, query) =
        path_and_query.split_once('?').map_or((path_and_query, None), |(path, query)| (path, Some(query)));
    Ok((parts.range(path.as_bytes()), query.is_some()))
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    known.then_some(rest)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;

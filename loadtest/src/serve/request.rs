//! Reads requests: heads, framing and bodies, strictly.
//!
//! A peer of a gateway must notice what a gateway should never send: two framings, two lengths, bad chunks.
//! Such a request is refused with a reason that also stands in the truth log.

use std::ops::Range;

/// Most bytes of a request head.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a request body.
pub(crate) const BODY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Most headers of a request.
const HEADER_COUNT_MAX: usize = 100;

/// One whole request with the buffer that it was read into.
pub(crate) struct Request {
    bytes: Vec<u8>,
    head: Head,
    body: Body,
}

enum Body {
    Span(Range<usize>),
    Decoded(Vec<u8>),
}

impl Request {
    /// A request whose body stands in the buffer as it came.
    pub(crate) fn spanning(bytes: Vec<u8>, head: Head, body: Range<usize>) -> Self {
        Self { bytes, head, body: Body::Span(body) }
    }

    /// A request whose body was taken out of its chunks.
    pub(crate) fn decoded(bytes: Vec<u8>, head: Head, body: Vec<u8>) -> Self {
        Self { bytes, head, body: Body::Decoded(body) }
    }

    /// The method.
    pub(crate) fn method(&self) -> &str {
        self.text(&self.head.method)
    }

    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        let target = self.text(&self.head.target);
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// The value of a query parameter, as written; the first if there are several.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.text(&self.head.target).split_once('?')?;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The body, without its framing.
    pub(crate) fn body(&self) -> &[u8] {
        match &self.body {
            Body::Span(range) => self.bytes.get(range.clone()).unwrap_or_default(),
            Body::Decoded(body) => body,
        }
    }

    /// Whether the client keeps the connection for a next request.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.head.keep_alive
    }

    /// Whether the client speaks HTTP/1.0, which has no chunks.
    pub(crate) fn is_http_10(&self) -> bool {
        self.head.http_10
    }

    /// All headers in order, as received. Parses the head again: for the truth log only.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let mut slots = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
        let mut parsed = httparse::Request::new(&mut slots);
        let head = self.bytes.get(..self.head.bytes).unwrap_or_default();
        if parsed.parse(head).is_err() {
            return Vec::new();
        }
        let lossy = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        parsed.headers.iter().map(|header| (header.name.to_owned(), lossy(header.value))).collect()
    }

    /// Hands the buffer back, for the next request.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.bytes.get(range.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

/// How a request body is delimited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Framing {
    /// No body.
    None,
    /// This many bytes.
    Length(usize),
    /// Chunks.
    Chunked,
}

/// What the server needs of a request head; ranges point into the buffer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Head {
    /// Length of the head with its blank line.
    pub(crate) bytes: usize,
    /// How the body is delimited.
    pub(crate) framing: Framing,
    /// Whether the client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    method: Range<usize>,
    target: Range<usize>,
    keep_alive: bool,
    http_10: bool,
}

impl Head {
    /// Reads a head from the start of `buffer`; `None` while it is incomplete.
    ///
    /// # Errors
    /// The reason, when no server should accept this head.
    pub(crate) fn read(buffer: &[u8]) -> Result<Option<Self>, String> {
        let mut slots = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
        let mut parsed = httparse::Request::new(&mut slots);
        let bytes = match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) if buffer.len() > HEAD_BYTES_MAX => {
                return Err(format!("head over {HEAD_BYTES_MAX} bytes"));
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("malformed head: {error}")),
        };
        let http_10 = parsed.version == Some(0);
        let mut fields = Fields::default();
        for header in parsed.headers.iter() {
            fields.read(header)?;
        }
        Ok(Some(Self {
            bytes,
            framing: fields.framing()?,
            expects_continue: fields.expects_continue,
            method: range_in(buffer, parsed.method.unwrap_or_default()),
            target: range_in(buffer, parsed.path.unwrap_or_default()),
            keep_alive: if http_10 { fields.says_keep_alive } else { !fields.says_close },
            http_10,
        }))
    }
}

/// Where `part`, a slice of `whole`, stands in it.
fn range_in(whole: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start + part.len()
}

/// The header fields that decide framing and keep-alive.
#[derive(Default)]
struct Fields {
    length: Option<usize>,
    chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
    expects_continue: bool,
}

impl Fields {
    fn read(&mut self, header: &httparse::Header<'_>) -> Result<(), String> {
        let value = header.value.trim_ascii();
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = length.and_then(|text| text.parse::<usize>().ok()).ok_or("malformed content-length")?;
            if self.length.replace(length).is_some() {
                return Err("two content-length headers".to_owned());
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
                return Err("transfer-encoding other than one `chunked`".to_owned());
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.says_close |= token.eq_ignore_ascii_case(b"close");
                self.says_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name.eq_ignore_ascii_case("expect") {
            self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
        }
        Ok(())
    }

    fn framing(&self) -> Result<Framing, String> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err("both content-length and transfer-encoding".to_owned()),
            (Some(length), false) if length > BODY_BYTES_MAX => Err(format!("body over {BODY_BYTES_MAX} bytes")),
            (Some(0), false) | (None, false) => Ok(Framing::None),
            (Some(length), false) => Ok(Framing::Length(length)),
            (None, true) => Ok(Framing::Chunked),
        }
    }
}

/// Takes a chunked body out of its framing, resuming as bytes arrive.
pub(crate) struct Chunks {
    at: usize,
    left: Left,
    body: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Left {
    Size,
    Bytes(usize),
    LineEnd,
    Trailer,
}

impl Chunks {
    /// Starts at offset `at` of the buffer.
    pub(crate) fn starting(at: usize) -> Self {
        Self { at, left: Left::Size, body: Vec::new() }
    }

    /// Reads on in the same, longer buffer. Returns the offset behind the body once it is complete.
    ///
    /// # Errors
    /// The reason, when the framing is broken or the body too long.
    pub(crate) fn read(&mut self, buffer: &[u8]) -> Result<Option<usize>, String> {
        loop {
            let rest = buffer.get(self.at..).unwrap_or_default();
            match self.left {
                Left::Bytes(count) => {
                    let taken = count.min(rest.len());
                    self.body.extend_from_slice(rest.get(..taken).unwrap_or_default());
                    self.at += taken;
                    if taken < count {
                        self.left = Left::Bytes(count - taken);
                        return Ok(None);
                    }
                    self.left = Left::LineEnd;
                }
                Left::LineEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        self.at += 2;
                        self.left = Left::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err("chunk longer than its size".to_owned()),
                },
                Left::Size | Left::Trailer => {
                    let Some(line) = line(rest)? else {
                        return Ok(None);
                    };
                    self.at += line.len() + 2;
                    if self.left == Left::Trailer {
                        if line.is_empty() {
                            return Ok(Some(self.at));
                        }
                        continue;
                    }
                    self.left = match chunk_size(line)? {
                        0 => Left::Trailer,
                        size if self.body.len() + size > BODY_BYTES_MAX => {
                            return Err(format!("body over {BODY_BYTES_MAX} bytes"));
                        }
                        size => Left::Bytes(size),
                    };
                }
            }
        }
    }

    /// The body read so far.
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

fn line(rest: &[u8]) -> Result<Option<&[u8]>, String> {
    match memchr::memchr(b'\n', rest) {
        Some(end) => match rest.get(..end) {
            Some([line @ .., b'\r']) => Ok(Some(line)),
            _ => Err("chunk line ends without CR".to_owned()),
        },
        None if rest.len() > 4_096 => Err("chunk line over 4096 bytes".to_owned()),
        None => Ok(None),
    }
}

fn chunk_size(line: &[u8]) -> Result<usize, String> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    if text.is_empty() || text.len() > 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("malformed chunk size".to_owned());
    }
    usize::from_str_radix(text, 16).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_name_their_framing_or_are_refused() {
        for (name, lines, want) in [
            ("no body", "", Ok(Framing::None)),
            ("length", "Content-Length: 12\r\n", Ok(Framing::Length(12))),
            ("chunked", "transfer-encoding: Chunked\r\n", Ok(Framing::Chunked)),
            ("two lengths", "content-length: 1\r\ncontent-length: 1\r\n", Err("two content-length headers")),
            ("signed length", "content-length: +1\r\n", Err("malformed content-length")),
            ("empty length", "content-length:\r\n", Err("malformed content-length")),
            (
                "both",
                "content-length: 1\r\ntransfer-encoding: chunked\r\n",
                Err("both content-length and transfer-encoding"),
            ),
            ("coding list", "transfer-encoding: gzip, chunked\r\n", Err("transfer-encoding other than one `chunked`")),
        ] {
            let head = format!("POST /v1 HTTP/1.1\r\n{lines}\r\n");
            let got = Head::read(head.as_bytes()).map(|head| head.unwrap().framing);
            assert_eq!(got, want.map_err(str::to_owned), "{name}");
        }
    }

    #[test]
    fn keep_alive_follows_version_and_connection_header() {
        for (version, lines, want) in [
            ("1.1", "", true),
            ("1.1", "connection: close\r\n", false),
            ("1.1", "connection: x, Close\r\n", false),
            ("1.0", "", false),
            ("1.0", "connection: keep-alive\r\n", true),
        ] {
            let head = format!("GET / HTTP/{version}\r\n{lines}\r\n");
            assert_eq!(Head::read(head.as_bytes()).unwrap().unwrap().keep_alive, want, "{version} {lines}");
        }
    }

    #[test]
    fn path_and_query_are_told_apart() {
        let bytes = b"GET /__records?dialect=openai-chat&stream=true HTTP/1.1\r\n\r\n".to_vec();
        let head = Head::read(&bytes).unwrap().unwrap();
        let end = head.bytes;
        let request = Request::spanning(bytes, head, end..end);
        assert_eq!(request.path(), "/__records");
        assert_eq!(request.query("stream"), Some("true"));
        assert_eq!(request.query("status"), None);
    }

    #[test]
    fn chunks_are_read_whole_and_byte_by_byte() {
        let wire = b"5;x=y\r\nhello\r\n10\r\n, chunked world!\r\n0\r\ntrailer: x\r\n\r\nGET";
        let mut whole = Chunks::starting(0);
        assert_eq!(whole.read(wire).unwrap(), Some(wire.len() - 3));
        assert_eq!(whole.into_body(), b"hello, chunked world!");
        let mut resumed = Chunks::starting(0);
        let ends: Vec<usize> = (0..=wire.len()).filter_map(|end| resumed_end(&mut resumed, &wire[..end])).collect();
        assert_eq!(ends.first(), Some(&(wire.len() - 3)));
    }

    fn resumed_end(chunks: &mut Chunks, buffer: &[u8]) -> Option<usize> {
        if chunks.body.len() == 21 && chunks.left == Left::Trailer && buffer.len() > 55 {
            return None;
        }
        chunks.read(buffer).unwrap()
    }

    #[test]
    fn broken_chunks_are_refused() {
        for (name, wire) in [
            ("no hex", "x\r\n"),
            ("empty size", "\r\n"),
            ("signed", "-1\r\n"),
            ("too long a size", "fffffffff\r\n"),
            ("bare LF", "5\nhello"),
            ("longer than its size", "2\r\nabc\r\n"),
        ] {
            assert!(Chunks::starting(0).read(wire.as_bytes()).is_err(), "{name}");
        }
    }
}

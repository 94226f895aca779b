//! One raw request and what must come of it.

use crate::harness::KEY;

/// A chat request that the demo project answers.
pub(super) const BODY: &str = r#"{"model":"demo/chat","messages":[{"role":"user","content":"hello"}]}"#;

/// What must come of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Want {
    /// This status with an error body and `connection: close`; nothing behind it is answered.
    Refused(u16),
    /// No answer, or none to wait for: the connection ends and nothing was answered.
    Gone,
    /// This status, then the canary's answer.
    Served(u16),
    /// This status, then the canary's answer or the end.
    ServedOrClosed(u16),
    /// This status, then the end: the client or its version asked for it.
    ServedAndClosed(u16),
    /// This error; then the canary's answer, or the end.
    Answered(u16),
    /// This status for a whole request; what follows it is refused with 400 before the canary, or the end.
    ThenRefused(u16),
}

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) want: Want,
    /// The client ends its side behind the canary.
    pub(super) half_close: bool,
}

impl Case {
    pub(super) fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>, want: Want) -> Self {
        Self { name: name.into(), bytes: bytes.into(), want, half_close: false }
    }

    pub(super) fn half_closed(mut self) -> Self {
        self.half_close = true;
        self
    }
}

pub(super) const REFUSED: Want = Want::Refused(400);
pub(super) const SERVED: Want = Want::Served(200);

/// The four lines of a good request, without an end.
pub(super) fn head() -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\n{}", key_lines())
}

pub(super) fn key_lines() -> String {
    format!("authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n")
}

/// A good request with these raw lines before `content-length`.
pub(super) fn request(lines: &[&[u8]], body: &str) -> Vec<u8> {
    let mut bytes = head().into_bytes();
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    bytes
}

/// As [`request`], but these lines are all that frames the body.
pub(super) fn framed(lines: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let mut bytes = head().into_bytes();
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// [`BODY`] in one chunk.
pub(super) fn chunks() -> Vec<u8> {
    format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len()).into_bytes()
}

/// Bytes in a name that can be printed.
pub(super) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

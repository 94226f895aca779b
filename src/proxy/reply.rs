//! Heads of answers, and the answers we give ourselves.

use std::{io::Write as _, time::Duration};

use crate::{
    base::Decimal,
    http::{Buffer, Downstream, Gone, RequestHead},
    wire::{ErrorCase, write_error_body},
};

use super::{
    exchange::{Exchange, Sent},
    passed::Passed,
    refused::limit_fields,
};

/// What happens to the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It may carry another request.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed once the client has had a chance to read the answer: unread input is on its way.
    Linger,
}

/// How the body of an answer is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Exactly so many bytes.
    Known(usize),
    /// Chunked.
    Chunked,
    /// Until the connection closes, for clients of HTTP/1.0.
    UntilClose,
}

/// What the body of an answer is; decides how it may be kept on its way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    /// A whole body of this type.
    Whole(&'a str),
    /// Events, which nobody on the way may hold back.
    Events,
}

/// Writes the status line and the fields that every answer has.
pub(super) fn open(out: &mut Buffer, exchange: &Exchange<'_>, status: u16) {
    out.extend(status_line(status));
    out.extend(&exchange.context.common_fields());
    out.extend(exchange.request_id.as_bytes());
    out.extend(b"\r\ntraceparent: ");
    out.extend(exchange.trace.value());
    out.extend(b"\r\nx-millrace-generation: ");
    out.extend(Decimal::new(exchange.generation).as_bytes());
    out.extend(b"\r\n");
}

/// Writes what served the answer and how long we took, once a target is known.
pub(super) fn served_by(out: &mut Buffer, exchange: &Exchange<'_>, overhead: Duration) {
    if let Some(target) = &exchange.target {
        out.extend(&target.answer_lines);
    }
    limit_fields(out, exchange);
    if exchange.attempts > 0 {
        out.extend(b"x-millrace-credential: ");
        out.extend(exchange.credential.as_str().as_bytes());
        out.extend(b"\r\nx-millrace-attempts: ");
        out.extend(Decimal::new(u64::from(exchange.attempts)).as_bytes());
        out.extend(b"\r\nx-millrace-overhead-us: ");
        out.extend(Decimal::new(u64::try_from(overhead.as_micros()).unwrap_or(u64::MAX)).as_bytes());
        out.extend(b"\r\n");
    }
}

/// Writes the fields of the provider's head that are passed on.
pub(super) fn passed_on(out: &mut Buffer, passed: &Passed) {
    for (name, value) in [("openai-processing-ms: ", &passed.processing_ms), ("openai-version: ", &passed.version)] {
        if !value.is_empty() {
            out.extend(name.as_bytes());
            out.extend(value);
            out.extend(b"\r\n");
        }
    }
}

/// Writes how long a client should wait before it tries again. Whole seconds are rounded up: none comes too early.
pub(super) fn pause(out: &mut Buffer, millis: u64) {
    out.extend(b"retry-after: ");
    out.extend(Decimal::new(millis.div_ceil(1_000)).as_bytes());
    out.extend(b"\r\nretry-after-ms: ");
    out.extend(Decimal::new(millis).as_bytes());
    out.extend(b"\r\n");
}

/// Writes the last fields of a head: type, length, connection.
pub(super) fn close_head(out: &mut Buffer, kind: Kind<'_>, length: Length, after: After) {
    match kind {
        Kind::Whole(content_type) => {
            out.extend(b"cache-control: no-store\r\ncontent-type: ");
            out.extend(content_type.as_bytes());
        }
        Kind::Events => out.extend(
            b"cache-control: no-cache\r\nx-accel-buffering: no\r\ncontent-type: text/event-stream; charset=utf-8",
        ),
    }
    match length {
        Length::Known(bytes) => {
            out.extend(b"\r\ncontent-length: ");
            out.extend(Decimal::new(u64::try_from(bytes).unwrap_or(u64::MAX)).as_bytes());
        }
        Length::Chunked => out.extend(b"\r\ntransfer-encoding: chunked"),
        Length::UntilClose => {}
    }
    if after == After::KeepAlive {
        out.extend(b"\r\n\r\n");
    } else {
        out.extend(b"\r\nconnection: close\r\n\r\n");
    }
}

/// An answer that we give ourselves.
pub(super) struct Local<'a> {
    /// Status.
    pub status: u16,
    /// Type of the body.
    pub content_type: &'a str,
    /// The body; not sent to `HEAD`.
    pub body: &'a [u8],
    /// More fields, each with its line end.
    pub fields: &'a [u8],
}

/// Why a request ends without a provider's answer.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// The row of the error table.
    pub case: ErrorCase,
    /// What the client is told.
    pub message: std::borrow::Cow<'static, str>,
    /// The field that is at fault.
    pub param: Option<&'static str>,
    /// For `retry-after`.
    pub retry_after: Option<Duration>,
    /// For `x-should-retry`, where it differs from what the case says.
    pub should_retry: Option<bool>,
    /// Methods for `allow`.
    pub allow: Option<&'static str>,
}

impl Refusal {
    /// A refusal with a message.
    #[must_use]
    pub(super) fn new(case: ErrorCase, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { case, message: message.into(), param: None, retry_after: None, should_retry: None, allow: None }
    }

    /// Names the field at fault.
    #[must_use]
    pub(super) fn param(mut self, param: Option<&'static str>) -> Self {
        self.param = param;
        self
    }
}

/// Sends an answer of our own; to `HEAD` without its body.
///
/// # Errors
/// [`Gone`].
pub(super) async fn send_local(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    local: &Local<'_>,
    after: After,
) -> Result<(), Gone> {
    exchange.capture_answer(local.body);
    exchange.status = local.status;
    let overhead = exchange.first_byte_sent();
    let mut out = Buffer::default();
    open(&mut out, exchange, local.status);
    served_by(&mut out, exchange, overhead);
    out.extend(local.fields);
    close_head(&mut out, Kind::Whole(local.content_type), Length::Known(local.body.len()), after);
    if !exchange.head_only {
        out.extend(local.body);
    }
    exchange.bytes_out += u64::try_from(out.len()).unwrap_or(0);
    exchange.sent = Sent::Bytes;
    down.write(out.filled()).await
}

/// Sends a refusal in the shape of the wire.
///
/// # Errors
/// [`Gone`].
pub(super) async fn send_refusal(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    refusal: &Refusal,
    after: After,
) -> Result<(), Gone> {
    exchange.error = refusal.case.label();
    let mut body = Vec::with_capacity(256);
    write_error_body(refusal.case, &refusal.message, refusal.param, &mut body);
    let mut fields = Vec::new();
    // Writing to a Vec cannot fail.
    if let Some(should_retry) = refusal.should_retry.or(refusal.case.should_retry()) {
        let _ = write!(fields, "x-should-retry: {should_retry}\r\n");
    }
    if let Some(wait) = refusal.retry_after {
        let millis = wait.as_nanos().div_ceil(1_000_000).max(1);
        let _ = write!(fields, "retry-after: {}\r\nretry-after-ms: {millis}\r\n", millis.div_ceil(1_000));
    }
    if let Some(allow) = refusal.allow {
        let _ = write!(fields, "allow: {allow}\r\n");
    }
    if refusal.case == ErrorCase::InvalidKey {
        fields.extend_from_slice(b"www-authenticate: Bearer\r\n");
    }
    let local = Local { status: refusal.case.status(), content_type: "application/json", body: &body, fields: &fields };
    send_local(exchange, down, &local, after).await
}

/// Decides what happens to the connection after an answer that left the body of the request unread, and reads the rest
/// if it is small. Call it after the answer; `announced` is what the answer said.
pub(super) async fn settle_body(down: &mut Downstream, head: &RequestHead, announced: After) -> After {
    match announced {
        After::KeepAlive if down.discard_body(head).await => After::KeepAlive,
        After::KeepAlive => After::Linger,
        other => other,
    }
}

fn status_line(status: u16) -> &'static [u8] {
    match status {
        200 => b"HTTP/1.1 200 OK\r\n",
        201 => b"HTTP/1.1 201 Created\r\n",
        202 => b"HTTP/1.1 202 Accepted\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        401 => b"HTTP/1.1 401 Unauthorized\r\n",
        402 => b"HTTP/1.1 402 Payment Required\r\n",
        403 => b"HTTP/1.1 403 Forbidden\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\n",
        408 => b"HTTP/1.1 408 Request Timeout\r\n",
        409 => b"HTTP/1.1 409 Conflict\r\n",
        410 => b"HTTP/1.1 410 Gone\r\n",
        413 => b"HTTP/1.1 413 Content Too Large\r\n",
        415 => b"HTTP/1.1 415 Unsupported Media Type\r\n",
        422 => b"HTTP/1.1 422 Unprocessable Content\r\n",
        429 => b"HTTP/1.1 429 Too Many Requests\r\n",
        431 => b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        504 => b"HTTP/1.1 504 Gateway Timeout\r\n",
        _ => b"HTTP/1.1 502 Bad Gateway\r\n",
    }
}

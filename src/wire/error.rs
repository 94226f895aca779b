//! Every error the data plane sends, in one table.
//!
//! Status, `type`, `code` and label of a case stand here and nowhere else (reference: wire-conventions 2.2).
//! Messages say what the caller did; they never hold an upstream body, a key or a prompt.

use super::endpoint::Endpoint;
use super::json_text::push_json_string;

/// One reason why a request ends without a provider's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCase {
    /// The HTTP head is malformed.
    BadHead,
    /// The body is not one strict JSON object.
    BadJson,
    /// A field that we read has a wrong type, form or spelling.
    BadField,
    /// A name that we read stands twice in the body.
    DuplicateField,
    /// Two different keys in two headers.
    TwoKeys,
    /// No key, or one that is unknown, disabled or expired; the caller is not told which.
    InvalidKey,
    /// The key may not use this route or model.
    ModelNotAllowed,
    /// The model names no `project/route` that this key may see.
    ModelNotFound,
    /// No such path.
    PathNotFound,
    /// The path exists, the method does not; the answer needs `allow`.
    MethodNotAllowed,
    /// Head or body came too slowly; the connection closes.
    RequestTimeout,
    /// The project of the key is archived.
    ProjectArchived,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The head is larger than the limit.
    HeadTooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The prompt does not fit the model's context.
    ContextLengthExceeded,
    /// The provider's own filter refused the prompt.
    ContentFilter,
    /// A limit of requests is reached.
    RateLimited,
    /// A limit of tokens is reached.
    TokensRateLimited,
    /// As many requests are open as may be.
    ConcurrencyLimit,
    /// A limit in money is reached.
    InsufficientQuota,
    /// A limit in money is held by requests that are open.
    QuotaReserved,
    /// The organization's credits are used up.
    InsufficientCredits,
    /// A budget cannot be kept on disk at the moment.
    LedgerUnavailable,
    /// Every target refused with 429.
    UpstreamRateLimited,
    /// No credential for the target at run time.
    NoCredential,
    /// Attempts exhausted, or an answer that is none.
    UpstreamError,
    /// No target may be tried now.
    NoHealthyUpstream,
    /// The provider did not answer in time.
    UpstreamTimeout,
    /// Too much load, or draining.
    Overloaded,
    /// The stored configuration cannot be served.
    ConfigError,
    /// Our own fault.
    Internal,
}

/// One row of the table.
struct Row {
    status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    should_retry: Option<bool>,
    label: &'static str,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";
const QUOTA: &str = "insufficient_quota";

const fn row(status: u16, kind: &'static str, code: &'static str) -> Row {
    Row { status, kind, code: Some(code), should_retry: None, label: code }
}

const fn row_without_code(status: u16, kind: &'static str, label: &'static str) -> Row {
    Row { status, kind, code: None, should_retry: None, label }
}

const fn never_retried(row: Row) -> Row {
    Row { should_retry: Some(false), ..row }
}

impl ErrorCase {
    /// Every case, for tests and for tables of metrics.
    pub const ALL: [Self; 32] = [
        Self::BadHead,
        Self::BadJson,
        Self::BadField,
        Self::DuplicateField,
        Self::TwoKeys,
        Self::InvalidKey,
        Self::ModelNotAllowed,
        Self::ModelNotFound,
        Self::PathNotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::ProjectArchived,
        Self::BodyTooLarge,
        Self::HeadTooLarge,
        Self::UnsupportedMediaType,
        Self::ContextLengthExceeded,
        Self::ContentFilter,
        Self::RateLimited,
        Self::TokensRateLimited,
        Self::ConcurrencyLimit,
        Self::InsufficientQuota,
        Self::QuotaReserved,
        Self::InsufficientCredits,
        Self::LedgerUnavailable,
        Self::UpstreamRateLimited,
        Self::NoCredential,
        Self::UpstreamError,
        Self::NoHealthyUpstream,
        Self::UpstreamTimeout,
        Self::Overloaded,
        Self::ConfigError,
        Self::Internal,
    ];

    const fn row(self) -> Row {
        match self {
            Self::BadHead => row_without_code(400, INVALID, "bad_head"),
            Self::BadJson => row_without_code(400, INVALID, "bad_json"),
            Self::BadField => row(400, INVALID, "invalid_value"),
            Self::DuplicateField => row(400, INVALID, "duplicate_field"),
            Self::TwoKeys => row_without_code(400, INVALID, "two_keys"),
            Self::InvalidKey => row(401, INVALID, "invalid_api_key"),
            Self::ModelNotAllowed => never_retried(row(403, "permission_error", "model_not_allowed")),
            Self::ModelNotFound => row(404, INVALID, "model_not_found"),
            Self::PathNotFound => row_without_code(404, INVALID, "path_not_found"),
            Self::MethodNotAllowed => row_without_code(405, INVALID, "method_not_allowed"),
            Self::RequestTimeout => row(408, INVALID, "request_timeout"),
            Self::ProjectArchived => never_retried(row(410, INVALID, "project_archived")),
            Self::BodyTooLarge => row(413, INVALID, "request_too_large"),
            Self::HeadTooLarge => Row { label: "head_too_large", ..row(431, INVALID, "request_too_large") },
            Self::UnsupportedMediaType => row(415, INVALID, "unsupported_media_type"),
            Self::ContextLengthExceeded => row(400, INVALID, "context_length_exceeded"),
            Self::ContentFilter => never_retried(row(400, INVALID, "content_filter")),
            Self::RateLimited => row(429, "requests", "rate_limit_exceeded"),
            Self::TokensRateLimited => {
                Row { label: "token_limit_exceeded", ..row(429, "tokens", "rate_limit_exceeded") }
            }
            Self::ConcurrencyLimit => row(429, "requests", "concurrency_limit_exceeded"),
            Self::InsufficientQuota => never_retried(row(429, QUOTA, "insufficient_quota")),
            Self::QuotaReserved => row(429, QUOTA, "quota_reserved"),
            Self::InsufficientCredits => never_retried(row(402, QUOTA, "insufficient_credits")),
            Self::LedgerUnavailable => row(503, SERVER, "ledger_unavailable"),
            Self::UpstreamRateLimited => row(429, "requests", "upstream_rate_limited"),
            Self::NoCredential => never_retried(row(502, SERVER, "no_credential")),
            Self::UpstreamError => row(502, SERVER, "upstream_error"),
            Self::NoHealthyUpstream => row(503, SERVER, "no_healthy_upstream"),
            Self::UpstreamTimeout => row(504, SERVER, "upstream_timeout"),
            Self::Overloaded => row(503, SERVER, "overloaded"),
            Self::ConfigError => row(503, SERVER, "config_error"),
            Self::Internal => row(500, SERVER, "internal_error"),
        }
    }

    /// Gives the HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// Gives `error.type`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        self.row().kind
    }

    /// Gives `error.code`; `None` is sent as `null`.
    #[must_use]
    pub const fn code(self) -> Option<&'static str> {
        self.row().code
    }

    /// Gives the value of `x-should-retry`; `None` means that the header is not sent.
    #[must_use]
    pub const fn should_retry(self) -> Option<bool> {
        self.row().should_retry
    }

    /// Names the case in metrics and logs; differs from case to case.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.row().label
    }
}

/// Where a stream stands when it must end with an error.
///
/// Only the Responses wire needs it; the default fits the other wires and a stream that had no event yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamErrorAt<'a> {
    /// `response.id` of the stream; empty if none was seen.
    pub response_id: &'a str,
    /// `sequence_number` for our event: one more than the last seen.
    pub sequence_number: u64,
}

/// Appends a whole error body in the OpenAI shape: `message`, `type`, `param` and `code`, all always present.
pub fn write_error_body(case: ErrorCase, message: &str, param: Option<&str>, out: &mut Vec<u8>) {
    write_error_object(&Fields { kind: case.kind(), code: case.code(), param }, message, out);
}

/// The parts of an error object beside its message.
pub(super) struct Fields<'a> {
    pub(super) kind: &'a str,
    pub(super) code: Option<&'a str>,
    pub(super) param: Option<&'a str>,
}

pub(super) fn write_error_object(fields: &Fields<'_>, message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{\"message\":");
    push_json_string(message, out);
    out.extend_from_slice(b",\"type\":");
    push_json_string(fields.kind, out);
    out.extend_from_slice(b",\"param\":");
    push_text_or_null(fields.param, out);
    out.extend_from_slice(b",\"code\":");
    push_text_or_null(fields.code, out);
    out.extend_from_slice(b"}}");
}

fn push_text_or_null(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => push_json_string(text, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends the event that ends a broken stream, in the wire of the endpoint. No end marker may follow it.
///
/// Chat and Completions: `data: {"error":{...}}`, on which the SDKs raise. Responses: `event: response.failed`,
/// since Codex ignores a plain `error` event. Only whole events may have been sent before.
pub fn write_stream_error(
    endpoint: Endpoint,
    case: ErrorCase,
    message: &str,
    at: StreamErrorAt<'_>,
    out: &mut Vec<u8>,
) {
    if endpoint != Endpoint::Responses {
        out.extend_from_slice(b"data: ");
        write_error_body(case, message, None, out);
        out.extend_from_slice(b"\n\n");
        return;
    }
    out.extend_from_slice(b"event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":");
    out.extend_from_slice(at.sequence_number.to_string().as_bytes());
    out.extend_from_slice(b",\"response\":{\"id\":");
    push_json_string(at.response_id, out);
    out.extend_from_slice(b",\"object\":\"response\",\"status\":\"failed\",\"output\":[],\"error\":{\"code\":");
    // The wire's `error.code` is never null: without an own code the nearest of its closed set is sent.
    push_json_string(case.code().unwrap_or("server_error"), out);
    out.extend_from_slice(b",\"message\":");
    push_json_string(message, out);
    out.extend_from_slice(b"}}}\n\n");
}

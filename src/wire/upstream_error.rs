//! What a provider's error means, and what the client sees.
//!
//! Providers use one status for many things and many shapes for one thing, so the meaning is judged from `type`, `code`,
//! text and status together. The client gets the provider's status, `type`, `code` and `param` where they are safe, never
//! its message: that may hold prompts, key fragments or markup.

use serde_json::Value;

use super::error::{ErrorCase, Fields, write_error_object};

/// What an upstream error is about. It decides on fallback; the status alone does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// Our credential is missing, wrong or not allowed.
    Auth,
    /// The account behind the credential has no money or quota left.
    Quota,
    /// Too many requests or tokens for now.
    Rate,
    /// The prompt does not fit the model.
    Context,
    /// The provider's filter refused the content.
    Content,
    /// The provider's own fault; another try may work.
    Transient,
    /// The request itself, such as an unknown model or a bad field.
    Invalid,
}

impl Meaning {
    /// Names the meaning in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Rate => "rate",
            Self::Context => "context",
            Self::Content => "content",
            Self::Transient => "transient",
            Self::Invalid => "invalid",
        }
    }
}

/// One error answer, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamError {
    /// What it is about.
    pub meaning: Meaning,
    /// The provider's status.
    pub status: u16,
    /// `error.type`, if it is in a safe form.
    pub kind: Option<Box<str>>,
    /// `error.code`, if it is in a safe form; a number is given as text.
    pub code: Option<Box<str>>,
    /// `error.param`, if it is in a safe form.
    pub param: Option<Box<str>>,
    /// `code` was a number, which says nothing that the status does not.
    numeric_code: bool,
}

/// Longest body that is read for its meaning; beyond it the status alone decides.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest message that is searched for phrases, in bytes.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// Reads an error answer of any known shape; a body of no known shape is judged by its status.
///
/// It also reads an error object out of a stream or of an answer with status 200, given as `{"error":...}` or bare.
#[must_use]
pub fn view_upstream_error(status: u16, body: &[u8]) -> UpstreamError {
    let document =
        if body.len() <= BODY_BYTES_MAX { serde_json::from_slice(body).unwrap_or(Value::Null) } else { Value::Null };
    // Gemini wraps the object into an array when the request was for a stream.
    let document = document.get(0).unwrap_or(&document);
    let error = match document.get("error") {
        Some(error @ Value::Object(_)) => error,
        _ => document,
    };
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let code = error.get("code");
    let message = [error.get("message"), document.get("error"), document.get("detail")]
        .into_iter()
        .flatten()
        .find_map(Value::as_str)
        .unwrap_or_default();
    let words = Words {
        names: [text("type"), text("code"), text("status")].map(|name| lower(name.unwrap_or_default())),
        message: lower(message),
    };
    UpstreamError {
        meaning: words.meaning(effective_status(status, error)),
        status,
        kind: text("type").and_then(safe_word),
        code: match code {
            Some(Value::Number(number)) => number.as_u64().map(|n| n.to_string().into()),
            _ => text("code").and_then(safe_word),
        },
        param: text("param").and_then(safe_path),
        numeric_code: matches!(code, Some(Value::Number(_))),
    }
}

/// Gives the status that the body names when the answer itself had 200, as errors inside streams do.
fn effective_status(status: u16, error: &Value) -> u16 {
    if status >= 300 {
        return status;
    }
    ["status_code", "code", "status"]
        .iter()
        .filter_map(|name| error.get(*name))
        .find_map(|value| match value {
            Value::String(text) => text.parse().ok(),
            _ => value.as_u64().and_then(|code| u16::try_from(code).ok()),
        })
        .filter(|code| (400..600).contains(code))
        .unwrap_or(500)
}

/// What the meaning is judged from, in lower case.
struct Words {
    /// `type`, `code` and `status`.
    names: [String; 3],
    message: String,
}

const CONTEXT_PHRASES: [&str; 9] = [
    "context length",
    "context window",
    "maximum context",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "messages is too long",
    "maximum number of tokens",
    "max context",
];

impl Words {
    fn meaning(&self, status: u16) -> Meaning {
        let named = |parts: &[&str]| self.names.iter().any(|name| parts.iter().any(|part| name.contains(part)));
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| self.message.contains(phrase));
        let refused = matches!(status, 400 | 413 | 422);
        if named(&["context_length", "context_window", "too_many_prompt_tokens"]) || (refused && says(&CONTEXT_PHRASES))
        {
            return Meaning::Context;
        }
        if named(&["content_filter", "content_policy", "responsibleai", "moderation"])
            || (status < 500 && says(&["content management policy", "content policy", "safety system"]))
        {
            return Meaning::Content;
        }
        if status == 402
            || named(&["insufficient_quota", "billing", "insufficient_credits", "insufficient_balance"])
            || says(&["exceeded your current quota", "insufficient balance", "credit balance"])
        {
            return Meaning::Quota;
        }
        let blames_key = says(&["api key", "api_key"]) && says(&["incorrect", "invalid", "not valid"]);
        if matches!(status, 401 | 403)
            || named(&["invalid_api_key", "authentication", "unauthenticated", "permission_denied"])
            || (refused && blames_key)
        {
            return Meaning::Auth;
        }
        if status == 429 || named(&["rate_limit", "ratelimit", "resource_exhausted", "too_many_requests"]) {
            return Meaning::Rate;
        }
        let is_transient = !(400..500).contains(&status) || matches!(status, 408 | 409 | 425);
        if is_transient || named(&["server_error", "overloaded", "unavailable"]) {
            return Meaning::Transient;
        }
        Meaning::Invalid
    }
}

fn lower(text: &str) -> String {
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_ascii_lowercase()
}

/// Passes a `type` or `code` that is a word or several, never a text or something like a key.
fn safe_word(text: &str) -> Option<Box<str>> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let is_safe = (1..=64).contains(&text.len()) && text.bytes().all(plain) && !looks_like_key(text);
    is_safe.then(|| text.into())
}

/// Passes a `param`, which is a path such as `messages[1].content`.
fn safe_path(text: &str) -> Option<Box<str>> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'[' | b']');
    let is_safe = (1..=128).contains(&text.len()) && text.bytes().all(plain) && !looks_like_key(text);
    is_safe.then(|| text.into())
}

/// Keys are long runs of letters and digits mixed; no provider's code has one.
fn looks_like_key(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        run.len() >= 12 && run.bytes().any(|b| b.is_ascii_digit()) && run.bytes().any(|b| b.is_ascii_alphabetic())
    })
}

impl UpstreamError {
    /// Tells whether the client sees the provider's status: what is about its own request, or a rate.
    ///
    /// A refused credential is our business even where the provider says 400, so it never passes.
    fn passes(&self) -> bool {
        self.meaning != Meaning::Auth && matches!(self.status, 400 | 404 | 413 | 422 | 429)
    }

    /// Gives the row of the error table for an error that does not pass as it is.
    #[must_use]
    pub const fn case(&self) -> ErrorCase {
        match (self.meaning, self.status) {
            (Meaning::Context, _) => ErrorCase::ContextLengthExceeded,
            (Meaning::Content, _) => ErrorCase::ContentFilter,
            (_, 429) => ErrorCase::UpstreamRateLimited,
            (_, 504) => ErrorCase::UpstreamTimeout,
            _ => ErrorCase::UpstreamError,
        }
    }

    /// Gives the status for the client: 400, 404, 413, 422 and 429 stay, 504 stays, the rest is 502.
    #[must_use]
    pub fn client_status(&self) -> u16 {
        if self.passes() {
            return self.status;
        }
        match self.case() {
            ErrorCase::UpstreamTimeout => 504,
            _ => 502,
        }
    }

    /// Gives the value of `x-should-retry`; `None` means that the header is not sent.
    #[must_use]
    pub fn should_retry(&self) -> Option<bool> {
        // The SDKs retry 429 and 5xx, but neither a spent quota nor a refused credential comes back in seconds, and a
        // filter decides the same again.
        matches!(self.meaning, Meaning::Quota | Meaning::Auth | Meaning::Content).then_some(false)
    }

    /// Appends the error body for the client: the provider's `type`, `code` and `param` and our own message.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        let case = self.case();
        if !self.passes() {
            let fallback = match self.client_status() {
                504 => ErrorCase::UpstreamTimeout,
                _ => ErrorCase::UpstreamError,
            };
            let fields = Fields { kind: fallback.kind(), code: fallback.code(), param: None };
            write_error_object(&fields, &self.message(), out);
            return;
        }
        let own_kind =
            if self.status == 429 { ErrorCase::UpstreamRateLimited.kind() } else { ErrorCase::BadField.kind() };
        // Where the provider gives no code of its own the table's is more use than none.
        let own_code = match case {
            ErrorCase::UpstreamError | ErrorCase::UpstreamTimeout => None,
            _ => case.code(),
        };
        let code = match (&self.code, own_code) {
            (Some(_), Some(own)) if self.numeric_code => Some(own),
            (Some(code), _) => Some(&**code),
            (None, own) => own,
        };
        let fields = Fields { kind: self.kind.as_deref().unwrap_or(own_kind), code, param: self.param.as_deref() };
        write_error_object(&fields, &self.message(), out);
    }

    /// Says in our own words what happened; nothing of the provider's text is in it.
    #[must_use]
    pub fn message(&self) -> String {
        let text = match self.meaning {
            Meaning::Auth => "the provider refused the gateway's credential",
            Meaning::Quota => "the provider account of this route has no quota left",
            Meaning::Rate => "the provider limits the rate of requests; retry later",
            Meaning::Context => "the prompt does not fit the model's context",
            Meaning::Content => "the provider's content filter refused the request",
            Meaning::Transient => "the provider failed to answer",
            Meaning::Invalid if self.status == 404 => "the provider does not know the requested model or resource",
            Meaning::Invalid if self.param.is_some() => "the provider refused the request: invalid value for",
            Meaning::Invalid => "the provider refused the request as invalid",
        };
        match &self.param {
            Some(param) if self.meaning == Meaning::Invalid && self.status != 404 => {
                format!("{text} `{param}`")
            }
            _ => text.to_owned(),
        }
    }
}

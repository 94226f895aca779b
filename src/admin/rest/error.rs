//! Refusals as `application/problem+json`.
//!
//! A handler returns an [`ApiError`]; it becomes text when the request's id is known, in [`render`]. No text here repeats
//! a value that the client sent: it may be a secret.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;
use crate::admin::reply::json;
use crate::base::log::{Level, Value, emit};
use crate::base::{UnixTime, unix_time};
use crate::config::Severity;
use crate::control::{ControlError, FieldProblem};
use crate::snapshot::Refusal;

/// The type of every refusal.
pub(crate) const PROBLEM_TYPE: &str = "application/problem+json";

/// Why a request is refused.
#[derive(Debug, Clone)]
pub struct ApiError {
    code: Code,
    detail: String,
    errors: Vec<ErrorItem>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// A refusal, as RFC 9457 has it, with a code of a closed list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemView<'a> {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference")]
    kind: String,
    /// The status in words.
    title: &'a str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What to do about it.
    detail: &'a str,
    /// Names this occurrence.
    #[schema(format = "uri-reference")]
    instance: String,
    /// The kind of problem, of a closed list.
    #[schema(schema_with = code_schema)]
    code: &'static str,
    /// Id of the request, as in `x-request-id`.
    request_id: &'a str,
    /// Each thing that is wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [ErrorItem],
}

/// One thing that is wrong with a request or a configuration.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ProblemItem)]
pub struct ErrorItem {
    /// Path of the field or key, such as `tags.team`; empty for the whole.
    pub path: String,
    /// Line in the configuration, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, nullable = false)]
    pub line: Option<u32>,
    /// Column in the configuration, in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, nullable = false)]
    pub column: Option<u32>,
    /// The kind of problem.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub hint: Option<String>,
    /// Whether it stops the configuration from being used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = severity_schema)]
    pub severity: Option<&'static str>,
}

fn code_schema() -> utoipa::openapi::schema::Object {
    words(Code::ALL.iter().map(|code| code.as_str()))
}

fn severity_schema() -> utoipa::openapi::schema::Object {
    words([Severity::Error, Severity::Warning].map(Severity::as_str))
}

fn words(words: impl IntoIterator<Item = &'static str>) -> utoipa::openapi::schema::Object {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .enum_values(Some(words.into_iter().map(serde_json::Value::from)))
        .build()
}

impl ApiError {
    /// A refusal of this kind; `detail` says what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), header: None }
    }

    /// Fields or parameters that are not as they must be.
    #[must_use]
    pub fn invalid(problems: Vec<FieldProblem>) -> Self {
        ControlError::Invalid(problems).into()
    }

    /// One field or parameter that is not as it must be.
    pub fn field(path: impl Into<String>, message: impl Into<String>) -> Self {
        ControlError::field(path, message).into()
    }

    /// The kind of problem.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    fn with_errors(mut self, errors: Vec<ErrorItem>) -> Self {
        self.errors = errors;
        self
    }

    fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.header = HeaderValue::from_str(value).ok().map(|value| Box::new((name, value)));
        self
    }

    /// Too many requests; may be repeated after so many seconds.
    pub(super) fn rate_limited(detail: &str, retry_after_seconds: u64) -> Self {
        Self::new(Code::RateLimited, detail).with_header(header::RETRY_AFTER, &retry_after_seconds.max(1).to_string())
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        let code = match error {
            ControlError::NotAuthenticated => {
                return Self::new(Code::NotAuthenticated, detail).with_header(header::WWW_AUTHENTICATE, "Bearer");
            }
            ControlError::Stale { current } => {
                let refused = Self::new(Code::StaleVersion, detail);
                // A revision of 0 is unknown: the row changed between two transactions.
                return if current == 0 { refused } else { refused.with_header(header::ETAG, &entity_tag(current)) };
            }
            ControlError::Invalid(problems) => {
                return Self::new(Code::Invalid, detail)
                    .with_errors(problems.into_iter().map(ErrorItem::from).collect());
            }
            ControlError::ConfigInvalid(refusals) => {
                let errors = refusals.iter().map(ErrorItem::from).collect();
                return Self::new(Code::ConfigInvalid, detail).with_errors(errors);
            }
            ControlError::RateLimited(until) => return Self::rate_limited(&detail, seconds_until(until)),
            ControlError::Internal(cause) => {
                emit(Level::Error, "admin request failed", &[("cause", Value::Text(&cause))]);
                Code::InternalError
            }
            ControlError::NotFound => Code::NotFound,
            ControlError::NotPermitted(_) | ControlError::FileOwned(_) => Code::NotPermitted,
            ControlError::LimitReached(_) => Code::LimitReached,
            ControlError::SecondPersonRequired(_) => Code::SecondPersonRequired,
            ControlError::IllegalTransition(_) => Code::IllegalTransition,
            ControlError::GenerationConflict(_) => Code::GenerationConflict,
            ControlError::ServeInProgress(_) => Code::ServeInProgress,
            ControlError::NameTaken(_) => Code::NameTaken,
            ControlError::SlugTaken(_) => Code::SlugTaken,
            ControlError::SlugLocked => Code::SlugLocked,
            ControlError::ProjectArchived => Code::ProjectArchived,
            ControlError::LastOwner => Code::LastOwner,
            ControlError::TooLarge(_) => Code::TooLarge,
            ControlError::InUse(_) => Code::InUse,
            ControlError::Unavailable(_) => Code::StoreUnavailable,
        };
        Self::new(code, detail)
    }
}

/// The `ETag` of a revision.
pub(super) fn entity_tag(revision: u64) -> String {
    format!("\"{revision}\"")
}

fn seconds_until(until: UnixTime) -> u64 {
    until.0.saturating_sub(unix_time().0).as_secs() + 1
}

impl From<FieldProblem> for ErrorItem {
    fn from(problem: FieldProblem) -> Self {
        Self {
            path: problem.path,
            line: None,
            column: None,
            code: Code::Invalid.as_str().to_owned(),
            message: problem.message,
            hint: None,
            severity: None,
        }
    }
}

impl From<&Refusal> for ErrorItem {
    fn from(refusal: &Refusal) -> Self {
        Self::from(&refusal.problem)
    }
}

impl From<&crate::config::Problem> for ErrorItem {
    fn from(problem: &crate::config::Problem) -> Self {
        Self {
            path: problem.path.clone(),
            line: Some(problem.at.line),
            column: Some(problem.at.column),
            code: problem.code.as_str().to_owned(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
            severity: Some(problem.severity.as_str()),
        }
    }
}

impl IntoResponse for ApiError {
    /// The status and headers, with the rest among the extensions until [`render`] writes it.
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some((name, value)) = self.header.as_deref().cloned() {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes a refusal's body, which names the request; every other answer passes.
pub(crate) fn render(mut response: Response<Body>, request_id: &str) -> Response<Body> {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else {
        return response;
    };
    let status = response.status();
    let view = ProblemView {
        kind: format!("urn:millrace:problem:{}", error.code.as_str()),
        title: status.canonical_reason().unwrap_or("error"),
        status: status.as_u16(),
        detail: &error.detail,
        instance: format!("urn:millrace:request:{request_id}"),
        code: error.code.as_str(),
        request_id,
        errors: &error.errors,
    };
    let mut rendered = json(status, PROBLEM_TYPE, &view);
    for (name, value) in response.headers() {
        if *name != header::CONTENT_LENGTH {
            rendered.headers_mut().append(name.clone(), value.clone());
        }
    }
    rendered
}

//! Bodies of requests.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body as RawBody, Bytes, HttpBody as _, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Required};

use super::code::Code;
use super::endpoint::Input;
use super::error::ApiError;
use super::json;
use super::operation::{Operation, text};
use super::reply::{JSON, YAML};

/// Longest configuration: 1 MiB.
pub const YAML_BYTES_MAX: usize = 1 << 20;
/// Longest body in JSON: a configuration whose quotes and line ends are escaped fits in.
pub const BODY_BYTES_MAX: usize = 2 * YAML_BYTES_MAX + 64 * 1024;
/// What is read and dropped beyond that, so that a client that writes before it reads gets its answer.
const DROPPED_BYTES_MAX: usize = 16 * YAML_BYTES_MAX;
/// How long a body may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// A body in JSON. `T` derives `Deserialize` with `deny_unknown_fields` and `ToSchema` with every bound.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// A body in JSON that may be left out: `T`'s default then. For actions that take a comment.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

/// A configuration: as YAML, or as JSON `{content, comment}`.
#[derive(Debug)]
pub struct Upload {
    /// The exact bytes, at most 1 MiB.
    pub content: Bytes,
    /// What the author says about it; empty with YAML.
    pub comment: String,
}

/// A configuration inside JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfigUpload)]
struct JsonUpload {
    /// The YAML text, at most 1 MiB.
    #[schema(max_length = 1_048_576)]
    content: String,
    /// What the author says about it.
    #[serde(default)]
    #[schema(max_length = 2_000)]
    comment: String,
}

impl<T: ToSchema> Input for Body<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.takes(JSON, Required::True, schema);
        operation.refuses(&[Code::MalformedJson, Code::Invalid]);
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        check_type(request.headers(), &[JSON])?;
        json::read(&whole(request).await?).map(Self)
    }
}

impl<T: ToSchema> Input for OptionalBody<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.takes(JSON, Required::False, schema);
        operation.refuses(&[Code::MalformedJson, Code::Invalid]);
    }
}

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let kind = check_type(request.headers(), &[JSON]);
        let bytes = whole(request).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        kind?;
        json::read(&bytes).map(Self)
    }
}

impl Input for Upload {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<JsonUpload>();
        operation.takes(JSON, Required::True, schema);
        let schema = text().description(Some("The configuration, at most 1 MiB.")).build();
        operation.takes(YAML, Required::True, RefOr::T(schema.into()));
        operation.refuses(&[Code::MalformedJson, Code::Invalid]);
    }
}

impl<S: Sync> FromRequest<S> for Upload {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let kind = check_type(request.headers(), &[JSON, YAML])?;
        let bytes = whole(request).await?;
        let upload = if kind == YAML {
            Self { content: bytes, comment: String::new() }
        } else {
            let JsonUpload { content, comment } = json::read(&bytes)?;
            Self { content: content.into(), comment }
        };
        if upload.content.len() > YAML_BYTES_MAX {
            return Err(ApiError::new(Code::TooLarge, "a configuration has at most 1 MiB (1,048,576 bytes)"));
        }
        Ok(upload)
    }
}

/// The body, which the gate has read and bounded.
async fn whole(request: Request) -> Result<Bytes, ApiError> {
    let read = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    read.map_err(|_| ApiError::new(Code::BadRequest, "the body cannot be read"))
}

/// The one of these types that the body says it has.
fn check_type(headers: &HeaderMap, kinds: &[&'static str]) -> Result<&'static str, ApiError> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let said = values.next().and_then(|value| value.to_str().ok()).filter(|_| values.next().is_none());
    let mut parts = said.unwrap_or_default().split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset_fits = parts.all(|part| match part.to_ascii_lowercase().strip_prefix("charset=") {
        Some(charset) => charset.trim_matches('"') == "utf-8",
        None => true,
    });
    let known = kinds.iter().find(|kind| **kind == name).filter(|_| charset_fits);
    known.copied().ok_or_else(|| {
        ApiError::new(Code::UnsupportedMediaType, format!("send the body as `{}`", kinds.join("` or `")))
    })
}

/// Reads a body within its bounds of length and time.
pub(super) async fn collect(headers: &HeaderMap, body: RawBody) -> Result<Bytes, ApiError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::new(Code::UnsupportedMediaType, "send the body without `Content-Encoding`"));
    }
    let late = |_| ApiError::new(Code::BadRequest, "the body did not arrive within 30 seconds");
    timeout(ARRIVAL_MAX, read(body)).await.map_err(late)?
}

async fn read(mut body: RawBody) -> Result<Bytes, ApiError> {
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| ApiError::new(Code::BadRequest, "the body broke off"))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        length += piece.len();
        if length <= BODY_BYTES_MAX {
            bytes.extend_from_slice(&piece);
        } else if length > DROPPED_BYTES_MAX {
            break;
        }
    }
    if length > BODY_BYTES_MAX {
        return Err(ApiError::new(Code::TooLarge, format!("a body has at most {BODY_BYTES_MAX} bytes")));
    }
    Ok(bytes.into())
}

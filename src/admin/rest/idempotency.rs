//! `Idempotency-Key`: a repeated `POST` gets the first answer.
//!
//! The answer is kept for 24 hours with a digest of its request. That the request begins is stored before it acts: when the
//! process dies between the change and its answer, a repetition is told what was done, and nothing is done twice.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::Required;

use super::body::BODY_BYTES_MAX;
use super::code::Code;
use super::endpoint::Input;
use super::error::{ApiError, render};
use super::gate::Desk;
use super::operation::{Operation, text};
use crate::base::log::{Level, Value, emit};
use crate::control::{Answer, ControlError, Kept};

/// Name of the header.
const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is a repetition.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Headers that are kept with a body.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];
const KEY_CHARS_MAX: usize = 255;
/// Longest answer that is kept; ours are far shorter.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Requests that are being answered now, by caller and key.
#[derive(Default)]
pub(super) struct Running(Mutex<HashSet<(String, String)>>);

/// One of them, until it is dropped.
struct Turn<'a>(&'a Running, (String, String));

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// The key of a request that is not taken without one: 400.
#[derive(Debug, Clone)]
pub struct IdempotencyKey(pub String);

impl Input for IdempotencyKey {
    fn describe(operation: &mut Operation) {
        let schema = text().pattern(Some("^[!-~]{1,255}$"));
        let schema =
            schema.description(Some("Names the operation: it is carried out once, however often it is asked for."));
        operation.header("Idempotency-Key", Required::True, schema);
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // The gate has checked its form.
        let value = parts.headers.get(HEADER).and_then(|value| value.to_str().ok());
        let missing = || ApiError::new(Code::BadRequest, "send an `Idempotency-Key`, so that a repetition acts once");
        value.map(|value| Self(value.to_owned())).ok_or_else(missing)
    }
}

/// A kept answer as it is sealed.
#[derive(Serialize, Deserialize)]
struct Envelope {
    headers: Vec<(String, String)>,
    body: String,
}

/// Adds the header to a description.
pub(super) fn describe(operation: &mut Operation) {
    let is_described = operation.has_header("Idempotency-Key");
    operation.refuses(&[Code::IdempotencyRunning, Code::Invalid]);
    if is_described {
        return;
    }
    let schema = text().pattern(Some("^[!-~]{1,255}$"));
    let schema = schema.description(Some("The same key and body within 24 hours get the first answer again."));
    operation.header("Idempotency-Key", Required::False, schema);
}

/// Runs a change, or repeats the answer to the same request.
pub(super) async fn answer_once(
    desk: &Desk,
    caller: &str,
    request: Request,
    next: Next,
    request_id: &str,
) -> Response<Body> {
    let key = match key(&request) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    let place = (caller.to_owned(), key);
    if !desk.running.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone()) {
        let detail = "the first request with this `Idempotency-Key` is still running; wait for its answer";
        return ApiError::new(Code::IdempotencyRunning, detail).into_response();
    }
    let turn = Turn(&desk.running, place);
    let answered = keep(desk, (caller, &turn.1.1), request, next, request_id).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// The key of a request that has one and may have one.
fn key(request: &Request) -> Result<Option<String>, ApiError> {
    let mut values = request.headers().get_all(HEADER).iter();
    let Some(value) = values.next().filter(|_| *request.method() == Method::POST) else {
        return Ok(None);
    };
    let readable = value.to_str().ok().filter(|_| values.next().is_none());
    let fits =
        |text: &&str| (1..=KEY_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let refused = "send one `Idempotency-Key` of 1 to 255 printable ASCII characters without spaces";
    readable.filter(fits).map(|text| Some(text.to_owned())).ok_or_else(|| ApiError::new(Code::BadRequest, refused))
}

async fn keep(
    desk: &Desk,
    (caller, key): (&str, &str),
    request: Request,
    next: Next,
    request_id: &str,
) -> Result<Response<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    let unreadable = |_| ApiError::new(Code::BadRequest, "the body cannot be read");
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(unreadable)?;
    let request_digest = digest(&parts, &bytes);
    match desk.answers.kept_answer(caller, key, &request_digest).await? {
        Kept::Nothing => desk.answers.begin_answer(caller, key, request_digest, request_id).await?,
        Kept::OfAnother => {
            let message = "this key was used for another request within 24 hours; choose a new one";
            return Err(ApiError::field("Idempotency-Key", message));
        }
        Kept::Done { action, object } => {
            let detail = format!(
                "the first request with this `Idempotency-Key` was carried out (`{action}` of `{object}`), but its answer was \
                 lost; look at what it did, and choose a new key to act again"
            );
            return Err(ApiError::new(Code::IdempotencyRunning, detail));
        }
        Kept::Answer(kept) => {
            let unreadable = || ControlError::Internal("a kept answer is not readable".to_owned()).into();
            return replay(&kept).ok_or_else(unreadable);
        }
    }
    let response = render(next.run(Request::from_parts(parts, Body::from(bytes))).await, request_id);
    let (head, body) = response.into_parts();
    let unreadable = |error| ControlError::Internal(format!("an answer cannot be kept: {error}"));
    let bytes = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(unreadable)?;
    let is_final = !head.status.is_server_error() && head.status != StatusCode::TOO_MANY_REQUESTS;
    if is_final {
        let envelope = Envelope { headers: kept_headers(&head), body: String::from_utf8_lossy(&bytes).into_owned() };
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
        let answer = Answer { request_digest, status: head.status.as_u16(), body };
        // What was done is done: that its answer could not be kept is no reason to hide it.
        if let Err(error) = desk.answers.keep_answer(caller, key, answer).await {
            let text = error.to_string();
            emit(Level::Warn, "an answer was not kept for its repetition", &[("cause", Value::Text(&text))]);
        }
    }
    Ok(Response::from_parts(head, Body::from(bytes)))
}

fn digest(parts: &axum::http::request::Parts, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let target = parts.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
    let kind = parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), kind] {
        hash.update(part);
        // None of these can hold a line feed.
        hash.update(b"\n");
    }
    hash.update(body);
    hash.finalize().into()
}

fn kept_headers(head: &axum::http::response::Parts) -> Vec<(String, String)> {
    let value = |name: &HeaderName| head.headers.get(name)?.to_str().ok().map(str::to_owned);
    KEPT_HEADERS.iter().filter_map(|name| Some((name.as_str().to_owned(), value(name)?))).collect()
}

fn replay(kept: &Answer) -> Option<Response<Body>> {
    let envelope: Envelope = serde_json::from_slice(&kept.body).ok()?;
    let mut response = Response::new(Body::from(envelope.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).ok()?;
    for (name, value) in envelope.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        response.headers_mut().insert(name, HeaderValue::from_str(&value).ok()?);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Some(response)
}

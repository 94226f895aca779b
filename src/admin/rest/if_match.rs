//! Optimistic locking: which revision the caller has read.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use utoipa::openapi::Required;

use super::code::Code;
use super::endpoint::Input;
use super::error::ApiError;
use super::operation::{Operation, text};

/// What no object has: stands for a tag that is not one of ours, so that an object that does not exist is still a 404.
const NO_REVISION: u64 = i64::MAX.cast_unsigned();

/// The revision in `If-Match`. Absent is 428; whether it is the present one is for `control/` to say (412).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfMatch(pub u64);

impl Input for IfMatch {
    fn describe(operation: &mut Operation) {
        let schema = text().pattern(Some("^\"[0-9]{1,19}\"$")).description(Some("The `ETag` of the object."));
        operation.header("If-Match", Required::True, schema);
        operation.refuses(&[Code::StaleVersion, Code::IfMatchRequired]);
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        revision(&parts.headers)?.map(Self).ok_or_else(|| {
            ApiError::new(Code::IfMatchRequired, "send `If-Match` with the `ETag` of the object as it was last read")
        })
    }
}

/// What the caller knows about an object that may not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// `If-Match`: it exists with this revision.
    Revision(u64),
    /// `If-None-Match: *`: it does not exist.
    Absent,
}

impl Input for Known {
    fn describe(operation: &mut Operation) {
        let schema = text().pattern(Some("^\"[0-9]{1,19}\"$")).description(Some("The `ETag` of the object."));
        operation.header("If-Match", Required::False, schema);
        let schema = text().pattern(Some("^\\*$")).description(Some("Instead of `If-Match`: nothing exists yet."));
        operation.header("If-None-Match", Required::False, schema);
        operation.refuses(&[Code::StaleVersion, Code::IfMatchRequired]);
    }
}

impl<S: Sync> FromRequestParts<S> for Known {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let absent = parts.headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes() == b"*");
        match (revision(&parts.headers)?, absent) {
            (Some(revision), None) => Ok(Self::Revision(revision)),
            (None, Some(true)) => Ok(Self::Absent),
            (None, None) => Err(ApiError::new(
                Code::IfMatchRequired,
                "send `If-Match` with the `ETag` of what was last read, or `If-None-Match: *` if there is nothing yet",
            )),
            _ => Err(ApiError::new(Code::BadRequest, "send either `If-Match` or `If-None-Match: *`")),
        }
    }
}

fn revision(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::new(Code::BadRequest, "send one `If-Match` with one `ETag`"));
    }
    let digits = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    Ok(Some(digits.and_then(|digits| digits.parse().ok()).unwrap_or(NO_REVISION).min(NO_REVISION)))
}

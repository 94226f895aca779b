//! Which type of answer a caller wants.

use std::collections::BTreeSet;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::code::Code;
use super::endpoint::Input;
use super::error::ApiError;
use super::operation::Operation;
use super::reply::{JSON, YAML};

/// Which form of a [`super::Document`] is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The object.
    Json,
    /// The exact bytes.
    Yaml,
}

impl Input for Wanted {
    fn describe(_: &mut Operation) {}
}

impl<S: Sync> FromRequestParts<S> for Wanted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let [json, yaml] = [JSON, YAML].map(|kind| quality(&parts.headers, kind));
        Ok(if yaml > json { Self::Yaml } else { Self::Json })
    }
}

/// Refuses a request whose `Accept` leaves nothing that could be sent.
pub(super) fn check(headers: &HeaderMap, produces: &BTreeSet<String>) -> Result<(), ApiError> {
    if produces.is_empty() || produces.iter().any(|kind| quality(headers, kind) > 0) {
        return Ok(());
    }
    Err(ApiError::new(Code::NotAcceptable, "send `Accept: application/json`, or none"))
}

/// How much a type is wanted, in thousandths; the most specific range decides (RFC 9110, section 12.5.1).
fn quality(headers: &HeaderMap, kind: &str) -> u32 {
    let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if ranges.peek().is_none() {
        // No wish, or none that can be read.
        return 1_000;
    }
    let family = kind.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let rank = match name.as_str() {
            name if name == kind => 3,
            "*/*" => 1,
            name if name.strip_suffix("/*") == Some(family) => 2,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let thousandths = weight.map_or(1_000, |text| thousandths(text).unwrap_or(1_000));
        if rank > best.0 {
            best = (rank, thousandths);
        }
    }
    best.1
}

/// Reads `0`, `0.5`, `1.000`.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    Some((whole.parse::<u32>().ok()?.checked_mul(1_000)? + part).min(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_specific_range_decides() {
        for (accept, json, yaml) in [
            (None, 1_000, 1_000),
            (Some("*/*"), 1_000, 1_000),
            (Some("application/json"), 1_000, 0),
            (Some("application/*;q=0.5"), 500, 500),
            (Some("application/yaml, */*;q=0.1"), 100, 1_000),
            (Some("*/*, application/json;q=0"), 0, 1_000),
            (Some("text/html"), 0, 0),
            (Some("APPLICATION/JSON; Q=0.25"), 250, 0),
            (Some(""), 0, 0),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!((quality(&headers, JSON), quality(&headers, YAML)), (json, yaml), "{accept:?}");
        }
    }
}

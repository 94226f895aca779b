//! Parameters of the query: unknown ones are refused.

use std::collections::BTreeSet;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::endpoint::Input;
use super::error::ApiError;
use super::operation::Operation;
use crate::control::FieldProblem;

/// The parameters of an endpoint, read into `T`; those of a list are read by [`super::Listing`] beside it.
///
/// Derive `Deserialize` and `IntoParams` with `#[into_params(parameter_in = Query)]`. Unknown names were refused before,
/// so `T` must not deny unknown fields: it does not see those of the list.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: IntoParams> Input for Query<T> {
    fn describe(operation: &mut Operation) {
        operation.query::<T>();
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        read(&parts.uri).map(Self)
    }
}

/// Reads the query of a target.
pub(super) fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    let read = axum::extract::Query::<T>::try_from_uri(uri);
    read.map(|axum::extract::Query(query)| query).map_err(|error| {
        let said = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let (path, message) = said.split_once(": ").unwrap_or(("", &said));
        ApiError::field(path, super::json::expectation(message))
    })
}

/// The query as it was sent, decoded, in order.
pub(super) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    read(uri)
}

/// Refuses parameters that the endpoint does not have, and those that come twice.
pub(super) fn check_names(uri: &Uri, known: &[String]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (name, _) in pairs(uri)? {
        if !known.contains(&name) {
            let message = if known.is_empty() {
                "unknown parameter; this path takes none".to_owned()
            } else {
                format!("unknown parameter; known: `{}`", known.join("`, `"))
            };
            problems.push(FieldProblem::new(name, message));
        } else if !seen.insert(name.clone()) {
            problems.push(FieldProblem::new(name, "given more than once"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ApiError::invalid(problems)) }
}

//! The view of a whole, non-streamed answer.

use super::Endpoint;
use super::json::Span;
use crate::base::TokenCounts;

/// What we read in an answer. Spans are of that body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerView {
    /// Tokens as the provider stated them, if it did so validly.
    pub usage: Option<TokenCounts>,
    /// Value of `model`: a string with its quotes.
    pub model: Option<Span>,
    /// Value of a top-level `error` that is not `null`: the answer is a failure whatever its status.
    pub error: Option<Span>,
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing but white space.
    #[error("the answer is empty")]
    Empty,
    /// Not one JSON object: HTML, text, or cut off.
    #[error("the answer is not a JSON object")]
    NotJson,
}

/// Checks a whole answer and reads what we need of it. Leading white space is allowed: some providers pad.
///
/// # Errors
/// [`AnswerError`] if it is no JSON object.
pub fn view_answer(endpoint: Endpoint, body: &[u8]) -> Result<AnswerView, AnswerError> {
    let _ = (endpoint, body);
    Err(AnswerError::Empty)
}

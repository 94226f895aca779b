//! Answers kept for requests that are repeated.

use async_trait::async_trait;

use super::error::ControlError;

/// How long an answer is kept.
pub const ANSWER_KEPT_SECONDS: u64 = 24 * 60 * 60;

/// The first answer to a request with an `Idempotency-Key`, in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// SHA-256 of the request.
    pub request_digest: [u8; 32],
    /// Status of the answer.
    pub status: u16,
    /// What was answered; may hold a key that is shown once, so it is stored sealed.
    pub body: Vec<u8>,
}

/// Keeps answers for 24 hours, by caller and key.
#[async_trait]
pub trait KeepAnswers: Send + Sync {
    /// The answer kept for this caller and key, if it is not older than 24 hours.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] without a store.
    async fn kept_answer(&self, caller: &str, key: &str) -> Result<Option<Answer>, ControlError>;

    /// Keeps an answer, and forgets those that are too old.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] without a store.
    async fn keep_answer(&self, caller: &str, key: &str, answer: Answer) -> Result<(), ControlError>;
}

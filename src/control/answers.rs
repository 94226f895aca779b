//! Answers kept for requests that are repeated.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    error::ControlError,
    instance::Control,
    vault::{Place, Purpose, VaultError},
};
use crate::{
    base::{UnixTime, unix_time},
    store::KeptAnswer,
};

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

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

#[async_trait]
impl KeepAnswers for Control {
    async fn kept_answer(&self, caller: &str, key: &str) -> Result<Option<Answer>, ControlError> {
        let wanted = (caller.to_owned(), key.to_owned());
        let kept = self.store().read(move |tx| tx.kept_answer(&wanted.0, &wanted.1)).await?;
        let Some(kept) = kept.filter(|kept| kept.at >= oldest_kept()) else {
            return Ok(None);
        };
        let body = self.vault().open_seal(place(caller, key), &kept.sealed_body).map_err(internal)?;
        Ok(Some(Answer { request_digest: kept.request_digest, status: kept.status, body: body.to_vec() }))
    }

    async fn keep_answer(&self, caller: &str, key: &str, answer: Answer) -> Result<(), ControlError> {
        let row = KeptAnswer {
            caller: caller.to_owned(),
            key: key.to_owned(),
            request_digest: answer.request_digest,
            status: answer.status,
            sealed_body: self.vault().seal(place(caller, key), &answer.body).map_err(internal)?,
            at: unix_time(),
        };
        let write = self.store().write(move |tx| {
            tx.forget_answers(oldest_kept())?;
            tx.keep_answer(&row)
        });
        Ok(write.await?)
    }
}

fn oldest_kept() -> UnixTime {
    UnixTime(unix_time().0.saturating_sub(KEPT_FOR))
}

/// A kept answer opens only for the caller and the key that it was kept for.
fn place<'a>(caller: &'a str, key: &'a str) -> Place<'a> {
    Place { purpose: Purpose::KeptAnswer, owner: caller, record: key, version: 1, origins: &[] }
}

fn internal(error: VaultError) -> ControlError {
    ControlError::Internal(error.to_string())
}

//! Answers kept for requests that are repeated.
//!
//! That a request begins is stored before it acts, with the id of the request; each change puts that id into the audit log
//! in its own transaction. So when a process ends between a change and the keeping of its answer, a repetition finds the
//! change there, and does not act again.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    error::ControlError,
    instance::Control,
    vault::{Place, Purpose, VaultError},
};
use crate::{
    base::{UnixTime, unix_time},
    store::{AuditFilter, KeptAnswer, Order, PageRequest, Tx},
};

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Stands for the status of a request that has begun and was not answered.
const BEGUN: u16 = 0;
/// How far back a clock may have been set between a request and its change.
const CLOCK_SLACK: Duration = Duration::from_secs(600);

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

/// What is known of a caller's `Idempotency-Key`.
#[derive(Clone, PartialEq, Eq)]
pub enum Kept {
    /// Nothing within 24 hours, or a request that changed nothing and was not answered.
    Nothing,
    /// It was used for another request.
    OfAnother,
    /// The answer.
    Answer(Answer),
    /// What the request did before the process ended; its answer is lost.
    Done {
        /// Name of the action in the audit log.
        action: String,
        /// Id of its object.
        object: String,
    },
}

/// Keeps answers for 24 hours, by caller and key.
#[async_trait]
pub trait KeepAnswers: Send + Sync {
    /// What is kept for this caller and key; `request_digest` is the SHA-256 of the request that is here now.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] without a store.
    async fn kept_answer(&self, caller: &str, key: &str, request_digest: &[u8; 32]) -> Result<Kept, ControlError>;

    /// Notes that a request begins to act, and forgets what is too old.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] without a store.
    async fn begin_answer(
        &self,
        caller: &str,
        key: &str,
        request_digest: [u8; 32],
        request_id: &str,
    ) -> Result<(), ControlError>;

    /// Keeps an answer.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] without a store.
    async fn keep_answer(&self, caller: &str, key: &str, answer: Answer) -> Result<(), ControlError>;
}

#[async_trait]
impl KeepAnswers for Control {
    async fn kept_answer(&self, caller: &str, key: &str, request_digest: &[u8; 32]) -> Result<Kept, ControlError> {
        let wanted = (caller.to_owned(), key.to_owned());
        let row = self.store().read(move |tx| tx.kept_answer(&wanted.0, &wanted.1)).await?;
        let Some(row) = row.filter(|row| row.at >= oldest_kept()) else {
            return Ok(Kept::Nothing);
        };
        if row.request_digest != self.pepper().request_digest(request_digest) {
            return Ok(Kept::OfAnother);
        }
        let body = self.vault().open_seal(place_of_answer(caller, key), &row.sealed_body).map_err(internal)?;
        if row.status != BEGUN {
            let (request_digest, body) = (*request_digest, body.to_vec());
            return Ok(Kept::Answer(Answer { request_digest, status: row.status, body }));
        }
        let request_id = String::from_utf8_lossy(&body).into_owned();
        self.store().read(move |tx| done_by(tx, &row, request_id)).await
    }

    async fn begin_answer(
        &self,
        caller: &str,
        key: &str,
        request_digest: [u8; 32],
        request_id: &str,
    ) -> Result<(), ControlError> {
        let body = request_id.as_bytes().to_vec();
        self.keep_answer(caller, key, Answer { request_digest, status: BEGUN, body }).await
    }

    async fn keep_answer(&self, caller: &str, key: &str, answer: Answer) -> Result<(), ControlError> {
        let row = KeptAnswer {
            caller: caller.to_owned(),
            key: key.to_owned(),
            request_digest: self.pepper().request_digest(&answer.request_digest),
            status: answer.status,
            sealed_body: self.vault().seal(place_of_answer(caller, key), &answer.body).map_err(internal)?,
            at: unix_time(),
        };
        let write = self.store().write(move |tx| {
            tx.forget_answers(oldest_kept())?;
            tx.keep_answer(&row)
        });
        Ok(write.await?)
    }
}

/// What a request that was not answered has changed.
fn done_by(tx: &dyn Tx, begun: &KeptAnswer, request_id: String) -> Result<Kept, ControlError> {
    let filter = AuditFilter {
        actor: Some(begun.caller.clone()),
        request_id: Some(request_id),
        since: Some(UnixTime(begun.at.0.saturating_sub(CLOCK_SLACK))),
        ..AuditFilter::default()
    };
    let first = tx.audit(&filter, &PageRequest { limit: 1, after: None, order: Order::Ascending })?;
    Ok(first
        .rows
        .into_iter()
        .next()
        .map_or(Kept::Nothing, |entry| Kept::Done { action: entry.event.action, object: entry.event.object }))
}

fn oldest_kept() -> UnixTime {
    UnixTime(unix_time().0.saturating_sub(KEPT_FOR))
}

/// A kept answer opens only for the caller and the key that it was kept for.
pub(super) fn place_of_answer<'a>(caller: &'a str, key: &'a str) -> Place<'a> {
    Place { purpose: Purpose::KeptAnswer, owner: caller, record: key, version: 1, origins: &[] }
}

fn internal(error: VaultError) -> ControlError {
    ControlError::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Rig;
    use super::super::{Actor, NewProject};
    use super::*;

    #[tokio::test]
    async fn change_without_its_answer_is_found_after_a_restart_and_not_repeated() {
        let rig = Rig::new().await;
        let digest = [7; 32];
        let ask =
            async |rig: &Rig, key: &str, digest| rig.control.kept_answer(rig.owner.id.as_str(), key, digest).await;
        let caller = rig.owner.id.as_str().to_owned();
        rig.control.begin_answer(&caller, "one", digest, "request 1").await.unwrap();
        assert!(ask(&rig, "one", &digest).await.unwrap() == Kept::Nothing, "it has changed nothing");
        let as_other = Actor { request_id: "request 2".to_owned(), ..rig.owner.clone() };
        let as_one = Actor { request_id: "request 1".to_owned(), ..rig.owner.clone() };
        let new = |name: &str| NewProject { name: name.to_owned(), ..NewProject::default() };
        rig.control.create_project(&as_other, &rig.organization, new("other")).await.unwrap();
        assert!(ask(&rig, "one", &digest).await.unwrap() == Kept::Nothing, "another request changed something");
        let made = rig.control.create_project(&as_one, &rig.organization, new("chat")).await.unwrap().project.id;

        let owner = rig.owner.clone();
        let mut rig = rig.restarted().await;
        rig.owner = owner;
        let want = Kept::Done { action: "project.create".to_owned(), object: made.as_str().to_owned() };
        assert!(ask(&rig, "one", &digest).await.unwrap() == want);
        assert!(ask(&rig, "one", &[8; 32]).await.unwrap() == Kept::OfAnother);
        let answer = Answer { request_digest: digest, status: 201, body: b"said".to_vec() };
        rig.control.keep_answer(&caller, "one", answer.clone()).await.unwrap();
        assert!(ask(&rig, "one", &digest).await.unwrap() == Kept::Answer(answer));
    }

    #[tokio::test]
    async fn digest_of_a_request_is_stored_under_the_pepper() {
        let rig = Rig::new().await;
        rig.control.begin_answer("usr_a", "one", [7; 32], "request 1").await.unwrap();
        let row = rig.control.store().read(|tx| tx.kept_answer("usr_a", "one")).await.unwrap().unwrap();
        assert_ne!(row.request_digest, [7; 32]);
    }
}

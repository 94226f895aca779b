//! What proves who calls, and who says whom it belongs to.

use async_trait::async_trait;

use super::{actor::Actor, error::ControlError};

/// What a caller shows to be let in. Never logged.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// The text behind `Authorization: Bearer`.
    Bearer(&'a str),
    /// The value of the session cookie.
    Session(&'a str),
}

/// Which request the proof came with.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// Address of the caller, without port.
    pub address: &'a str,
    /// Id of the request.
    pub request_id: &'a str,
}

/// Turns a proof of identity into an actor.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Looks the proof up.
    ///
    /// # Errors
    /// [`ControlError::NotAuthenticated`] for unknown and expired ones alike, [`ControlError::Unavailable`] without a store.
    async fn authenticate(&self, proof: Proof<'_>, presented: Presented<'_>) -> Result<Actor, ControlError>;

    /// As [`Self::authenticate`] for a request that goes on: not noted as a use.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    async fn recognize(&self, proof: Proof<'_>, presented: Presented<'_>) -> Result<Actor, ControlError> {
        self.authenticate(proof, presented).await
    }
}

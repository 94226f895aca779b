//! Who is still who it was when its long answer began.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::caller::{address_of, proof};
use super::endpoint::Input;
use super::error::ApiError;
use super::operation::Operation;
use crate::base::{RequestId, Secret};
use crate::control::{Actor, Authenticate, ControlError, Presented, Proof};

/// What a request proved itself with, kept for as long as its answer lasts.
pub struct Standing {
    text: Secret,
    is_session: bool,
    address: String,
    request_id: String,
}

impl Standing {
    /// Asks again whose request it is. It is no use of a session: an answer that nobody looks at keeps none alive.
    ///
    /// # Errors
    /// [`ControlError::NotAuthenticated`] when the token or session has ended.
    pub(super) async fn renew(&self, authority: &dyn Authenticate) -> Result<Actor, ControlError> {
        let text = self.text.reveal();
        let proof = if self.is_session { Proof::Session(text) } else { Proof::Bearer(text) };
        let presented = Presented { address: &self.address, request_id: &self.request_id };
        authority.recognize(proof, presented).await
    }
}

impl Input for Standing {
    fn describe(_: &mut Operation) {}
}

impl<S: Sync> FromRequestParts<S> for Standing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let (text, is_session) = match proof(&parts.headers).ok_or(ControlError::NotAuthenticated)? {
            Proof::Bearer(text) => (text, false),
            Proof::Session(text) => (text, true),
        };
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default();
        let address = address_of(&parts.extensions);
        Ok(Self { text: Secret::new(text.to_owned()), is_session, address, request_id })
    }
}

//! How a request ends that gets no answer of a provider.

use crate::{
    http::{Downstream, RequestHead},
    metrics::Outcome,
    wire::{Endpoint, ErrorCase},
};

use super::{
    attempt::Failure,
    exchange::Exchange,
    reply::{After, Refusal},
};

/// A refusal, and whether the body of the request has been taken from the input.
pub(super) struct Refused {
    /// What the client is told.
    pub(super) refusal: Refusal,
    /// Whether the body is gone.
    pub(super) body_read: bool,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, body_read: false }
    }
}

/// What a request that failed ends with. What a provider may have received is billed.
pub(super) fn fail(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (head, body_len): (&RequestHead, usize),
    failure: Failure,
) -> Result<After, Refused> {
    match failure {
        Failure::ClientGone => {
            exchange.cancelled = true;
            exchange.may_be_billed();
            if exchange.tried.is_under_way() {
                exchange.count_attempt(Outcome::Cancelled);
            }
            Ok(After::Close)
        }
        Failure::Client(refusal) => {
            down.finish_request(head, body_len);
            Err(Refused { refusal, body_read: true })
        }
        Failure::Target(outcome, refusal) => {
            if matches!(outcome, Outcome::Timeout | Outcome::Truncated | Outcome::Invalid) {
                exchange.may_be_billed();
            }
            exchange.count_attempt(outcome);
            Err(Refused { refusal, body_read: true })
        }
    }
}

/// The refusal where a route has nothing for an endpoint.
pub(super) fn wrong_endpoint(endpoint: Endpoint) -> Refusal {
    let message = format!("the route has no model for `{}`", endpoint.path());
    Refusal::new(ErrorCase::ModelNotFound, message).param(Some("model"))
}

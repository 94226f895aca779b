//! A second look at a request that a limit refused.
//!
//! A reservation takes a token for each byte of the body. Where a limit refuses for that alone, the tokens are counted and the
//! limits are asked once more. The worker only waits, as it does for a lease.

use std::{task::Poll, time::Duration};

use crate::{
    base::now,
    http::{Downstream, sleep},
    limit::{Claim, Kind, Reason, Refused},
    snapshot::Target,
    wire::Demand,
};

use super::{
    admit::{Asked, LOOK_EVERY, MadeMost, input_bound, price_claim},
    attempt::Failure,
    exchange::Exchange,
};

/// More bytes than a token of text ever has on average. A request that would not fit even so is not counted.
const TOKEN_BYTES_MANY: usize = 8;
/// Longest wait for a count; the first one builds its table.
const COUNT_WAIT_MAX: Duration = Duration::from_secs(2);

/// How the input of one request is counted; at most once.
pub(super) struct Recount<'a> {
    target: &'a Target,
    asked: &'a Asked<'a>,
    made: MadeMost,
    is_possible: bool,
}

impl<'a> Recount<'a> {
    /// A request that was not counted yet. It can be where the provider's table is known and all that is read stands in the body.
    pub(super) fn new(target: &'a Target, asked: &'a Asked<'a>, demand: Option<(Demand, MadeMost)>) -> Self {
        let is_bounded =
            asked.view.form.is_none() && demand.is_some_and(|(demand, _)| demand.unseen == 0 && !demand.is_open);
        let made = demand.map(|(_, made)| made).unwrap_or_default();
        let is_possible = target.encoding.is_some() && is_bounded && !target.defaults.open_input();
        Self { target, asked, made, is_possible }
    }

    /// Whether the refusal may come of the bytes alone.
    pub(super) fn may_help(&self, claim: &Claim, refused: &Refused) -> bool {
        if !self.is_possible || refused.reason == Reason::Unleased {
            return false;
        }
        let least = self.claim_of(claim, input_bound(self.target, self.asked.body_len / TOKEN_BYTES_MANY));
        let asked = match refused.kind {
            Kind::InputTokens => least.input_tokens,
            Kind::TotalTokens => least.input_tokens.saturating_add(least.output_tokens),
            Kind::Money => least.money_nano,
            Kind::Requests | Kind::OutputTokens | Kind::Concurrent | Kind::AudioMillis => return false,
        };
        asked < refused.asked && asked <= refused.free
    }

    /// Counts the input and reserves no more than that from now on. Without a count everything stays as it is.
    ///
    /// # Errors
    /// [`Failure::ClientGone`].
    pub(super) async fn run(&mut self, exchange: &mut Exchange<'_>, down: &mut Downstream) -> Result<(), Failure> {
        self.is_possible = false;
        let body = down.input().get(self.asked.body_at..self.asked.body_at + self.asked.body_len).unwrap_or_default();
        let counting = self.target.encoding.and_then(|encoding| exchange.context.shared.counter.start(encoding, body));
        let Some(counting) = counting else { return Ok(()) };
        let until = now() + COUNT_WAIT_MAX;
        let counted = loop {
            match counting.bound() {
                Poll::Ready(counted) => break counted,
                Poll::Pending if now() >= until => break None,
                Poll::Pending => {}
            }
            let look = Box::pin(sleep(LOOK_EVERY));
            down.unless_gone(look).await.map_err(|_| Failure::ClientGone)?;
        };
        if let (Some(counted), Some(holds)) = (counted, &mut exchange.holds) {
            let tokens = usize::try_from(counted).unwrap_or(usize::MAX);
            holds.claim = self.claim_of(&holds.claim, input_bound(self.target, tokens));
        }
        Ok(())
    }

    /// The claim with fewer input tokens, if they are fewer.
    fn claim_of(&self, claim: &Claim, input_tokens: u64) -> Claim {
        let mut claim = *claim;
        claim.input_tokens = claim.input_tokens.min(input_tokens);
        price_claim(&mut claim, self.target, self.made);
        claim
    }
}

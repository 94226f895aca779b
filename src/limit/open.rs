//! What is open now: a counter without time.

use super::ask::{Ask, Reading, Reason, Refusal, Taken};
use super::atomic::Count;
use super::tentative::Tentative;

/// The number of open requests.
#[derive(Debug, Default)]
pub(super) struct Open(Count);

impl Open {
    pub(super) fn take(&self, ask: &Ask, tentative: &Tentative) -> Result<Taken, Refusal> {
        let mut looks = 0;
        loop {
            let look = tentative.look();
            let seen = self.0.update(|open| ask.fits(open, ask.terms.max));
            if seen.is_some() {
                return Ok(Taken { mark: 0, lease_low: false });
            }
            if tentative.is_final(look, ask.own, &mut looks) {
                let reason = if ask.terms.max == 0 { Reason::Reached } else { Reason::Reserved };
                let free = ask.terms.max.saturating_sub(self.0.load());
                return Err(Refusal { reason, free, resets_in: None });
            }
        }
    }

    pub(super) fn release(&self, amount: u64) {
        self.0.update(|open| Some(open.saturating_sub(amount)));
    }

    pub(super) fn read(&self) -> Reading {
        Reading { posted: 0, pending: self.0.load(), empty_in: None }
    }
}

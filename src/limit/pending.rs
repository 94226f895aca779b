//! What is reserved and not settled.

use super::atomic::Count;
use super::rule::Kind;

/// The sum of open reservations; nothing for kinds that are what they are at once.
#[derive(Debug)]
pub(super) struct Pending(Option<Count>);

impl Pending {
    pub(super) fn of(kind: Kind) -> Self {
        Self(kind.is_reserved().then(Count::default))
    }

    pub(super) fn load(&self) -> u64 {
        self.0.as_ref().map_or(0, Count::load)
    }

    pub(super) fn add(&self, amount: u64) {
        if let Some(sum) = &self.0 {
            sum.add(amount);
        }
    }

    pub(super) fn remove(&self, amount: u64) {
        if let Some(sum) = &self.0 {
            sum.subtract(amount);
        }
    }
}

//! What one request holds in one set of limits.

use smallvec::SmallVec;

/// Limits of a set that need no memory of their own.
const INLINE: usize = 4;

/// What one request has taken from the limits of one set. By default nothing.
///
/// It must come back to the same set, by `settle` or `give_back`; dropping it gives nothing back.
#[derive(Debug, Default)]
pub struct Held {
    pub(super) entries: SmallVec<[Entry; INLINE]>,
}

/// What is held of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    pub(super) mark: u64,
    pub(super) amount: u64,
    pub(super) state: State,
}

/// How far a take has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Nothing is held.
    #[default]
    Nothing,
    /// A limit in shadow mode would refuse, if all others admit.
    WouldRefuse,
    /// It would have refused, and that is counted.
    Reported,
    /// Held, and may be given back by the take that is under way.
    Tentative,
    /// Held.
    Kept,
}

impl Held {
    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.iter().all(|entry| entry.state != State::Kept)
    }
}

//! The keeper, one commit at a time, for histories.

use std::sync::Arc;

use super::{
    commit::Commit,
    keeper::{Keeper, Turn},
    leases::Leases as _,
};
use crate::{limit::Meters, store::StoreError};

/// How a commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is stored and answered.
    Stored,
    /// The store fails at its end: nothing of it stays.
    Refused,
    /// It is stored, and nobody hears of it.
    Unanswered,
}

/// What [`super::keep`] does, when it is told to.
pub(crate) struct Stepped<'a> {
    keeper: &'a Keeper,
    meters: &'a Meters,
    turn: Turn<'a>,
    last: Option<Arc<Commit>>,
}

impl<'a> Stepped<'a> {
    pub(crate) fn new(keeper: &'a Keeper, meters: &'a Meters) -> Self {
        Self { keeper, meters, turn: Turn::new(keeper), last: None }
    }

    /// Stores what there is, however soon after the last commit. What is not stored is tried again by the next one.
    pub(crate) async fn commit(&mut self, way: Way) -> Result<(), StoreError> {
        if self.turn.open.is_none() {
            let mut leases = self.meters.wanted();
            leases.extend(self.turn.idle());
            self.turn.begin(leases);
        }
        let Some(commit) = self.turn.open.clone() else { return Ok(()) };
        self.last = Some(Arc::clone(&commit));
        if way == Way::Stored {
            return self.turn.finish().await;
        }
        self.keeper
            .book()
            .write(move |tx| {
                commit.store(tx, &std::sync::Mutex::default())?;
                if way == Way::Refused { Err(StoreError::Unavailable("refused".to_owned())) } else { Ok(()) }
            })
            .await
    }

    /// Whether it is not known of a commit whether it is stored.
    pub(crate) fn is_open(&self) -> bool {
        self.turn.open.is_some()
    }

    /// Stores the last commit that is known once more; it changes nothing.
    pub(crate) async fn repeat(&self) -> Result<(), StoreError> {
        let Some(commit) = self.last.clone().filter(|_| self.turn.open.is_none()) else { return Ok(()) };
        self.keeper.book().write(move |tx| commit.store(tx, &std::sync::Mutex::default()).map(drop)).await
    }

    /// Stores everything and returns the leases.
    pub(crate) async fn close(mut self) {
        self.turn.close().await;
    }
}

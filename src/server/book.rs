//! The book of usage: opened before all, closed after all.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    base::log::{Level, Value, emit},
    control::{FileProjects, Keeper, keep, look_after_book, ring_keeper},
    limit::Meters,
    shared::Shared,
};

use super::{error::ServerError, store_mode::Kept};

/// Opens the book, before anything is admitted: what was spent before counts. None where nothing is stored.
///
/// # Errors
/// The store's. Files are served without a book all the same.
pub(super) async fn open_book(
    kept: Option<&Kept>,
    meters: &Arc<Meters>,
    files: Option<&Arc<FileProjects>>,
) -> Result<Option<Arc<Keeper>>, ServerError> {
    let Some(kept) = kept else { return Ok(None) };
    match Keeper::open(kept.store(), Arc::<Meters>::clone(meters)).await {
        Ok(keeper) => Ok(Some(Arc::new(keeper))),
        Err(error) if files.is_some() => {
            let text = error.to_string();
            emit(Level::Warn, "usage is not stored, because the store fails", &[("error", Value::Text(&text))]);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The task that keeps the book.
pub(super) struct Bookkeeping {
    stop: watch::Sender<bool>,
    keeping: Option<JoinHandle<()>>,
}

impl Bookkeeping {
    /// Starts to store what is noted. What may wait ends with `stopped`.
    pub(super) fn start(shared: &Arc<Shared>, keeper: Option<&Arc<Keeper>>, stopped: watch::Receiver<bool>) -> Self {
        let (stop, kept_until) = watch::channel(false);
        if let Some(keeper) = keeper {
            tokio::spawn(look_after_book(Arc::clone(keeper), stopped.clone()));
            tokio::spawn(ring_keeper(Arc::clone(shared), Arc::clone(keeper), stopped));
        }
        Self { stop, keeping: keeper.map(|keeper| tokio::spawn(keep(Arc::clone(keeper), kept_until))) }
    }

    /// Stores the rest and returns the leases. Nothing may be noted any more.
    pub(super) async fn close(self) {
        let _ = self.stop.send(true);
        if let Some(keeping) = self.keeping {
            let _ = keeping.await;
        }
    }
}

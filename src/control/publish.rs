//! The last step of every change, and the only visible one.

use std::sync::Arc;

use crate::{
    base::{
        log::{Level, Value, emit},
        unix_time,
    },
    shared::Shared,
    snapshot::{Refusal, Registries, Snapshot, Sources, compile},
};

/// Compiles the first snapshot, before any worker runs.
///
/// # Errors
/// Every problem.
pub fn first(sources: Sources, registries: &Registries) -> Result<Snapshot, Vec<Refusal>> {
    let snapshot = compile(sources, registries, 1)?;
    registries.metrics.config_served(1, unix_time());
    Ok(snapshot)
}

/// Replaces what is served. Owned by the admin thread: changes come one after the other.
pub struct Publisher {
    shared: Arc<Shared>,
    registries: Registries,
}

impl Publisher {
    /// Starts behind the first snapshot.
    #[must_use]
    pub fn new(shared: Arc<Shared>, registries: Registries) -> Self {
        Self { shared, registries }
    }

    /// Compiles and publishes; returns the new generation.
    ///
    /// # Errors
    /// Every problem; nothing has changed then.
    pub fn publish(&self, sources: Sources) -> Result<u64, Vec<Refusal>> {
        let generation = self.shared.snapshot.load().generation() + 1;
        match compile(sources, &self.registries, generation) {
            Ok(snapshot) => {
                self.shared.snapshot.publish(snapshot);
                self.registries.metrics.config_served(generation, unix_time());
                self.registries.metrics.config_broken(Vec::new());
                emit(Level::Info, "configuration served", &[("generation", Value::Uint(generation))]);
                Ok(generation)
            }
            Err(refusals) => {
                self.refuse(&refusals);
                Err(refusals)
            }
        }
    }

    /// Reports a change that was refused: one line a problem in the log, and in the metrics.
    pub fn refuse(&self, refusals: &[Refusal]) {
        self.registries.metrics.config_refused();
        let mut broken: Vec<Box<str>> = refusals.iter().map(|refusal| stem_of(&refusal.file)).collect();
        broken.dedup();
        self.registries.metrics.config_broken(broken);
        for refusal in refusals {
            let text = refusal.problem.render(&refusal.file);
            emit(
                Level::Error,
                "configuration refused; the one before goes on serving",
                &[("problem", Value::Text(&text))],
            );
        }
    }
}

/// `support` for `projects/support.yaml`: the project, as far as a file has one.
fn stem_of(file: &str) -> Box<str> {
    let stem = std::path::Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_default().into()
}

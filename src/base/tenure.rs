//! Whether what was replaced may still be used.

use std::sync::atomic::{AtomicBool, Ordering};

/// Held by everything that uses one compiled configuration. Whoever still holds it when it is over has to let go.
///
/// Nobody asks it at each event: a worker looks once a second, and only when some tenure is over.
#[derive(Debug, Default)]
pub struct Tenure(AtomicBool);

impl Tenure {
    /// Ends it, for ever.
    pub fn end(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

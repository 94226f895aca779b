//! A value that one thread replaces and all threads read.
//!
//! The only file that names `arc-swap`. Readers never wait; the old value lives until its last reader lets go.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// Holds an `Arc<T>` that can be replaced while others read it without a lock.
pub struct Swap<T>(ArcSwap<T>);

impl<T> Swap<T> {
    /// Creates the cell with its first value.
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// Returns the current value. It stays as it is for as long as the caller holds it.
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Calls `read` with the current value without touching its reference count.
    pub fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0.load())
    }

    /// Replaces the value; later loads see the new one.
    pub fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

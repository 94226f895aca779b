//! Waits of the worker's runtime, for who must not name it.
//!
//! The deadline of a connection is no such wait: see [`Deadline`](super::deadline::Deadline).

pub use monoio::time::{sleep, timeout};

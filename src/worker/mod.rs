//! One pinned thread: accept, hand off, keep-alive loop, drain.
//!
//! A worker owns its listener, its connections and its pools, and waits for no other thread. Whatever another thread has
//! to tell it comes through its [`Door`](crate::shared::Door): a bell and an inbox.

mod accept;
mod accept_edge;
mod connection;
mod duties;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
mod thread;

pub use thread::{Driver, Pinning, Plan, bind_all, spawn};

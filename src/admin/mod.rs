//! The control plane's face to operators: health and metrics.
//!
//! Runs on the admin thread alone, on a listener of its own (threat T-48: loopback by default, the caller refuses anything
//! else without TLS or an explicit flag). Nothing here is on the path of a request.

mod host;
mod output;
mod pump;
mod reply;
mod routes;
mod serve;
mod state;
#[cfg(test)]
mod tests;

pub use output::Output;
pub use pump::{AccessLog, Pump, pump};
pub use serve::serve;
pub use state::{AdminState, Check, Readiness};

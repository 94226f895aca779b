//! The control plane's face to operators: API, health, metrics.
//!
//! Runs on the admin thread alone, on a listener of its own (threat T-48: loopback by default, the caller refuses anything
//! else without TLS or an explicit flag). Nothing here is on the path of a request.

mod api;
mod host;
mod output;
mod pump;
mod reply;
pub mod rest;
mod routes;
mod serve;
mod state;
#[cfg(test)]
mod tests;

pub use api::{endpoints, openapi_document};
pub use output::Output;
pub use pump::{AccessLog, Pump, pump};
pub use rest::{Access, Api, Endpoint, Method, RateLimits};
pub use serve::serve;
pub use state::{AdminState, Check, Readiness};

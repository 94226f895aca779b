//! What is counted, and how Prometheus reads it.
//!
//! Each worker writes blocks of its own ([`WorkerBlock`], and one in each [`Series`] it uses); a scrape sums them. The data path
//! takes no lock, runs no compare-and-swap loop and allocates only when a worker uses a series for the first time.
//! Labels come from compiled configurations alone: never a key, a request id or text of a client.

mod cell;
mod histogram;
mod process;
mod refusals;
mod registry;
mod scrape;
mod series;
mod text;
mod times;
mod worker;

pub use cell::{Counter, Gauge};
pub use refusals::{LIMIT_KINDS, LIMIT_REASONS, LIMIT_SCOPES, LimitRefusals};
pub use registry::{OVERFLOW_LABEL, Registry, SERIES_MAX};
pub use scrape::{Book, Following, Outside, Payloads, Scrape};
pub use series::{ENDPOINTS, Endpoint, OUTCOMES, Observation, Outcome, Series};
pub use times::{StoreBlock, StoreTimes};
pub use worker::{HEARTBEAT_MAX, PROTOCOL_ERRORS, ProtocolError, STALL_MIN, WorkerBlock};

#[cfg(test)]
mod tests;

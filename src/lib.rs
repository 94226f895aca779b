//! Millrace: an LLM gateway for projects, routes and keys.
//!
//! Modules stand in rows and import downwards only; `ARCHITECTURE.md` has the picture and `tests/it/tidy.rs` holds it.

pub mod admin;
pub mod base;
pub mod config;
pub mod control;
pub mod edge;
pub mod http;
pub mod iam;
pub mod limit;
pub mod metrics;
pub mod provider;
pub mod proxy;
pub mod server;
pub mod shared;
pub mod snapshot;
pub mod sound;
pub mod store;
pub mod tokens;
pub mod upstream;
pub mod usage;
pub mod wire;
pub mod worker;

//! Everything that needs a socket, a process or the source.
//!
//! One binary, one module a claim. The gateway is the real executable and so is the scripted provider; ports come from
//! the kernel. `MILLRACE_BIN` and `LOADTEST_BIN` put other builds under test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod alerts;
mod api_crash;
mod api_faults;
mod audio;
mod bit_rot;
mod blocked;
mod canary;
mod clock;
mod corpus;
mod credits;
mod drain;
mod edge;
mod faults;
mod harness;
mod keys;
mod leaving;
mod ledger_crash;
mod ledger_faults;
mod lifecycle;
mod limit_burst;
mod limit_crash;
mod limits;
mod locked;
mod logs;
mod memory;
mod old_streams;
mod power_loss;
mod prices;
mod proofs;
mod reload;
mod remote;
mod rules;
mod settlement;
mod slow;
mod smuggling;
mod spread;
mod store_crash;
mod store_faults;
mod store_injected;
mod tidy;
mod tokens;
mod wire;

//! The immutable compiled view that workers read.
//!
//! A snapshot is built whole by [`compile`] from checked configurations and keys, or not at all. Publishing it cannot
//! fail. A request loads it once, so no request ever sees two configurations.

mod compile;
mod grant;
mod handle;
mod route;
mod view;

pub use compile::{ProjectSource, Refusal, Registries, Sources, compile};
pub use grant::Grant;
pub use handle::Handle;
pub use route::{HttpTarget, Reach, Route, Target, TargetTimeouts};
pub use view::Snapshot;

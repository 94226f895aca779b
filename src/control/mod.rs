//! What is served, and how it changes: check, compile, publish.
//!
//! Every change goes through [`Publisher::publish`], whatever it came from: nothing is visible before all of it was
//! checked and compiled, and a refused change leaves what serves untouched. No HTTP here, and no SQL.

mod demo;
mod file_mode;
mod files;
mod publish;

pub use demo::{Demo, DemoUpstream};
pub use files::{FileSet, Loaded, Stamp};
pub use publish::{Publisher, first};

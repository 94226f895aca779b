//! What is served, and how it changes: check, compile, publish.
//!
//! Every change goes through [`Publisher::publish`], whatever it came from: nothing is visible before all of it was
//! checked and compiled, and a refused change leaves what serves untouched. No HTTP here, and no SQL.

mod actor;
mod answers;
mod demo;
mod error;
mod files;
mod identity;
mod permit;
mod publish;

pub use actor::{Actor, Membership};
pub use answers::{ANSWER_KEPT_SECONDS, Answer, KeepAnswers};
pub use demo::{Demo, DemoUpstream};
pub use error::{ControlError, FieldProblem};
pub use files::{FileSet, Loaded, Stamp};
pub use identity::{Authenticate, Presented, Proof};
pub use permit::{Capability, Extent, Scope, permit};
pub use publish::{Publisher, first};

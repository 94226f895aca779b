//! What is served, and how it changes: check, compile, publish.
//!
//! Every change goes through the [`Publisher`], whatever it came from: nothing is visible before all of it was checked and
//! compiled, and a refused change leaves what serves untouched. No HTTP here, and no SQL.

mod actor;
mod answers;
mod demo;
mod error;
mod file_mode;
mod files;
mod identity;
mod permit;
mod publish;
mod vault;

pub use actor::{Actor, Membership};
pub use answers::{ANSWER_KEPT_SECONDS, Answer, KeepAnswers};
pub use demo::{Demo, DemoUpstream};
pub use error::{ControlError, FieldProblem};
pub use files::{FileSet, Loaded, Stamp};
pub use identity::{Authenticate, Presented, Proof};
pub use permit::{Capability, Extent, Scope, permit};
pub use publish::{Publisher, Unconfirmed, first, first_of};
pub use vault::{Pepper, Place, Purpose, Vault, VaultError, last4};

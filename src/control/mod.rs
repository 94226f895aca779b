//! What is served, and how it changes: check, compile, publish.
//!
//! Every change goes through the [`Publisher`], whatever it came from: nothing is visible before all of it was checked and
//! compiled, and a refused change leaves what serves untouched. No HTTP here, and no SQL.

mod actor;
mod answers;
mod credentials;
mod demo;
mod error;
mod file_mode;
mod files;
mod instance;
mod keys;
mod login;
mod people;
mod permit;
mod publish;
mod vault;

pub use actor::{Actor, Membership};
pub use answers::{ANSWER_KEPT_SECONDS, Answer, KeepAnswers};
pub use credentials::{Authenticate, Credentials, Presented};
pub use demo::{Demo, DemoUpstream};
pub use error::{ControlError, FieldProblem};
pub use files::{FileSet, Loaded, Stamp};
pub use instance::Control;
pub use keys::{
    Force, KeyPatch, NewKey, NewProviderKey, NewSecret, ProviderKeyPatch, Sealings, SecretPatch, Usable,
};
pub use login::{Credentials, Login, NewToken};
pub use people::{AuditScope, Joined, MemberPatch, NewInvitation, OrganizationPatch};
pub use permit::{Capability, Extent, Scope, permit};
pub use publish::{Publisher, Unconfirmed, first, first_of};
pub use vault::{Pepper, Place, Purpose, Vault, VaultError, last4};

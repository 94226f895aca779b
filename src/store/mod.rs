//! What the control plane keeps, durable and in transactions.
//!
//! [`Store`] runs closures over a [`Tx`] on threads of its own: the admin thread never waits for a disk. Records are plain
//! values; which rules hold between them is decided in `control/`.

mod chain;
mod engine;
mod error;
mod handle;
mod health;
mod query;
mod queue;
mod record;
mod sqlite;
mod tx;

pub use chain::{Chain, verify_chain};
pub use error::StoreError;
pub use handle::Store;
pub use health::Health;
pub use query::{AuditFilter, KeyFilter, Order, Page, PageRequest, ProjectFilter, VersionFilter};
pub use record::{
    Activation, ActivationKind, ActorKind, AdminToken, ApiKey, AuditEntry, AuditEvent, Invitation, InvitationStatus,
    KeptAnswer, KeyStatus, Lifecycle, Member, Mode, Organization, OrganizationRole, OrganizationStatus, Owner, Project,
    ProjectGrant, ProjectRole, ProviderKey, Rule, RulePlace, RuleStatus, Sealed, Secret, Session, User, Version,
    VersionState,
};
pub use tx::{Access, Audit, Keys, Notes, Outcome, People, Projects, Rules, Secrets, Tx};

#[cfg(test)]
mod tests;

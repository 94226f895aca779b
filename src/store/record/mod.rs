//! What is stored, as plain values without SQL.
//!
//! A record says what each field means and its bounds; the rules between records are in `control/`.

mod audit;
mod key;
mod people;
mod project;
mod rule;
mod text_enum;

pub use audit::{ActorKind, AuditEntry, AuditEvent, KeptAnswer};
pub use key::{ApiKey, KeyStatus, Owner, ProviderKey, Sealed, Secret};
pub use people::{
    AdminToken, Invitation, InvitationStatus, Member, Organization, OrganizationRole, OrganizationStatus, ProjectGrant,
    ProjectRole, Session, User,
};
pub use project::{Activation, ActivationKind, Lifecycle, Mode, Project, Version, VersionState};
pub use rule::{Rule, RulePlace, RuleStatus};

//! What is stored, as plain values without SQL.
//!
//! A record says what each field means and its bounds; the rules between records are in `control/`.

mod audit;
mod instance;
mod key;
mod people;
mod project;
mod text_enum;

pub use audit::{ActorKind, AuditEntry, AuditEvent, KeptAnswer};
pub use instance::EgressRule;
pub use key::{ApiKey, KeyStatus, Owner, ProviderKey, Sealed, Secret};
pub use people::{
    AdminToken, Invitation, InvitationStatus, Member, Organization, OrganizationRole, OrganizationStatus, ProjectGrant,
    ProjectRole, SecondFactor, Session, User,
};
pub use project::{Activation, ActivationKind, Lifecycle, Mode, Project, Version, VersionState};

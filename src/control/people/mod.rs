//! Organizations, members, invitations, and the audit log.
//!
//! Two rules hold in every file: nobody grants more than they hold, and an organization always has an owner.

mod audit;
mod invitations;
mod live;
mod members;
mod organizations;
#[cfg(test)]
mod tests;

pub use audit::AuditScope;
pub use invitations::{Joined, NewInvitation};
pub use members::MemberPatch;
pub use organizations::OrganizationPatch;

pub(super) use members::{check_grants, grants_json};

//! Organizations, users, members, tokens, sessions.

use super::text_enum::text_enum;
use crate::base::{Id, UnixTime};

text_enum! {
    /// Whether an organization may be used.
    OrganizationStatus {
        /// Everything works.
        Active = "active",
        /// Its keys are refused and nothing of it can be changed, except by an instance administrator.
        Suspended = "suspended",
    }
}

/// Owner of projects and members.
#[derive(Debug, Clone, PartialEq)]
pub struct Organization {
    /// `org_...`
    pub id: Id,
    /// 1 to 255 characters.
    pub name: String,
    /// Whether it may be used.
    pub status: OrganizationStatus,
    /// Projects that are not archived, at most. Default 10.
    pub project_limit: u32,
    /// Active keys over all projects, at most; none is unlimited.
    pub active_key_limit: Option<u32>,
    /// Days that request logs are kept, 1 to 3,650.
    pub default_retention_days: u32,
    /// Whether prompts and answers are kept, unless a project says otherwise.
    pub log_payloads: bool,
    /// Whether the approver must be another person than the author, unless a project says otherwise.
    pub require_second_approver: bool,
    /// When it was made.
    pub created_at: UnixTime,
    /// Rises by one with each change; its `ETag`.
    pub revision: u64,
}

text_enum! {
    /// What a member may do in the whole organization.
    OrganizationRole {
        /// Everything in the organization, deletion included.
        Owner = "owner",
        /// Everything except deletion, retention and owners.
        Admin = "admin",
        /// Reads everything, writes nothing.
        Auditor = "auditor",
        /// Nothing by itself; what the project grants say.
        Member = "member",
    }
}

text_enum! {
    /// What a member may do in one project.
    ProjectRole {
        /// Settings, configuration, serve, keys and rules.
        ProjectAdmin = "project_admin",
        /// Writes drafts and approves; does not serve.
        Editor = "editor",
        /// Own keys, own usage, reads the configuration.
        Developer = "developer",
        /// Reads configuration, usage and logs without payloads.
        Viewer = "viewer",
    }
}

/// A role in one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectGrant {
    /// The project.
    pub project: Id,
    /// The role there.
    pub role: ProjectRole,
}

/// A person who can log in.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// `usr_...`
    pub id: Id,
    /// Lower case, unique.
    pub email: String,
    /// Password hash in PHC form (argon2id); none until an invitation was accepted.
    pub password_hash: Option<String>,
    /// Whether the user runs the machine.
    pub instance_admin: bool,
    /// When the user was made.
    pub created_at: UnixTime,
    /// Rises by one with each change.
    pub revision: u64,
}

/// A user in an organization.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The organization.
    pub organization: Id,
    /// The user.
    pub user: Id,
    /// E-mail of the user; read only, joined by the store.
    pub email: String,
    /// Role in the organization.
    pub role: OrganizationRole,
    /// Roles in projects.
    pub grants: Vec<ProjectGrant>,
    /// Active keys the member may own, at most; none is unlimited.
    pub active_key_limit: Option<u32>,
    /// When the member was last seen, to the minute.
    pub last_seen_at: Option<UnixTime>,
    /// When the membership began.
    pub created_at: UnixTime,
    /// Rises by one with each change.
    pub revision: u64,
}

text_enum! {
    /// What became of an invitation.
    InvitationStatus {
        /// Waits for its answer.
        Pending = "pending",
        /// The user joined.
        Accepted = "accepted",
        /// Taken back.
        Revoked = "revoked",
    }
}

/// An offer to join an organization.
#[derive(Debug, Clone, PartialEq)]
pub struct Invitation {
    /// `inv_...`
    pub id: Id,
    /// The organization.
    pub organization: Id,
    /// Lower case.
    pub email: String,
    /// Role that the member will have.
    pub role: OrganizationRole,
    /// Project roles that the member will have.
    pub grants: Vec<ProjectGrant>,
    /// SHA-256 of the token that accepts it, shown once.
    pub token_digest: [u8; 32],
    /// What became of it.
    pub status: InvitationStatus,
    /// Seven days after it was made.
    pub expires_at: UnixTime,
    /// Who made it.
    pub created_by: Id,
    /// When.
    pub created_at: UnixTime,
    /// Rises by one with each change.
    pub revision: u64,
}

/// A token for programs that use the admin API.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminToken {
    /// `tok_...`
    pub id: Id,
    /// SHA-256 of the whole token (256 random bits).
    pub digest: [u8; 32],
    /// Last four characters, for people.
    pub last4: String,
    /// What it is for, 1 to 255 characters.
    pub description: String,
    /// Organization it acts in; none for one of the instance.
    pub organization: Option<Id>,
    /// Whether it acts as instance administrator.
    pub instance_admin: bool,
    /// Role in the organization.
    pub role: OrganizationRole,
    /// Roles in projects.
    pub grants: Vec<ProjectGrant>,
    /// Who made it; none for the one of the environment and the set-up.
    pub created_by: Option<Id>,
    /// When it ends, at most a year after it was made.
    pub expires_at: Option<UnixTime>,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it was last used, to the minute.
    pub last_used_at: Option<UnixTime>,
}

/// The second factor of a user: codes that change every half minute (RFC 6238).
#[derive(Debug, Clone, PartialEq)]
pub struct SecondFactor {
    /// Whose it is.
    pub user: Id,
    /// The shared secret, sealed.
    pub sealed: Vec<u8>,
    /// Since when a login needs a code; none while it is only offered.
    pub confirmed_at: Option<UnixTime>,
    /// Number of the last half minute whose code was used; its code and earlier ones are refused.
    pub last_step: u64,
    /// When it was offered.
    pub created_at: UnixTime,
}

/// A login of the dashboard.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// SHA-256 of the cookie's value (256 random bits).
    pub digest: [u8; 32],
    /// Who logged in.
    pub user: Id,
    /// When.
    pub created_at: UnixTime,
    /// When it was last used, to the minute.
    pub last_seen_at: UnixTime,
}

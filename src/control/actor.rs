//! Who asks, after authentication.

use crate::{
    base::Id,
    store::{ActorKind, AuditEvent, OrganizationRole, ProjectGrant, ProjectRole},
};

/// A caller and what it may do. Made by authentication, once a request.
#[derive(Debug, Clone)]
pub struct Actor {
    /// A person, a program, or the process itself.
    pub kind: ActorKind,
    /// Id of the user or token.
    pub id: Id,
    /// The user that keys and drafts of this actor are attributed to; the token itself for one without a user.
    pub author: Id,
    /// E-mail or description, for people.
    pub name: String,
    /// Address of the caller, without port; empty for the process.
    pub address: String,
    /// Id of the request.
    pub request_id: String,
    /// Whether the actor runs the machine.
    pub instance_admin: bool,
    /// What it may do, by organization.
    pub memberships: Vec<Membership>,
}

/// Roles of an actor in one organization.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The organization.
    pub organization: Id,
    /// The role in it.
    pub role: OrganizationRole,
    /// The roles in its projects.
    pub grants: Vec<ProjectGrant>,
}

impl Actor {
    /// The process itself: at the start, and for what expires.
    #[must_use]
    pub fn system() -> Self {
        let id = Id::stored("system");
        Self {
            kind: ActorKind::System,
            author: id.clone(),
            id,
            name: "system".to_owned(),
            address: String::new(),
            request_id: String::new(),
            instance_admin: true,
            memberships: Vec::new(),
        }
    }

    /// The roles in an organization; none for a stranger.
    #[must_use]
    pub fn membership(&self, organization: &Id) -> Option<&Membership> {
        self.memberships.iter().find(|membership| membership.organization == *organization)
    }

    /// Starts an audit event about an object; the caller fills in what changed.
    #[must_use]
    pub fn event(&self, action: &str, object: &str) -> AuditEvent {
        AuditEvent {
            at: crate::base::unix_time(),
            actor_kind: self.kind,
            actor: self.id.as_str().to_owned(),
            address: self.address.clone(),
            action: action.to_owned(),
            object: object.to_owned(),
            organization: None,
            project: None,
            before: String::new(),
            after: String::new(),
            request_id: self.request_id.clone(),
            comment: String::new(),
        }
    }
}

impl Membership {
    /// The role in a project; none if it is not granted.
    #[must_use]
    pub fn project_role(&self, project: &Id) -> Option<ProjectRole> {
        self.grants.iter().find(|grant| grant.project == *project).map(|grant| grant.role)
    }
}

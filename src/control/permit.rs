//! The roles matrix: who may do what. Deny by default.
//!
//! One table for the whole control plane. Every endpoint of the admin API names a [`Capability`], and every capability has
//! a row here; what is not allowed here is not allowed anywhere.

use super::{
    actor::{Actor, Membership},
    error::ControlError,
};
use crate::{
    base::Id,
    store::{OrganizationRole, ProjectRole},
};

/// What a cell of the matrix allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Nothing.
    None,
    /// Objects that the actor made.
    Own,
    /// Everything in the scope.
    All,
}

/// Where something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// On the whole instance.
    Instance,
    /// In an organization.
    Organization(&'a Id),
    /// In a project of an organization.
    Project(&'a Id, &'a Id),
}

/// Declares the capabilities and their rows at one place, so that neither can be forgotten.
macro_rules! matrix {
    ($($(#[$meta:meta])* $name:ident = $cells:literal),+ $(,)?) => {
        /// Something that can be done, as the roles matrix names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Capability { $($(#[$meta])* $name),+ }

        impl Capability {
            /// Every capability.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// One letter a role: `Y` everything, `G` in granted projects, `O` own objects there, `-` nothing. In the order
            /// instance administrator, owner, admin, auditor, project administrator, editor, developer, viewer.
            #[must_use]
            pub fn cells(self) -> &'static [u8; 8] {
                match self { $(Self::$name => $cells),+ }
            }
        }
    };
}

matrix! {
    /// Settings, egress list, platform credentials and prices of the instance.
    InstanceSettings = b"Y-------",
    /// Create and suspend organizations, change their `project_limit`.
    OrganizationCreate = b"Y-------",
    /// See the credits of an organization.
    CreditsRead = b"YYYY----",
    /// Top up and correct credits, set the fee of an organization: the platform's money, never by its consumers.
    CreditsWrite = b"Y-------",
    /// See an organization and its settings.
    OrganizationRead = b"YYYY----",
    /// Change the settings of an organization.
    OrganizationWrite = b"-YY-----",
    /// Delete an organization, change its retention.
    OrganizationDelete = b"YY------",
    /// See members and invitations.
    MembersRead = b"-YYY----",
    /// Invite, change and remove members; owners only by owners.
    MembersWrite = b"-YY-----",
    /// Create a project.
    ProjectCreate = b"-YY-----",
    /// Delete a project for good.
    ProjectDelete = b"-Y------",
    /// Archive and restore a project.
    ProjectArchive = b"-YY-----",
    /// See a project: its settings, configuration and history.
    ProjectRead = b"-YYYGGGG",
    /// Change settings of a project.
    ProjectWrite = b"-YY-G---",
    /// Save and discard drafts.
    DraftWrite = b"-YY-GG--",
    /// Approve, withdraw an approval.
    Approve = b"-YY-GG--",
    /// Serve, unserve, roll back.
    Serve = b"-YY-G---",
    /// See secrets and provider keys of a project, never their values.
    SecretsRead = b"-YYYG---",
    /// Write secrets and provider keys of a project.
    SecretsWrite = b"-YY-G---",
    /// See secrets and provider keys of an organization, never their values.
    OrganizationSecretsRead = b"-YYY----",
    /// Write secrets and provider keys of an organization.
    OrganizationSecretsWrite = b"-YY-----",
    /// See API keys.
    KeysRead = b"-YYYG-O-",
    /// Create, change, roll, disable and delete API keys.
    KeysWrite = b"-YY-G-O-",
    /// See IAM rules of a project and of its keys, and ask how they decide.
    RulesRead = b"-YYYG---",
    /// Write IAM rules of a project and of its keys.
    RulesWrite = b"-YY-G---",
    /// See IAM rules of an organization and of its members.
    OrganizationRulesRead = b"-YYY----",
    /// Write IAM rules of an organization and of its members.
    OrganizationRulesWrite = b"-YY-----",
    /// See limits of keys, with what is used.
    KeyLimitsRead = b"-YYYG-O-",
    /// Write limits of keys.
    KeyLimitsWrite = b"-YY-G---",
    /// See limits of a project, with what is used.
    ProjectLimitsRead = b"-YYYG---",
    /// Write limits of a project; who administers it alone may only lower them.
    ProjectLimitsWrite = b"-YY-G---",
    /// See limits of an organization and of its members, with what is used.
    OrganizationLimitsRead = b"-YYY----",
    /// Write limits of an organization and of its members.
    OrganizationLimitsWrite = b"-YY-----",
    /// See what a project used, and the rows of its requests, without what was said.
    UsageRead = b"-YYYGGOG",
    /// Price past usage of a project again; that of the platform's credentials only with [`Self::CreditsWrite`].
    UsageReprice = b"YYY-----",
    /// See what requests of a project said, and their answers.
    PayloadsRead = b"-YY-G-O-",
    /// See what all projects of an organization used.
    OrganizationUsageRead = b"-YYY----",
    /// Write the prices that an organization has agreed with its providers; its members see them.
    OrganizationPricesWrite = b"-YY-----",
    /// See the ledger of an organization.
    LedgerRead = b"YYYY----",
    /// See the audit log of an organization.
    AuditRead = b"-YYY----",
    /// See the audit log of a project.
    ProjectAuditRead = b"-YYYG---",
    /// See the audit log of the instance.
    InstanceAuditRead = b"Y-------",
    /// Check the chain of the audit log: for whoever may read a part of it.
    AuditVerify = b"YYYYG---",
    /// See alert rules of a project and what they noticed.
    AlertsRead = b"-YYYGG--",
    /// Create, change, try and delete alert rules of a project.
    AlertsWrite = b"-YY-G---",
    /// See alert rules of an organization and what they noticed.
    OrganizationAlertsRead = b"-YYY----",
    /// Create, change, try and delete alert rules of an organization.
    OrganizationAlertsWrite = b"-YY-----",
    /// Make and end own admin tokens and sessions, see own memberships.
    Self_ = b"YYYYYYYY",
}

/// Allows a capability in a scope.
///
/// # Errors
/// [`ControlError::NotFound`] for a stranger to the scope, [`ControlError::NotPermitted`] for a member whose role is too low.
pub fn permit(actor: &Actor, capability: Capability, scope: Scope<'_>) -> Result<Extent, ControlError> {
    let extent = extent(actor, capability, scope);
    if extent != Extent::None {
        return Ok(extent);
    }
    if !sees(actor, scope) {
        return Err(ControlError::NotFound);
    }
    Err(ControlError::NotPermitted(format!(
        "your role does not allow this ({capability:?}); ask an owner of the organization"
    )))
}

/// Allows what has no scope of its own to whoever may do it somewhere.
///
/// # Errors
/// [`ControlError::NotPermitted`].
pub fn permit_anywhere(actor: &Actor, capability: Capability) -> Result<(), ControlError> {
    let scopes = actor.memberships.iter().flat_map(|membership| {
        let organization = &membership.organization;
        let projects = membership.grants.iter().map(move |grant| Scope::Project(organization, &grant.project));
        projects.chain([Scope::Organization(organization)])
    });
    let is_allowed = |scope| extent(actor, capability, scope) != Extent::None;
    if scopes.chain([Scope::Instance]).any(is_allowed) {
        return Ok(());
    }
    permit(actor, capability, Scope::Instance).map(drop)
}

/// What the best of the actor's roles allows.
fn extent(actor: &Actor, capability: Capability, scope: Scope<'_>) -> Extent {
    let cells = capability.cells();
    let of_instance = if actor.instance_admin { cell(cells, 0) } else { Extent::None };
    let organization = match scope {
        Scope::Instance => None,
        Scope::Organization(organization) | Scope::Project(organization, _) => actor.membership(organization),
    };
    let Some(membership) = organization else {
        // What everybody may do with what is their own has no organization.
        let own = if capability == Capability::Self_ && scope == Scope::Instance { Extent::All } else { Extent::None };
        return wider(of_instance, own);
    };
    let of_organization = match membership.role {
        OrganizationRole::Owner => cell(cells, 1),
        OrganizationRole::Admin => cell(cells, 2),
        OrganizationRole::Auditor => cell(cells, 3),
        OrganizationRole::Member => Extent::None,
    };
    wider(wider(of_instance, of_organization), of_project(membership, cells, scope))
}

fn of_project(membership: &Membership, cells: &[u8; 8], scope: Scope<'_>) -> Extent {
    let Scope::Project(_, project) = scope else {
        return Extent::None;
    };
    match membership.project_role(project) {
        Some(ProjectRole::ProjectAdmin) => cell(cells, 4),
        Some(ProjectRole::Editor) => cell(cells, 5),
        Some(ProjectRole::Developer) => cell(cells, 6),
        Some(ProjectRole::Viewer) => cell(cells, 7),
        None => Extent::None,
    }
}

/// Whether the scope exists for the actor at all.
fn sees(actor: &Actor, scope: Scope<'_>) -> bool {
    match scope {
        Scope::Instance => true,
        Scope::Organization(organization) => actor.instance_admin || actor.membership(organization).is_some(),
        Scope::Project(organization, project) => actor.membership(organization).is_some_and(|membership| {
            membership.role != OrganizationRole::Member || membership.project_role(project).is_some()
        }),
    }
}

fn cell(cells: &[u8; 8], role: usize) -> Extent {
    match cells.get(role) {
        Some(b'Y' | b'G') => Extent::All,
        Some(b'O') => Extent::Own,
        _ => Extent::None,
    }
}

fn wider(left: Extent, right: Extent) -> Extent {
    match (left, right) {
        (Extent::All, _) | (_, Extent::All) => Extent::All,
        (Extent::Own, _) | (_, Extent::Own) => Extent::Own,
        _ => Extent::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::IdKind;
    use crate::store::ProjectGrant;

    fn actor(organization: &Id, role: OrganizationRole, grants: Vec<ProjectGrant>) -> Actor {
        let membership = Membership { organization: organization.clone(), role, grants };
        Actor { instance_admin: false, memberships: vec![membership], ..Actor::system() }
    }

    #[test]
    fn stranger_sees_nothing_and_low_role_is_told_so() {
        let [own, foreign] = [(); 2].map(|()| Id::random(IdKind::Organization).unwrap());
        let [granted, other] = [(); 2].map(|()| Id::random(IdKind::Project).unwrap());
        let grants = vec![ProjectGrant { project: granted.clone(), role: ProjectRole::Developer }];
        let developer = actor(&own, OrganizationRole::Member, grants);
        let admin = actor(&own, OrganizationRole::Admin, Vec::new());
        for (name, actor, capability, scope, want) in [
            ("own keys", &developer, Capability::KeysWrite, Scope::Project(&own, &granted), Ok(Extent::Own)),
            ("serve", &developer, Capability::Serve, Scope::Project(&own, &granted), Err(403)),
            ("project without a grant", &developer, Capability::ProjectRead, Scope::Project(&own, &other), Err(404)),
            ("foreign project", &admin, Capability::ProjectRead, Scope::Project(&foreign, &other), Err(404)),
            ("any project of an admin", &admin, Capability::Serve, Scope::Project(&own, &other), Ok(Extent::All)),
            ("deletion by an admin", &admin, Capability::ProjectDelete, Scope::Project(&own, &other), Err(403)),
            ("instance", &admin, Capability::InstanceSettings, Scope::Instance, Err(403)),
            ("own tokens", &developer, Capability::Self_, Scope::Instance, Ok(Extent::All)),
        ] {
            let got = permit(actor, capability, scope).map_err(|error| match error {
                ControlError::NotFound => 404,
                _ => 403,
            });
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn instance_administrator_reads_no_project() {
        let [organization, project] = [IdKind::Organization, IdKind::Project].map(|kind| Id::random(kind).unwrap());
        let got = permit(&Actor::system(), Capability::ProjectRead, Scope::Project(&organization, &project));
        assert!(matches!(got, Err(ControlError::NotFound)));
    }
}

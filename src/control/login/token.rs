//! Admin tokens: for programs that use the admin API.

use std::time::Duration;

use super::super::{
    actor::Actor,
    error::{ControlError, FieldProblem},
    instance::Control,
    permit::{Capability, Scope, permit},
};
use super::authenticate::digest_of;
use super::session::{RANDOM_CHARS, first_organization};
use crate::{
    base::{Id, IdKind, Secret, UnixTime, push_random, unix_time},
    store::{
        ActorKind, AdminToken, OrganizationRole, Page, PageRequest, ProjectGrant, ProjectRole, StoreError,
    },
};

/// Longest life of a token.
const LIFE_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 255;
/// Note that names the token of the environment, which a new value replaces.
const ENVIRONMENT_NOTE: &str = "environment_token";

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for.
    pub description: String,
    /// Organization it acts in; none for the one organization of the caller.
    pub organization: Option<Id>,
    /// Role in it.
    pub role: OrganizationRole,
    /// Roles in projects.
    pub grants: Vec<ProjectGrant>,
    /// When it ends; none is in a year.
    pub expires_at: Option<UnixTime>,
}

impl Control {
    /// Makes a token that is never more than its maker; returns it with its text, which is shown once.
    ///
    /// # Errors
    /// Field problems; [`ControlError::NotPermitted`] for a role above the caller's own.
    pub async fn make_token(&self, actor: &Actor, new: NewToken) -> Result<(AdminToken, Secret), ControlError> {
        let mut text = "mr_admin_".to_owned();
        push_random(&mut text, RANDOM_CHARS)?;
        let now = unix_time();
        let mut problems = Vec::new();
        let description = new.description.trim().to_owned();
        if description.is_empty() || description.chars().count() > DESCRIPTION_CHARS_MAX || description.chars().any(char::is_control) {
            problems.push(FieldProblem::new("description", "1 to 255 characters, no control characters"));
        }
        let latest = UnixTime(now.0 + LIFE_MAX);
        let expires_at = new.expires_at.unwrap_or(latest);
        if expires_at <= now || expires_at > latest {
            problems.push(FieldProblem::new("expires_at", "must be in the future, and at most a year from now"));
        }
        if !problems.is_empty() {
            return Err(ControlError::Invalid(problems));
        }
        let organization = organization_of(actor, new.organization)?;
        hold_at_least(actor, &organization, new.role, &new.grants)?;
        let token = AdminToken {
            id: Id::random(IdKind::AdminToken)?,
            digest: digest_of(&text),
            last4: text.chars().skip(text.len() - 4).collect(),
            description,
            organization: Some(organization.clone()),
            instance_admin: false,
            role: new.role,
            grants: new.grants,
            created_by: (actor.author != actor.id || actor.kind == ActorKind::User).then(|| actor.author.clone()),
            expires_at: Some(expires_at),
            created_at: now,
            last_used_at: None,
        };
        let mut event = actor.event("token.create", token.id.as_str());
        event.organization = Some(organization);
        let row = token.clone();
        self.store()
            .write(move |tx| {
                tx.insert_admin_token(&row)?;
                tx.append_audit(&event)?;
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok((token, Secret::new(text)))
    }

    /// The caller's own tokens.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn tokens(&self, actor: &Actor, page: PageRequest) -> Result<Page<AdminToken>, ControlError> {
        permit(actor, Capability::Self_, Scope::Instance)?;
        let author = actor.author.clone();
        self.store().read(move |tx| Ok(tx.admin_tokens(None, Some(&author), &page)?)).await
    }

    /// Ends a token of the caller, or of an organization whose members the caller may change.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] for a token of somebody else.
    pub async fn end_token(&self, actor: &Actor, id: Id) -> Result<(), ControlError> {
        let actor = actor.clone();
        self.store()
            .write(move |tx| {
                let token = tx.admin_token(&id)?.ok_or(ControlError::NotFound)?;
                let is_own = token.created_by.as_ref() == Some(&actor.author) || token.id == actor.id;
                let may = match &token.organization {
                    Some(organization) => permit(&actor, Capability::MembersWrite, Scope::Organization(organization)).is_ok(),
                    None => actor.instance_admin,
                };
                if !is_own && !may {
                    return Err(ControlError::NotFound);
                }
                tx.delete_admin_token(&id)?;
                let mut event = actor.event("token.delete", id.as_str());
                event.organization = token.organization;
                tx.append_audit(&event)?;
                Ok(())
            })
            .await
    }

    /// Puts the token of the environment into the place of the one before: it acts as instance administrator and as owner
    /// of the first organization. Without one, the one before ends.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn accept_environment_token(&self, text: Option<&Secret>) -> Result<(), ControlError> {
        let wanted = text.map(|text| (digest_of(text.reveal()), last4_of(text.reveal())));
        let id = Id::random(IdKind::AdminToken)?;
        self.store()
            .write(move |tx| {
                let before = tx.note(ENVIRONMENT_NOTE)?.and_then(|text| String::from_utf8(text).ok()).map(|text| Id::stored(&text));
                if let Some(before) = before {
                    let kept = tx.admin_token(&before)?;
                    if kept.is_some() && kept.map(|token| token.digest) == wanted.as_ref().map(|(digest, _)| *digest) {
                        return Ok(());
                    }
                    tx.delete_admin_token(&before)?;
                    tx.append_audit(&Actor::system().event("token.delete", before.as_str()))?;
                }
                let Some((digest, last4)) = wanted else {
                    tx.put_note(ENVIRONMENT_NOTE, None)?;
                    return Ok(());
                };
                let organization = first_organization(tx)?;
                tx.insert_admin_token(&AdminToken {
                    id: id.clone(),
                    digest,
                    last4,
                    description: "MILLRACE_ADMIN_TOKEN".to_owned(),
                    organization: Some(organization),
                    instance_admin: true,
                    role: OrganizationRole::Owner,
                    grants: Vec::new(),
                    created_by: None,
                    expires_at: None,
                    created_at: unix_time(),
                    last_used_at: None,
                })?;
                tx.put_note(ENVIRONMENT_NOTE, Some(id.as_str().as_bytes()))?;
                tx.append_audit(&Actor::system().event("token.create", id.as_str()))?;
                Ok(())
            })
            .await
    }
}

fn last4_of(text: &str) -> String {
    text.chars().skip(text.chars().count().saturating_sub(4)).collect()
}

fn organization_of(actor: &Actor, named: Option<Id>) -> Result<Id, ControlError> {
    match (named, actor.memberships.as_slice()) {
        (Some(id), _) if actor.membership(&id).is_some() => Ok(id),
        (Some(_), _) => Err(ControlError::NotFound),
        (None, [only]) => Ok(only.organization.clone()),
        (None, _) => Err(ControlError::field("organization", "name one of your organizations")),
    }
}

/// Nobody grants more than they hold.
pub(in crate::control) fn hold_at_least(
    actor: &Actor,
    organization: &Id,
    role: OrganizationRole,
    grants: &[ProjectGrant],
) -> Result<(), ControlError> {
    let refuse = || ControlError::NotPermitted("nobody grants more than they hold; ask an owner of the organization".to_owned());
    let own = actor.membership(organization).ok_or(ControlError::NotFound)?;
    // An auditor reads everything but writes nothing, so only those above it may hand out roles in projects.
    let is_wide = matches!(own.role, OrganizationRole::Owner | OrganizationRole::Admin);
    if role < own.role {
        return Err(refuse());
    }
    let holds = |grant: &ProjectGrant| is_wide || own.project_role(&grant.project).is_some_and(|held| covers(held, grant.role));
    if grants.iter().all(holds) { Ok(()) } else { Err(refuse()) }
}

/// Whether a project role includes another: an administrator everything, an editor and a developer looking.
fn covers(held: ProjectRole, wanted: ProjectRole) -> bool {
    held == ProjectRole::ProjectAdmin || held == wanted || wanted == ProjectRole::Viewer
}

#[cfg(test)]
mod tests {
    use super::*;
    use super::super::super::actor::Membership;

    #[test]
    fn nobody_grants_more_than_they_hold() {
        let [organization, project] = [IdKind::Organization, IdKind::Project].map(|kind| Id::random(kind).unwrap());
        let actor = |role, project_role: Option<ProjectRole>| {
            let grants = project_role.map(|role| ProjectGrant { project: project.clone(), role }).into_iter().collect();
            let membership = Membership { organization: organization.clone(), role, grants };
            Actor { instance_admin: false, memberships: vec![membership], ..Actor::system() }
        };
        let grant = |role| vec![ProjectGrant { project: project.clone(), role }];
        use OrganizationRole::{Admin, Auditor, Member, Owner};
        for (name, actor, role, grants, want) in [
            ("owner to owner", actor(Owner, None), Owner, Vec::new(), true),
            ("admin to owner", actor(Admin, None), Owner, Vec::new(), false),
            ("admin to any project", actor(Admin, None), Member, grant(ProjectRole::ProjectAdmin), true),
            ("auditor to a project", actor(Auditor, None), Auditor, grant(ProjectRole::Viewer), false),
            ("editor to developer", actor(Member, Some(ProjectRole::Editor)), Member, grant(ProjectRole::Developer), false),
            ("editor to viewer", actor(Member, Some(ProjectRole::Editor)), Member, grant(ProjectRole::Viewer), true),
            ("project administrator to editor", actor(Member, Some(ProjectRole::ProjectAdmin)), Member, grant(ProjectRole::Editor), true),
        ] {
            assert_eq!(hold_at_least(&actor, &organization, role, &grants).is_ok(), want, "{name}");
        }
    }
}

//! Admin tokens: for programs that use the admin API.

use std::time::Duration;

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    instance::Control,
    people::{check_grants, grants_json},
    permit::{Capability, Scope, permit},
};
use super::authenticate::digest_of;
use super::session::RANDOM_CHARS;
use crate::{
    base::{Id, IdKind, Secret, UnixTime, push_random, unix_time},
    store::{ActorKind, AdminToken, OrganizationRole, Page, PageRequest, ProjectGrant, ProjectRole, Tx},
};

/// Longest life of a token.
const LIFE_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 255;

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for.
    pub description: String,
    /// Organization it acts in; none for the one organization of the caller.
    pub organization: Option<Id>,
    /// Whether it acts as instance administrator too, as its maker does.
    pub instance_admin: bool,
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
        let description = checked_description(&new.description)?;
        if new.instance_admin && !actor.instance_admin {
            let said = "only an instance administrator makes a token that acts as one";
            return Err(ControlError::NotPermitted(said.to_owned()));
        }
        // Who runs the machine needs no organization.
        let needs_none = new.instance_admin && new.organization.is_none() && actor.memberships.len() != 1;
        let organization = if needs_none { None } else { Some(organization_of(actor, new.organization)?) };
        match &organization {
            Some(organization) => hold_at_least(actor, organization, new.role, &new.grants)?,
            None if new.role != OrganizationRole::Member || !new.grants.is_empty() => {
                return Err(ControlError::field(
                    "role",
                    "is `member` without grants, or name one of your organizations",
                ));
            }
            None => {}
        }
        let mut token = AdminToken {
            id: Id::random(IdKind::AdminToken)?,
            digest: digest_of(&text),
            last4: super::super::vault::last4(&text),
            description,
            organization,
            instance_admin: new.instance_admin,
            role: new.role,
            grants: new.grants,
            created_by: Some(actor.author.clone()),
            expires_at: None,
            created_at: unix_time(),
            last_used_at: None,
        };
        let (actor, asked) = (actor.clone(), new.expires_at);
        let token = self.store().write(move |tx| {
            token.expires_at = Some(end_of(tx, &actor, asked, token.created_at)?);
            insert(tx, &actor, &token)?;
            Ok::<_, ControlError>(token)
        });
        let token = token.await?;
        Ok((token, Secret::new(text)))
    }

    /// The caller's own tokens.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn tokens(&self, actor: &Actor, page: PageRequest) -> Result<Page<AdminToken>, ControlError> {
        permit(actor, Capability::Self_, Scope::Instance)?;
        let author = actor.author.clone();
        Ok(self.store().read(move |tx| tx.admin_tokens(None, Some(&author), &page)).await?)
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
                    Some(organization) => {
                        permit(&actor, Capability::MembersWrite, Scope::Organization(organization)).is_ok()
                    }
                    None => actor.instance_admin,
                };
                if !is_own && !may {
                    return Err(ControlError::NotFound);
                }
                tx.delete_admin_token(&id)?;
                let mut event = actor.event("token.delete", id.as_str());
                event.organization.clone_from(&token.organization);
                event.before = shown(&token);
                tx.append_audit(&event)?;
                Ok(())
            })
            .await
    }
}

fn insert(tx: &mut dyn Tx, actor: &Actor, token: &AdminToken) -> Result<(), ControlError> {
    if let Some(organization) = &token.organization {
        gate::usable_organization(tx, actor, organization)?;
        check_grants(tx, organization, &token.grants)?;
    }
    tx.insert_admin_token(token)?;
    let mut event = actor.event("token.create", token.id.as_str());
    event.organization.clone_from(&token.organization);
    event.after = shown(token);
    tx.append_audit(&event)?;
    Ok(())
}

/// When a new token ends: as asked, within a year, and not after the token that makes it.
fn end_of(tx: &dyn Tx, actor: &Actor, asked: Option<UnixTime>, now: UnixTime) -> Result<UnixTime, ControlError> {
    let mut latest = UnixTime(now.0 + LIFE_MAX);
    if actor.kind == ActorKind::Token
        && let Some(end) = tx.admin_token(&actor.id)?.and_then(|maker| maker.expires_at)
    {
        latest = latest.min(end);
    }
    let end = asked.unwrap_or(latest);
    if end <= now || end > latest {
        let said = format!("must be in the future and not after {}", latest.rfc3339());
        return Err(ControlError::field("expires_at", said));
    }
    Ok(end)
}

fn checked_description(text: &str) -> Result<String, ControlError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > DESCRIPTION_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(ControlError::field("description", "must have 1 to 255 characters, no control characters"));
    }
    Ok(text.to_owned())
}

/// The token as the audit log keeps it.
fn shown(token: &AdminToken) -> String {
    serde_json::json!({
        "description": token.description,
        "role": token.role,
        "instance_admin": token.instance_admin,
        "project_grants": grants_json(&token.grants),
        "expires_at": token.expires_at.map(UnixTime::rfc3339),
    })
    .to_string()
}

fn organization_of(actor: &Actor, named: Option<Id>) -> Result<Id, ControlError> {
    match (named, actor.memberships.as_slice()) {
        (Some(id), _) if actor.membership(&id).is_some() => Ok(id),
        (Some(_), _) => Err(ControlError::NotFound),
        (None, [only]) => Ok(only.organization.clone()),
        (None, _) => Err(ControlError::field("organization_id", "name one of your organizations")),
    }
}

/// Nobody grants more than they hold.
pub(in crate::control) fn hold_at_least(
    actor: &Actor,
    organization: &Id,
    role: OrganizationRole,
    grants: &[ProjectGrant],
) -> Result<(), ControlError> {
    let refuse =
        || ControlError::NotPermitted("nobody grants more than they hold; ask an owner of the organization".to_owned());
    let own = actor.membership(organization).ok_or(ControlError::NotFound)?;
    // An auditor reads everything but writes nothing, so only those above it may hand out roles in projects.
    let is_wide = matches!(own.role, OrganizationRole::Owner | OrganizationRole::Admin);
    if role < own.role {
        return Err(refuse());
    }
    let holds =
        |grant: &ProjectGrant| is_wide || own.project_role(&grant.project).is_some_and(|held| covers(held, grant.role));
    if grants.iter().all(holds) { Ok(()) } else { Err(refuse()) }
}

/// Whether a project role includes another: an administrator everything, an editor and a developer looking.
pub(super) fn covers(held: ProjectRole, wanted: ProjectRole) -> bool {
    held == ProjectRole::ProjectAdmin || held == wanted || wanted == ProjectRole::Viewer
}

#[cfg(test)]
mod tests {
    use super::super::super::actor::Membership;
    use super::*;

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
            (
                "editor to developer",
                actor(Member, Some(ProjectRole::Editor)),
                Member,
                grant(ProjectRole::Developer),
                false,
            ),
            ("editor to viewer", actor(Member, Some(ProjectRole::Editor)), Member, grant(ProjectRole::Viewer), true),
            (
                "project administrator to editor",
                actor(Member, Some(ProjectRole::ProjectAdmin)),
                Member,
                grant(ProjectRole::Editor),
                true,
            ),
        ] {
            assert_eq!(hold_at_least(&actor, &organization, role, &grants).is_ok(), want, "{name}");
        }
    }
}

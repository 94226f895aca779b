//! Invitations: how somebody becomes a member.
//!
//! The text that accepts an invitation is shown once to whoever made it, who hands it on. Accepting it makes the user, with
//! a password of the user's own choice, or adds an existing one.

use std::time::Duration;

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    instance::Control,
    login::{Login, checked_email, digest_of, hold_at_least},
    permit::{Capability, Scope, permit},
};
use super::members::{check_grants, grants_json};
use crate::{
    base::{Id, IdKind, Secret, UnixTime, push_random, unix_time},
    store::{
        Invitation, InvitationStatus, Member, OrganizationRole, Page, PageRequest, ProjectGrant, StoreError, Tx, User,
    },
};

/// How long an invitation can be accepted.
const LIFE: Duration = Duration::from_secs(7 * 86_400);
/// Stands for an account in the throttle; no e-mail address looks like it.
const INVITATION_ACCOUNT: &str = "invitation";
/// Characters of the text that accepts it: 256 bits.
const RANDOM_CHARS: usize = 43;

/// What a new member is to be.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// Whom to invite.
    pub email: String,
    /// Role in the organization.
    pub role: OrganizationRole,
    /// Roles in projects.
    pub grants: Vec<ProjectGrant>,
}

/// Who joined, and the session of whoever is new.
pub struct Joined {
    /// The session.
    pub login: Login,
    /// The organization that was joined.
    pub organization: Id,
}

impl Control {
    /// Invitations of an organization.
    ///
    /// # Errors
    /// As [`permit`].
    pub async fn invitations(
        &self,
        actor: &Actor,
        organization: Id,
        page: PageRequest,
    ) -> Result<Page<Invitation>, ControlError> {
        permit(actor, Capability::MembersRead, Scope::Organization(&organization))?;
        Ok(self.store().read(move |tx| tx.invitations(&organization, &page)).await?)
    }

    /// Invites somebody; returns the text that accepts it, which is shown once.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::NotPermitted`] for more than the caller holds; [`ControlError::NameTaken`] for
    /// somebody who is a member already.
    pub async fn invite(
        &self,
        actor: &Actor,
        organization: Id,
        new: NewInvitation,
    ) -> Result<(Invitation, Secret), ControlError> {
        permit(actor, Capability::MembersWrite, Scope::Organization(&organization))?;
        hold_at_least(actor, &organization, new.role, &new.grants)?;
        let mut text = "mr_invite_".to_owned();
        push_random(&mut text, RANDOM_CHARS)?;
        let at = unix_time();
        let row = Invitation {
            id: Id::random(IdKind::Invitation)?,
            organization,
            email: checked_email(&new.email)?,
            role: new.role,
            grants: new.grants,
            token_digest: digest_of(&text),
            status: InvitationStatus::Pending,
            expires_at: UnixTime(at.0 + LIFE),
            created_by: actor.author.clone(),
            created_at: at,
            revision: 1,
        };
        let (made, actor) = (row.clone(), actor.clone());
        self.store()
            .write(move |tx| {
                gate::usable_organization(tx, &actor, &row.organization)?;
                check_grants(tx, &row.organization, &row.grants)?;
                let user = tx.user_by_email(&row.email)?;
                let member = user.map(|user| tx.member(&row.organization, &user.id)).transpose()?.flatten();
                if member.is_some() {
                    return Err(ControlError::NameTaken(format!("`{}` is a member already", row.email)));
                }
                tx.insert_invitation(&row)?;
                let mut event = actor.event("invitation.create", row.id.as_str());
                event.organization = Some(row.organization.clone());
                event.after = shown(&row);
                tx.append_audit(&event)?;
                Ok(())
            })
            .await?;
        Ok((made, Secret::new(text)))
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::IllegalTransition`] when it is not pending any more.
    pub async fn revoke_invitation(
        &self,
        actor: &Actor,
        (organization, id): (Id, Id),
        expected: u64,
    ) -> Result<(), ControlError> {
        permit(actor, Capability::MembersWrite, Scope::Organization(&organization))?;
        let actor = actor.clone();
        self.store()
            .write(move |tx| {
                gate::usable_organization(tx, &actor, &organization)?;
                let found = tx.invitation(&id)?.filter(|found| found.organization == organization);
                let found = found.ok_or(ControlError::NotFound)?;
                gate::expect_revision(found.revision, expected)?;
                let before = shown(&found);
                if found.status != InvitationStatus::Pending {
                    let message =
                        format!("the invitation is {}; only a pending one can be revoked", found.status.as_str());
                    return Err(ControlError::IllegalTransition(message));
                }
                tx.update_invitation(&Invitation { status: InvitationStatus::Revoked, ..found })?;
                let mut event = actor.event("invitation.revoke", id.as_str());
                event.organization = Some(organization.clone());
                event.before = before;
                tx.append_audit(&event)?;
                Ok(())
            })
            .await
    }

    /// Accepts an invitation: makes the user with this password, or checks the password of one who exists, and logs in.
    ///
    /// # Errors
    /// [`ControlError::NotAuthenticated`] for an unknown, used, revoked or expired text, for a wrong password and for a
    /// missing or wrong code alike.
    pub async fn accept_invitation(
        &self,
        token: &Secret,
        password: Secret,
        code: Option<&str>,
        address: &str,
    ) -> Result<Joined, ControlError> {
        self.begin_login(INVITATION_ACCOUNT, address)?;
        let digest = digest_of(token.reveal());
        let found = self.store().read(move |tx| {
            let found = tx.invitation_by_token(&digest)?.filter(is_open);
            let user = found.as_ref().map(|found| tx.user_by_email(&found.email)).transpose()?.flatten();
            Ok::<_, StoreError>(found.map(|found| (found, user)))
        });
        let Some((invitation, known)) = found.await? else {
            return Err(ControlError::NotAuthenticated);
        };
        let user = match known {
            Some(user) => {
                if !self.passwords().matches(password, user.password_hash.clone()).await? {
                    return Err(ControlError::NotAuthenticated);
                }
                self.pass_second_factor(&user.id, code).await?;
                user
            }
            None => User {
                id: Id::random(IdKind::User)?,
                email: invitation.email.clone(),
                password_hash: Some(self.passwords().hash(password).await?),
                instance_admin: false,
                created_at: unix_time(),
                revision: 1,
            },
        };
        self.throttle().succeeded(INVITATION_ACCOUNT, address);
        let organization = invitation.organization.clone();
        self.join(invitation.id, user.clone(), address).await?;
        let login = self.open_session(user, address.to_owned()).await?;
        Ok(Joined { login, organization })
    }

    async fn join(&self, invitation: Id, user: User, address: &str) -> Result<(), ControlError> {
        let actor = Actor {
            kind: crate::store::ActorKind::User,
            id: user.id.clone(),
            author: user.id.clone(),
            name: user.email.clone(),
            address: address.to_owned(),
            instance_admin: false,
            ..Actor::system()
        };
        self.store()
            .write(move |tx| {
                // Looked at again: it may have been revoked or accepted since.
                let mut found = tx.invitation(&invitation)?.filter(is_open).ok_or(ControlError::NotAuthenticated)?;
                gate::usable_organization(tx, &actor, &found.organization)?;
                drop_lost_grants(tx, &mut found)?;
                if tx.user(&user.id)?.is_none() {
                    tx.insert_user(&user)?;
                }
                tx.insert_member(&Member {
                    organization: found.organization.clone(),
                    user: user.id.clone(),
                    email: user.email.clone(),
                    role: found.role,
                    grants: found.grants.clone(),
                    active_key_limit: None,
                    last_seen_at: None,
                    created_at: unix_time(),
                    revision: 1,
                })?;
                let (organization, member) = (found.organization.clone(), shown(&found));
                tx.update_invitation(&Invitation { status: InvitationStatus::Accepted, ..found })?;
                let mut event = actor.event("invitation.accept", invitation.as_str());
                event.organization = Some(organization);
                event.after = member;
                tx.append_audit(&event)?;
                Ok(())
            })
            .await
    }
}

/// Projects that were deleted since the invitation was made are no reason to refuse it.
fn drop_lost_grants(tx: &dyn Tx, invitation: &mut Invitation) -> Result<(), ControlError> {
    let mut left = Vec::new();
    for grant in invitation.grants.drain(..) {
        if tx.project(&grant.project)?.is_some_and(|project| project.organization == invitation.organization) {
            left.push(grant);
        }
    }
    invitation.grants = left;
    Ok(())
}

/// The invitation as the audit log keeps it.
fn shown(row: &Invitation) -> String {
    let grants = grants_json(&row.grants);
    serde_json::json!({ "email": row.email, "role": row.role, "project_grants": grants }).to_string()
}

fn is_open(invitation: &Invitation) -> bool {
    invitation.status == InvitationStatus::Pending && unix_time() < invitation.expires_at
}

//! From what a request carries to who asks.
//!
//! Tokens and session ids are 256 random bits, so one SHA-256 is enough to look them up, and a row that is read from a
//! backup opens nothing.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::super::{
    actor::{Actor, Membership},
    error::ControlError,
    instance::Control,
};
use crate::{
    base::{Id, UnixTime, unix_time},
    store::{
        ActorKind, AdminToken, Member, OrganizationRole, OrganizationStatus, Outcome, ProjectGrant, ProjectRole, Session,
        Tx,
    },
};

/// A session ends after this time without a request.
pub(super) const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// A session ends after this time whatever happens.
pub(super) const SESSION_TOTAL: Duration = Duration::from_secs(12 * 3_600);
/// Uses are noted to the minute, so that reading needs no write each time.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// What a request carries.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// `Authorization: Bearer`.
    Token(&'a str),
    /// The cookie of a session.
    Session(&'a str),
}

/// What was found, and whether its use is to be noted.
enum Found {
    Token(Box<AdminToken>, Actor),
    Session(Session, Actor),
}

impl Control {
    /// Finds out who asks.
    ///
    /// # Errors
    /// [`ControlError::NotAuthenticated`] for unknown, expired and ended credentials alike.
    pub async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        address: &str,
        request_id: &str,
    ) -> Result<Actor, ControlError> {
        let now = unix_time();
        let from = (address.to_owned(), request_id.to_owned());
        let (digest, by_token) = match credentials {
            Credentials::Token(text) => (digest_of(text), true),
            Credentials::Session(text) => (digest_of(text), false),
        };
        let found = self.store().read(move |tx| {
            let found = if by_token { by_token_digest(tx, &digest, now)? } else { by_session(tx, &digest, now)? };
            found.ok_or(ControlError::NotAuthenticated)
        });
        let (actor, touch) = match found.await? {
            Found::Token(token, actor) => (actor, is_due(token.last_used_at, now).then_some(token.id)),
            Found::Session(session, actor) => {
                if is_due(Some(session.last_seen_at), now) {
                    self.touch_session(session, now).await;
                }
                (actor, None)
            }
        };
        if let Some(id) = touch {
            // A store that cannot be written is no reason to refuse a reader.
            let _ = self.store().write(move |tx| Ok::<_, ControlError>(tx.touch_admin_token(&id, now)?)).await;
        }
        Ok(Actor { address: from.0, request_id: from.1, ..actor })
    }

    async fn touch_session(&self, session: Session, now: UnixTime) {
        let _ = self.store().write(move |tx| Ok::<_, ControlError>(tx.touch_session(&session.digest, now)?)).await;
    }
}

/// Digest under which a token or session id is stored.
pub(in crate::control) fn digest_of(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn is_due(last: Option<UnixTime>, now: UnixTime) -> bool {
    last.is_none_or(|last| now.0.saturating_sub(last.0) >= TOUCH_EVERY)
}

fn by_token_digest(tx: &dyn Tx, digest: &[u8; 32], now: UnixTime) -> Outcome<Option<Found>> {
    let Some(token) = tx.admin_token_by_digest(digest)?.filter(|token| token.expires_at.is_none_or(|end| now < end))
    else {
        return Ok(None);
    };
    let mut memberships = Vec::new();
    if let Some(organization) = &token.organization {
        let membership =
            Membership { organization: organization.clone(), role: token.role, grants: token.grants.clone() };
        memberships.extend(within_maker(tx, &token, membership)?);
    }
    let instance_admin = token.instance_admin && maker_is_instance_admin(tx, &token)?;
    let author = token.created_by.clone().unwrap_or_else(|| token.id.clone());
    let actor = Actor {
        kind: ActorKind::Token,
        id: token.id.clone(),
        author,
        name: token.description.clone(),
        address: String::new(),
        request_id: String::new(),
        instance_admin,
        memberships,
    };
    Ok(Some(Found::Token(Box::new(token), actor)))
}

/// A token is never more than its maker is now: who left the organization or was demoted takes the token along.
fn within_maker(tx: &dyn Tx, token: &AdminToken, own: Membership) -> Outcome<Option<Membership>> {
    let suspended = is_suspended(tx, &own.organization)?;
    let Some(maker) = &token.created_by else {
        return Ok(Some(if suspended { read_only(own) } else { own }));
    };
    let Some(member) = tx.member(&own.organization, maker)? else {
        return Ok(None);
    };
    let role = lower(own.role, member.role);
    let is_wide = |role| role == OrganizationRole::Owner || role == OrganizationRole::Admin;
    let grants = if is_wide(member.role) {
        own.grants
    } else {
        own.grants.into_iter().filter(|grant| member.grants.contains(grant)).collect()
    };
    let own = Membership { role, grants, ..own };
    Ok(Some(if suspended { read_only(own) } else { own }))
}

fn maker_is_instance_admin(tx: &dyn Tx, token: &AdminToken) -> Outcome<bool> {
    let Some(maker) = &token.created_by else {
        return Ok(true);
    };
    Ok(tx.user(maker)?.is_some_and(|user| user.instance_admin))
}

fn by_session(tx: &dyn Tx, digest: &[u8; 32], now: UnixTime) -> Outcome<Option<Found>> {
    let is_open = |session: &Session| {
        now.0.saturating_sub(session.created_at.0) < SESSION_TOTAL
            && now.0.saturating_sub(session.last_seen_at.0) < SESSION_IDLE
    };
    let Some(session) = tx.session(digest)?.filter(is_open) else {
        return Ok(None);
    };
    let Some(user) = tx.user(&session.user)? else {
        return Ok(None);
    };
    let mut memberships = Vec::new();
    for Member { organization, role, grants, .. } in tx.memberships(&user.id)? {
        let suspended = is_suspended(tx, &organization)?;
        let membership = Membership { organization, role, grants };
        memberships.push(if suspended { read_only(membership) } else { membership });
    }
    let actor = Actor {
        kind: ActorKind::User,
        id: user.id.clone(),
        author: user.id,
        name: user.email,
        address: String::new(),
        request_id: String::new(),
        instance_admin: user.instance_admin,
        memberships,
    };
    Ok(Some(Found::Session(session, actor)))
}

fn is_suspended(tx: &dyn Tx, organization: &Id) -> Outcome<bool> {
    Ok(tx.organization(organization)?.is_some_and(|found| found.status == OrganizationStatus::Suspended))
}

/// What is left of a membership in a suspended organization: looking, not changing.
fn read_only(membership: Membership) -> Membership {
    let role = match membership.role {
        OrganizationRole::Member => OrganizationRole::Member,
        _ => OrganizationRole::Auditor,
    };
    let look = |grant: ProjectGrant| ProjectGrant { role: ProjectRole::Viewer, ..grant };
    Membership { role, grants: membership.grants.into_iter().map(look).collect(), ..membership }
}

/// The role that allows less. An auditor sees everything but writes nothing, so it is below an admin.
fn lower(left: OrganizationRole, right: OrganizationRole) -> OrganizationRole {
    left.max(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_role_wins() {
        use OrganizationRole::{Admin, Auditor, Member, Owner};
        for (left, right, want) in
            [(Owner, Owner, Owner), (Owner, Admin, Admin), (Auditor, Owner, Auditor), (Member, Auditor, Member)]
        {
            assert_eq!(lower(left, right), want);
            assert_eq!(lower(right, left), want);
        }
    }

    #[test]
    fn use_is_noted_once_a_minute() {
        let at = |seconds| UnixTime(Duration::from_secs(seconds));
        assert!(is_due(None, at(0)) && is_due(Some(at(0)), at(60)));
        assert!(!is_due(Some(at(0)), at(59)));
    }
}

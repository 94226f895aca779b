//! From what a request carries to who asks.
//!
//! Tokens and session ids are 256 random bits, so one SHA-256 is enough to look them up, and a row that is read from a
//! backup opens nothing.

use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::super::{
    actor::{Actor, Membership},
    error::ControlError,
    identity::{Authenticate, Presented, Proof},
    instance::Control,
};
use super::token::covers;
use crate::{
    base::{Id, UnixTime, unix_time},
    store::{ActorKind, AdminToken, Member, OrganizationRole, Outcome, ProjectGrant, Session, Tx},
};

/// A session ends after this time without a request.
pub(super) const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// A session ends after this time whatever happens.
pub(super) const SESSION_TOTAL: Duration = Duration::from_secs(12 * 3_600);
/// Uses are noted to the minute, so that reading needs no write each time.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Note that lists the organizations that a token without a user has made, one id a line: it owns them.
const ENVIRONMENT_OWNS_NOTE: &str = "environment_owns";
/// Longest token or cookie that is looked up, in bytes.
const PROOF_BYTES_MAX: usize = 512;

/// What was found, and whether its use is to be noted.
enum Found {
    Token(Box<AdminToken>, Actor),
    Session(Session, Actor),
}

#[async_trait]
impl Authenticate for Control {
    async fn authenticate(&self, proof: Proof<'_>, presented: Presented<'_>) -> Result<Actor, ControlError> {
        let now = unix_time();
        let (address, request_id) = (presented.address.to_owned(), presented.request_id.to_owned());
        // A store that cannot be written is no reason to refuse a reader, so the outcome of a touch does not matter.
        let actor = match self.find(proof, now).await? {
            Found::Token(token, actor) => {
                if is_due(token.last_used_at, now) {
                    let _ = self.store().write(move |tx| tx.touch_admin_token(&token.id, now)).await;
                }
                actor
            }
            Found::Session(session, actor) => {
                if is_due(Some(session.last_seen_at), now) {
                    let _ = self.store().write(move |tx| touch(tx, &session, now)).await;
                }
                actor
            }
        };
        Ok(Actor { address, request_id, ..actor })
    }

    async fn recognize(&self, proof: Proof<'_>, presented: Presented<'_>) -> Result<Actor, ControlError> {
        let (address, request_id) = (presented.address.to_owned(), presented.request_id.to_owned());
        let (Found::Token(_, actor) | Found::Session(_, actor)) = self.find(proof, unix_time()).await?;
        Ok(Actor { address, request_id, ..actor })
    }
}

impl Control {
    async fn find(&self, proof: Proof<'_>, now: UnixTime) -> Result<Found, ControlError> {
        let (text, by_token) = match proof {
            Proof::Bearer(text) => (text, true),
            Proof::Session(text) => (text, false),
        };
        if text.len() > PROOF_BYTES_MAX {
            return Err(ControlError::NotAuthenticated);
        }
        let digest = digest_of(text);
        let found = self.store().read(move |tx| {
            let found = if by_token { by_token_digest(tx, &digest, now)? } else { by_session(tx, &digest, now)? };
            found.ok_or(ControlError::NotAuthenticated)
        });
        found.await
    }
}

fn touch(tx: &mut dyn Tx, session: &Session, now: UnixTime) -> Outcome<()> {
    tx.touch_session(&session.digest, now)?;
    tx.touch_members(&session.user, now)
}

/// Digest under which a token or session id is stored.
pub(in crate::control) fn digest_of(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn is_due(last: Option<UnixTime>, now: UnixTime) -> bool {
    last.is_none_or(|last| now.0.saturating_sub(last.0) >= TOUCH_EVERY)
}

fn by_token_digest(tx: &dyn Tx, digest: &[u8; 32], now: UnixTime) -> Outcome<Option<Found>> {
    let Some(token) = tx.admin_token_by_digest(digest)?.filter(|token| is_valid(token, now)) else {
        return Ok(None);
    };
    let Some(memberships) = memberships_of_token(tx, &token, now)? else {
        return Ok(None);
    };
    let instance_admin = token.instance_admin && maker_is_instance_admin(tx, &token, now)?;
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

/// A token is never more than its maker is now: who left the organization or was demoted takes the token along. None when
/// nothing is left of it.
fn memberships_of_token(tx: &dyn Tx, token: &AdminToken, now: UnixTime) -> Outcome<Option<Vec<Membership>>> {
    let Some(maker) = &token.created_by else {
        return own_memberships(tx, token).map(Some);
    };
    let Some(organization) = &token.organization else {
        return Ok(Some(Vec::new()));
    };
    let own = Membership { organization: organization.clone(), role: token.role, grants: token.grants.clone() };
    let held = match tx.member(organization, maker)? {
        Some(Member { organization, role, grants, .. }) => Some(Membership { organization, role, grants }),
        // The maker may be a token without a user, which has no maker itself.
        None => match tx.admin_token(maker)?.filter(|maker| maker.created_by.is_none() && is_valid(maker, now)) {
            Some(maker) => own_memberships(tx, &maker)?.into_iter().find(|held| held.organization == *organization),
            None => None,
        },
    };
    Ok(held.map(|held| vec![within(own, &held)]))
}

/// What a token without a maker may do: its organization, and those that were made with it.
fn own_memberships(tx: &dyn Tx, token: &AdminToken) -> Outcome<Vec<Membership>> {
    let mut memberships = Vec::new();
    if let Some(organization) = token.organization.clone() {
        memberships.push(Membership { organization, role: token.role, grants: token.grants.clone() });
    }
    if token.instance_admin {
        for organization in environment_owns(tx)? {
            memberships.push(Membership { organization, role: OrganizationRole::Owner, grants: Vec::new() });
        }
    }
    Ok(memberships)
}

fn environment_owns(tx: &dyn Tx) -> Outcome<Vec<Id>> {
    let text = tx.note(ENVIRONMENT_OWNS_NOTE)?.and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
    Ok(text.lines().map(Id::stored).collect())
}

/// Notes that an organization was made by a token without a user: without an owner nobody could invite one.
pub(in crate::control) fn note_environment_owns(tx: &mut dyn Tx, organization: &Id) -> Outcome<()> {
    let mut lines: Vec<String> = Vec::new();
    for known in environment_owns(tx)? {
        // Ids are never used again, so those of deleted organizations can be dropped.
        if tx.organization(&known)?.is_some() {
            lines.push(known.as_str().to_owned());
        }
    }
    lines.push(organization.as_str().to_owned());
    tx.put_note(ENVIRONMENT_OWNS_NOTE, Some(lines.join("\n").as_bytes()))
}

/// What of a membership another one covers.
fn within(own: Membership, held: &Membership) -> Membership {
    let is_wide = matches!(held.role, OrganizationRole::Owner | OrganizationRole::Admin);
    let covered = |grant: &ProjectGrant| {
        is_wide || held.project_role(&grant.project).is_some_and(|role| covers(role, grant.role))
    };
    Membership {
        role: lower(own.role, held.role),
        grants: own.grants.iter().filter(|grant| covered(grant)).cloned().collect(),
        organization: own.organization,
    }
}

fn is_valid(token: &AdminToken, now: UnixTime) -> bool {
    token.expires_at.is_none_or(|end| now < end)
}

/// Whoever is demoted takes the rights of the own tokens along.
fn maker_is_instance_admin(tx: &dyn Tx, token: &AdminToken, now: UnixTime) -> Outcome<bool> {
    let Some(maker) = &token.created_by else {
        return Ok(true);
    };
    if let Some(user) = tx.user(maker)? {
        return Ok(user.instance_admin);
    }
    // The maker may be a token without a user, which has no maker itself.
    let maker = tx.admin_token(maker)?.filter(|maker| maker.created_by.is_none() && is_valid(maker, now));
    Ok(maker.is_some_and(|maker| maker.instance_admin))
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
        memberships.push(Membership { organization, role, grants });
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

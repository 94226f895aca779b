//! Logging in and out, and the first start.

use super::super::{
    actor::Actor,
    error::{ControlError, FieldProblem},
    instance::Control,
};
use super::authenticate::{SESSION_IDLE, SESSION_TOTAL, digest_of};
use super::first_start::{SETUP_NOTE, first_organization};
use crate::{
    base::{Id, IdKind, Secret, UnixTime, now, push_random, unix_time},
    store::{ActorKind, Member, OrganizationRole, Session, StoreError, Tx, User},
};

/// Characters of a session id or a token: 256 bits.
pub(super) const RANDOM_CHARS: usize = 43;
/// Stands for an account in the throttle; no e-mail address looks like it.
const SETUP_ACCOUNT: &str = "setup";
/// Longest e-mail address (RFC 5321, section 4.5.3.1.3, without the brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// A new login.
pub struct Login {
    /// Value of the cookie. Shown once.
    pub secret: Secret,
    /// Who logged in.
    pub user: User,
    /// When the session ends at the latest.
    pub ends_at: UnixTime,
}

impl Control {
    /// Logs a user in with e-mail and password, and with a code where the user has a second factor.
    ///
    /// # Errors
    /// [`ControlError::NotAuthenticated`] for an unknown user, a wrong password and a missing or wrong code alike;
    /// [`ControlError::RateLimited`] after several wrong ones from this address.
    pub async fn log_in(
        &self,
        email: &str,
        password: Secret,
        code: Option<&str>,
        address: &str,
    ) -> Result<Login, ControlError> {
        let email = email.trim().to_lowercase();
        self.begin_login(&email, address)?;
        let wanted = email.clone();
        let found = self.store().read(move |tx| tx.user_by_email(&wanted)).await?;
        let hash = found.as_ref().and_then(|user| user.password_hash.clone());
        let right = self.passwords().matches(password, hash).await?;
        let Some(user) = found.filter(|_| right) else {
            return Err(ControlError::NotAuthenticated);
        };
        self.pass_second_factor(&user.id, code).await?;
        self.throttle().succeeded(&email, address);
        self.open_session(user, address.to_owned()).await
    }

    /// Begins a login; it counts as wrong until it was found to be right.
    ///
    /// # Errors
    /// [`ControlError::RateLimited`] after several wrong ones.
    pub(in crate::control) fn begin_login(&self, account: &str, address: &str) -> Result<(), ControlError> {
        let begun = self.throttle().begin(account, address, now());
        begun.map_err(|wait| ControlError::RateLimited(UnixTime(unix_time().0 + wait)))
    }

    /// Ends the session of this cookie, if there is one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn log_out(&self, actor: &Actor, cookie: &str) -> Result<(), ControlError> {
        let (digest, mut event) = (digest_of(cookie), actor.event("session.end", actor.id.as_str()));
        event.actor_kind = ActorKind::User;
        self.store()
            .write(move |tx| {
                tx.delete_session(&digest)?;
                tx.append_audit(&event)?;
                Ok(())
            })
            .await
    }

    /// Makes the first instance administrator, who is also owner of the first organization, and logs in.
    ///
    /// # Errors
    /// [`ControlError::NotAuthenticated`] for a wrong token and when the set-up is done; field problems.
    pub async fn set_up(
        &self,
        token: &Secret,
        email: &str,
        password: Secret,
        address: &str,
    ) -> Result<Login, ControlError> {
        let email = checked_email(email)?;
        self.begin_login(SETUP_ACCOUNT, address)?;
        let digest = digest_of(token.reveal());
        let is_right = self
            .store()
            .read(move |tx| Ok::<_, StoreError>(tx.note(SETUP_NOTE)?.as_deref() == Some(digest.as_slice())))
            .await?;
        if !is_right {
            return Err(ControlError::NotAuthenticated);
        }
        self.throttle().succeeded(SETUP_ACCOUNT, address);
        let password_hash = Some(self.passwords().hash(password).await?);
        let user = User {
            id: Id::random(IdKind::User)?,
            email,
            password_hash,
            instance_admin: true,
            created_at: unix_time(),
            revision: 1,
        };
        let made = (user.clone(), address.to_owned());
        self.store()
            .write(move |tx| {
                // Looked at again: two callers may have come as far as this with the same token.
                if tx.note(SETUP_NOTE)?.as_deref() != Some(digest.as_slice()) {
                    return Err(ControlError::NotAuthenticated);
                }
                tx.put_note(SETUP_NOTE, None)?;
                make_first_admin(tx, &made.0, &made.1)
            })
            .await?;
        self.open_session(user, address.to_owned()).await
    }

    /// Opens a session with a new id: nobody can have fixed it before the login.
    pub(in crate::control) async fn open_session(&self, user: User, address: String) -> Result<Login, ControlError> {
        let (secret, session) = new_session(&user.id)?;
        let at = session.created_at;
        let actor = Actor {
            kind: ActorKind::User,
            id: user.id.clone(),
            author: user.id.clone(),
            name: user.email.clone(),
            address,
            ..Actor::system()
        };
        let event = actor.event("session.begin", user.id.as_str());
        self.store()
            .write(move |tx| {
                let before = |span| UnixTime(at.0.saturating_sub(span));
                tx.delete_old_sessions(before(SESSION_TOTAL), before(SESSION_IDLE))?;
                tx.insert_session(&session)?;
                tx.append_audit(&event)?;
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(Login { secret, user, ends_at: UnixTime(at.0 + SESSION_TOTAL) })
    }
}

/// A session with a new random id, and the id.
pub(super) fn new_session(user: &Id) -> Result<(Secret, Session), ControlError> {
    let mut text = String::new();
    push_random(&mut text, RANDOM_CHARS)?;
    let at = unix_time();
    let session = Session { digest: digest_of(&text), user: user.clone(), created_at: at, last_seen_at: at };
    Ok((Secret::new(text), session))
}

fn make_first_admin(tx: &mut dyn Tx, user: &User, address: &str) -> Result<(), ControlError> {
    tx.insert_user(user)?;
    let organization = first_organization(tx)?;
    tx.insert_member(&Member {
        organization: organization.clone(),
        user: user.id.clone(),
        email: user.email.clone(),
        role: OrganizationRole::Owner,
        grants: Vec::new(),
        active_key_limit: None,
        last_seen_at: None,
        created_at: user.created_at,
        revision: 1,
    })?;
    let mut event = Actor { address: address.to_owned(), ..Actor::system() }.event("instance.set_up", user.id.as_str());
    event.organization = Some(organization);
    tx.append_audit(&event)?;
    Ok(())
}

/// Brings an e-mail address into the form in which it is stored.
///
/// # Errors
/// A field problem for a text that cannot be one. Whether it exists only a mail can tell.
pub(in crate::control) fn checked_email(text: &str) -> Result<String, ControlError> {
    let email = text.trim().to_lowercase();
    let fits = email.len() <= EMAIL_BYTES_MAX
        && email
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b',' | b';' | b'\\'))
        && matches!(email.rsplit_once('@'), Some((local, host)) if !local.is_empty() && !local.contains('@') && !host.is_empty());
    if fits {
        return Ok(email);
    }
    Err(ControlError::Invalid(vec![FieldProblem::new(
        "email",
        format!("an e-mail address is `name@host`, ASCII, at most {EMAIL_BYTES_MAX} bytes"),
    )]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_is_folded_or_refused() {
        assert_eq!(checked_email(" Ann@Example.COM ").unwrap(), "ann@example.com");
        let long = format!("{}@b", "a".repeat(EMAIL_BYTES_MAX));
        for text in ["", "ann", "@b", "a@", "a@b@c", "a b@c", "<script>@x", "é@x", &long] {
            assert!(checked_email(text).is_err(), "{text}");
        }
    }
}

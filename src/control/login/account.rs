//! What users do with their own account.
//!
//! Everything here needs the password again: a session or a token that somebody else got hold of must not be enough to
//! lock its owner out. Wrong passwords wait as they do at the login.

use super::super::{
    actor::Actor,
    error::ControlError,
    instance::Control,
    permit::{Capability, Scope, permit},
};
use super::session::{Login, new_session};
use crate::{
    base::{Secret, UnixTime},
    store::{StoreError, User},
};

/// A user, as the user sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The user.
    pub user: User,
    /// Whether a login needs a code.
    pub second_factor: bool,
}

impl Control {
    /// The caller's own account.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] for a token without a user.
    pub async fn account(&self, actor: &Actor) -> Result<Account, ControlError> {
        permit(actor, Capability::Self_, Scope::Instance)?;
        let id = actor.author.clone();
        let read = self.store().read(move |tx| {
            let user = tx.user(&id)?.ok_or(ControlError::NotFound)?;
            let factor = tx.second_factor(&id)?;
            Ok::<_, ControlError>(Account { user, second_factor: factor.is_some_and(|row| row.confirmed_at.is_some()) })
        });
        read.await
    }

    /// Changes the caller's password, ends every session of the user, and opens a new one (threat T-43).
    ///
    /// # Errors
    /// Field problems for a wrong present password and for a new one that is too short or too long;
    /// [`ControlError::RateLimited`] after several wrong ones; [`ControlError::Stale`] when two change it at once.
    pub async fn change_password(&self, actor: &Actor, present: Secret, new: Secret) -> Result<Login, ControlError> {
        let user = self.prove(actor, present).await?;
        let user = User { password_hash: Some(self.passwords().hash(new).await?), ..user };
        let (secret, session) = new_session(&user.id)?;
        let ends_at = UnixTime(session.created_at.0 + super::authenticate::SESSION_TOTAL);
        let (row, event) = (user.clone(), actor.event("user.password", user.id.as_str()));
        self.store()
            .write(move |tx| {
                tx.update_user(&row)?;
                tx.delete_sessions_of(&row.id)?;
                tx.insert_session(&session)?;
                tx.append_audit(&event)?;
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(Login { secret, user, ends_at })
    }

    /// The caller's user, after the password was found to be right.
    ///
    /// # Errors
    /// A field problem for a wrong one, after the same work as for a caller without a user;
    /// [`ControlError::RateLimited`] after several.
    pub(super) async fn prove(&self, actor: &Actor, password: Secret) -> Result<User, ControlError> {
        permit(actor, Capability::Self_, Scope::Instance)?;
        let account = actor.author.as_str();
        self.begin_login(account, &actor.address)?;
        let id = actor.author.clone();
        let found = self.store().read(move |tx| tx.user(&id)).await?;
        let hash = found.as_ref().and_then(|user| user.password_hash.clone());
        let right = self.passwords().matches(password, hash).await?;
        let Some(user) = found.filter(|_| right) else {
            return Err(ControlError::field("current_password", "is not the present password of your user"));
        };
        self.throttle().succeeded(account, &actor.address);
        Ok(user)
    }
}

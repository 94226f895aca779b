//! The second factor: offered, confirmed, asked for, removed.
//!
//! It is in force only when its first code has shown that the user's authenticator has the secret. A code is taken once:
//! who watches it being typed cannot use it again.

use super::super::{
    actor::Actor,
    error::ControlError,
    instance::Control,
    permit::{Capability, Scope, permit},
    vault::{Place, Purpose, VaultError},
};
use super::totp::{KEY_LEN, base32, otpauth_url, step_of};
use crate::{
    base::{Id, Secret, unix_time},
    store::{SecondFactor, StoreError},
};

/// A second factor that waits for its first code. Shown once.
pub struct Offered {
    /// The shared secret, in base 32.
    pub secret: Secret,
    /// The same for an authenticator, as `otpauth://`.
    pub url: Secret,
}

impl Control {
    /// Offers the caller a second factor, in place of one that was never confirmed.
    ///
    /// # Errors
    /// A field problem for a wrong password; [`ControlError::IllegalTransition`] when one is in force.
    pub async fn offer_second_factor(&self, actor: &Actor, password: Secret) -> Result<Offered, ControlError> {
        let user = self.prove(actor, password).await?;
        let mut key = zeroize::Zeroizing::new([0; KEY_LEN]);
        getrandom::fill(key.as_mut_slice())?;
        let row = SecondFactor {
            user: user.id.clone(),
            sealed: self.vault().seal(place(&user.id), key.as_slice()).map_err(internal)?,
            confirmed_at: None,
            last_step: 0,
            created_at: unix_time(),
        };
        let event = actor.event("user.second_factor_offer", user.id.as_str());
        self.store()
            .write(move |tx| {
                if tx.second_factor(&row.user)?.is_some_and(|before| before.confirmed_at.is_some()) {
                    let said = "you have a second factor; remove it before you set up another one";
                    return Err(ControlError::IllegalTransition(said.to_owned()));
                }
                tx.put_second_factor(&row)?;
                tx.append_audit(&event)?;
                Ok(())
            })
            .await?;
        let secret = base32(&key);
        Ok(Offered { url: Secret::new(otpauth_url(&secret, &user.email)), secret: Secret::new(secret) })
    }

    /// Puts the offered second factor in force, with its first code.
    ///
    /// # Errors
    /// A field problem for a wrong code; [`ControlError::IllegalTransition`] when none is offered;
    /// [`ControlError::RateLimited`] after several wrong ones.
    pub async fn confirm_second_factor(&self, actor: &Actor, code: &str) -> Result<(), ControlError> {
        permit(actor, Capability::Self_, Scope::Instance)?;
        let found = self.second_factor_of(&actor.author).await?;
        let Some(offered) = found.filter(|row| row.confirmed_at.is_none()) else {
            let said = "no second factor waits for its first code; ask for one first";
            return Err(ControlError::IllegalTransition(said.to_owned()));
        };
        let account = actor.author.as_str();
        self.begin_login(account, &actor.address)?;
        let Some(step) = self.step_of_code(&offered, code)? else {
            let said = "is not the present code; check the clock of your authenticator";
            return Err(ControlError::field("code", said));
        };
        self.throttle().succeeded(account, &actor.address);
        let event = actor.event("user.second_factor_confirm", offered.user.as_str());
        let row = SecondFactor { confirmed_at: Some(unix_time()), last_step: step, ..offered.clone() };
        self.store()
            .write(move |tx| {
                // Another offer may have taken its place meanwhile.
                if tx.second_factor(&row.user)?.as_ref() != Some(&offered) {
                    return Err(ControlError::Stale { current: 0 });
                }
                tx.put_second_factor(&row)?;
                tx.append_audit(&event)?;
                Ok(())
            })
            .await
    }

    /// Removes the caller's second factor, in force or only offered.
    ///
    /// # Errors
    /// A field problem for a wrong password; [`ControlError::IllegalTransition`] when there is none.
    pub async fn remove_second_factor(&self, actor: &Actor, password: Secret) -> Result<(), ControlError> {
        let user = self.prove(actor, password).await?;
        self.end_second_factor(actor, "user.second_factor_remove", user.id).await
    }

    /// Removes the second factor of a user who has lost it: for whoever runs the machine.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::NotFound`] for no user; [`ControlError::IllegalTransition`] when there is none.
    pub async fn reset_second_factor(&self, actor: &Actor, user: Id) -> Result<(), ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        self.end_second_factor(actor, "user.second_factor_reset", user).await
    }

    async fn end_second_factor(&self, actor: &Actor, action: &str, user: Id) -> Result<(), ControlError> {
        let event = actor.event(action, user.as_str());
        self.store()
            .write(move |tx| {
                tx.user(&user)?.ok_or(ControlError::NotFound)?;
                if tx.second_factor(&user)?.is_none() {
                    return Err(ControlError::IllegalTransition("there is no second factor to remove".to_owned()));
                }
                tx.delete_second_factor(&user)?;
                tx.append_audit(&event)?;
                Ok(())
            })
            .await
    }

    /// Lets a user pass whose password was right: at once without a second factor, else with a code that was not used yet.
    ///
    /// # Errors
    /// [`ControlError::NotAuthenticated`], as for a wrong password.
    pub(in crate::control) async fn pass_second_factor(
        &self,
        user: &Id,
        code: Option<&str>,
    ) -> Result<(), ControlError> {
        let Some(factor) = self.second_factor_of(user).await?.filter(|row| row.confirmed_at.is_some()) else {
            return Ok(());
        };
        let step = code.map(|code| self.step_of_code(&factor, code)).transpose()?.flatten();
        let step = step.ok_or(ControlError::NotAuthenticated)?;
        let used = self.store().write(move |tx| tx.use_step(&factor.user, step)).await;
        // Two logins with one code: the second one meets it used.
        used.map_err(|error| if error == StoreError::Stale { ControlError::NotAuthenticated } else { error.into() })
    }

    async fn second_factor_of(&self, user: &Id) -> Result<Option<SecondFactor>, ControlError> {
        let id = user.clone();
        Ok(self.store().read(move |tx| tx.second_factor(&id)).await?)
    }

    fn step_of_code(&self, factor: &SecondFactor, code: &str) -> Result<Option<u64>, ControlError> {
        let key = self.vault().open_seal(place(&factor.user), &factor.sealed).map_err(internal)?;
        Ok(step_of(&key, code, unix_time(), factor.last_step))
    }
}

/// Where the shared secret of a user belongs.
pub(in crate::control) fn place(user: &Id) -> Place<'_> {
    Place { purpose: Purpose::SecondFactor, owner: user.as_str(), record: "second-factor", version: 1, origins: &[] }
}

fn internal(error: VaultError) -> ControlError {
    ControlError::Internal(format!("a second factor: {error}"))
}

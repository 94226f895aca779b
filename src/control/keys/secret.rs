//! Values that configurations name with `!secret NAME`.
//!
//! Write-only: a value is sealed before it reaches the store, and no call gives it back. It may be sent to the origins it
//! was entered for; whoever changes those has to enter it again (threat T-30).

use std::sync::Arc;

use super::super::{
    actor::Actor,
    error::{ControlError, FieldProblem},
    gate,
    instance::Control,
    sealed_keys::place_of_secret,
};
use super::{
    needed::Versions,
    owner::{self, READ, WRITE},
};
use crate::{
    base::{Id, IdKind, Secret as SecretText, UnixTime, unix_time},
    store::{OrganizationRole, Owner, Secret, Tx},
    upstream::BoundOrigin,
};

/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Most origins of one secret.
const ORIGINS_MAX: usize = 32;
/// Most secrets of one owner.
const SECRETS_MAX: usize = 1_000;
/// What files own in file mode.
pub(super) const OWNED: &str = "secrets and provider keys";
/// Most projects that a secret is shared with by name.
const SHARED_MAX: usize = 1_000;

/// What a new secret is to be.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// `^[A-Za-z0-9_.-]{1,64}$`
    pub name: String,
    /// The value.
    pub value: SecretText,
    /// `scheme://host` or `scheme://host:port` to which it may be sent.
    pub bound_origins: Vec<String>,
    /// Projects that may use one of an organization; none means all of them.
    pub shared_with: Option<Vec<Id>>,
}

/// What is to change; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct SecretPatch {
    /// Where it may be sent. Another list clears the value.
    pub bound_origins: Option<Vec<String>>,
    /// Projects that may use it; `Some(None)` means all of them.
    pub shared_with: Option<Option<Vec<Id>>>,
}

impl Control {
    /// Secrets of an owner by name, without their values.
    ///
    /// # Errors
    /// The permission's, or the store's.
    pub async fn secrets(&self, actor: &Actor, owner: &Owner) -> Result<Vec<Secret>, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, owner) = (actor.clone(), owner.clone());
        self.store()
            .read(move |tx| {
                owner::permitted(tx, &actor, READ, &owner)?;
                Ok(tx.secrets(&owner)?)
            })
            .await
    }

    /// One secret, without its value.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`].
    pub async fn secret(&self, actor: &Actor, owner: &Owner, id: &Id) -> Result<Secret, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, owner, id) = (actor.clone(), owner.clone(), id.clone());
        self.store()
            .read(move |tx| {
                owner::permitted(tx, &actor, READ, &owner)?;
                own_secret(tx, &owner, &id)
            })
            .await
    }

    /// Stores a secret.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::NameTaken`]; [`ControlError::LimitReached`].
    pub async fn create_secret(
        self: &Arc<Self>,
        actor: &Actor,
        owner: &Owner,
        new: NewSecret,
    ) -> Result<Secret, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        check_new(&new)?;
        let mut row = Secret {
            id: Id::random(IdKind::Secret)?,
            owner: owner.clone(),
            name: new.name,
            bound_origins: checked_origins(&new.bound_origins)?,
            shared_with: new.shared_with,
            value: None,
            created_at: unix_time(),
            revision: 1,
        };
        row.value = Some(self.sealer().seal(place_of_secret(&row, 1), &new.value)?);
        let actor = actor.clone();
        self.change_secrets(owner, move |tx| {
            let organization = owner::writable(tx, &actor, &row.owner)?;
            check_shared(tx, &organization, &row)?;
            if tx.secrets(&row.owner)?.len() >= SECRETS_MAX {
                let message = format!("{SECRETS_MAX} of {SECRETS_MAX} secrets; delete one");
                return Err(ControlError::LimitReached(message));
            }
            tx.insert_secret(&row)?;
            note(tx, &actor, "secret.create", organization, (None, Some(&row)))?;
            Ok(row)
        })
        .await
    }

    /// Changes where a secret whose revision is `expected` may be sent, and who may use it.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::Stale`].
    pub async fn change_secret(
        self: &Arc<Self>,
        actor: &Actor,
        (owner, id): (&Owner, &Id),
        expected: u64,
        patch: SecretPatch,
    ) -> Result<Secret, ControlError> {
        let origins = patch.bound_origins.as_deref().map(checked_origins).transpose()?;
        self.edit_secret(actor, (owner, id), ("secret.update", expected), move |before| {
            let mut after = before.clone();
            if let Some(origins) = origins
                && origins != before.bound_origins
            {
                after.bound_origins = origins;
                after.value = None;
            }
            if let Some(shared) = patch.shared_with {
                after.shared_with = shared;
            }
            Ok(after)
        })
        .await
    }

    /// Enters a new value; requests that start from then on use it.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::Stale`].
    pub async fn enter_secret(
        self: &Arc<Self>,
        actor: &Actor,
        at: (&Owner, &Id),
        expected: u64,
        value: SecretText,
    ) -> Result<Secret, ControlError> {
        let sealer = self.sealer();
        let entered = self.edit_secret(actor, at, ("secret.rotate", expected), move |before| {
            // No two values of a record share a version, even if one was cleared in between.
            let version = u32::try_from(before.revision).unwrap_or(u32::MAX).saturating_add(1);
            let value = sealer.seal(place_of_secret(before, version), &value)?;
            Ok(Secret { value: Some(value), ..before.clone() })
        });
        let entered = entered.await?;
        self.renew_credential(&entered.id);
        Ok(entered)
    }

    /// Deletes a secret whose revision is `expected`. One that a served or open version needs stays, unless an owner
    /// forces it.
    ///
    /// # Errors
    /// The permission's; [`ControlError::Stale`]; [`ControlError::InUse`].
    pub async fn delete_secret(
        self: &Arc<Self>,
        actor: &Actor,
        (owner, id): (&Owner, &Id),
        expected: u64,
        force: Force,
    ) -> Result<(), ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, of, id) = (actor.clone(), owner.clone(), id.clone());
        self.change_secrets(owner, move |tx| {
            let organization = owner::permitted(tx, &actor, WRITE, &of)?;
            let before = own_secret(tx, &of, &id)?;
            gate::expect_revision(before.revision, expected)?;
            force.check(&actor, &organization, &Versions::read(tx, &of)?.users_of_secret(&before))?;
            tx.delete_secret(&id, expected)?;
            note(tx, &actor, "secret.delete", organization, (Some(&before), None))
        })
        .await
    }

    async fn edit_secret(
        self: &Arc<Self>,
        actor: &Actor,
        (owner, id): (&Owner, &Id),
        (action, expected): (&'static str, u64),
        edit: impl FnOnce(&Secret) -> Result<Secret, ControlError> + Send + 'static,
    ) -> Result<Secret, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, of, id) = (actor.clone(), owner.clone(), id.clone());
        self.change_secrets(owner, move |tx| {
            let organization = owner::writable(tx, &actor, &of)?;
            let before = own_secret(tx, &of, &id)?;
            gate::expect_revision(before.revision, expected)?;
            let after = edit(&before)?;
            if after == before {
                return Ok(before);
            }
            check_shared(tx, &organization, &after)?;
            tx.update_secret(&after)?;
            note(tx, &actor, action, organization, (Some(&before), Some(&after)))?;
            own_secret(tx, &of, &id)
        })
        .await
    }
}

/// Whether an object that is in use may be deleted all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Not while something needs it.
    No,
    /// It may, by an owner.
    ByOwner,
}

impl Force {
    /// Refuses unless nothing needs the object, or an owner insists.
    pub(super) fn check(self, actor: &Actor, organization: &Id, users: &[String]) -> Result<(), ControlError> {
        if users.is_empty() {
            return Ok(());
        }
        let is_owner = actor.membership(organization).is_some_and(|own| own.role == OrganizationRole::Owner);
        if self == Self::ByOwner && is_owner {
            return Ok(());
        }
        let list = users.join(", ");
        Err(ControlError::InUse(format!(
            "needed by {list}; change those first, or let an owner delete it all the same with `force=true`"
        )))
    }
}

fn own_secret(tx: &dyn Tx, owner: &Owner, id: &Id) -> Result<Secret, ControlError> {
    tx.secret(id)?.filter(|found| found.owner == *owner).ok_or(ControlError::NotFound)
}

fn check_new(new: &NewSecret) -> Result<(), ControlError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if new.name.is_empty() || new.name.len() > NAME_CHARS_MAX || !new.name.bytes().all(allowed) {
        let message = format!("1 to {NAME_CHARS_MAX} characters of `A-Z a-z 0-9 _ . -`");
        return Err(ControlError::field("name", message));
    }
    Ok(())
}

/// Brings origins into the one form in which they are compared, sorted.
fn checked_origins(texts: &[String]) -> Result<Vec<String>, ControlError> {
    if texts.is_empty() || texts.len() > ORIGINS_MAX {
        let message = format!("name 1 to {ORIGINS_MAX} origins, such as `https://api.openai.com`");
        return Err(ControlError::field("bound_origins", message));
    }
    let (mut origins, mut problems) = (Vec::new(), Vec::new());
    for (index, text) in texts.iter().enumerate() {
        match text.parse::<BoundOrigin>() {
            // The one spelling, so that another spelling of the same place clears no value.
            Ok(origin) => origins.push(origin.to_string()),
            Err(error) => problems.push(FieldProblem::new(format!("bound_origins.{index}"), error.to_string())),
        }
    }
    if !problems.is_empty() {
        return Err(ControlError::Invalid(problems));
    }
    origins.sort();
    origins.dedup();
    Ok(origins)
}

fn check_shared(tx: &dyn Tx, organization: &Id, row: &Secret) -> Result<(), ControlError> {
    let Some(shared) = &row.shared_with else {
        return Ok(());
    };
    if matches!(row.owner, Owner::Project(_)) {
        return Err(ControlError::field("shared_with", "only a secret of an organization can be shared"));
    }
    if shared.len() > SHARED_MAX {
        return Err(ControlError::field("shared_with", format!("at most {SHARED_MAX} projects")));
    }
    for (index, id) in shared.iter().enumerate() {
        if tx.project(id)?.is_none_or(|project| project.organization != *organization) {
            return Err(ControlError::field(format!("shared_with.{index}"), "no such project in this organization"));
        }
    }
    Ok(())
}

fn note(
    tx: &mut dyn Tx,
    actor: &Actor,
    action: &str,
    organization: Id,
    (before, after): (Option<&Secret>, Option<&Secret>),
) -> Result<(), ControlError> {
    let Some(row) = after.or(before) else {
        return Ok(());
    };
    let mut event = owner::event(actor, action, &row.id, (&row.owner, organization));
    event.before = before.map(shown).unwrap_or_default();
    event.after = after.map(shown).unwrap_or_default();
    tx.append_audit(&event)?;
    Ok(())
}

/// The secret as the audit log keeps it: the value as its fingerprint.
fn shown(row: &Secret) -> String {
    serde_json::json!({
        "name": row.name,
        "bound_origins": row.bound_origins,
        "shared_with": row.shared_with.as_ref().map(|ids| ids.iter().map(Id::as_str).collect::<Vec<_>>()),
        "fingerprint": row.value.as_ref().map(|sealed| sealed.fingerprint.as_str()),
        "entered_at": row.value.as_ref().map(|sealed| UnixTime::rfc3339(sealed.entered_at)),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_checked_all_at_once() {
        let texts = ["https://api.openai.com", "ftp://x", "https://a/path"].map(str::to_owned);
        let Err(ControlError::Invalid(problems)) = checked_origins(&texts) else {
            panic!("accepted");
        };
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["bound_origins.1", "bound_origins.2"]);
        assert!(checked_origins(&[]).is_err());
        let twice = ["https://b.example", "https://a.example", "https://B.example:443"].map(str::to_owned);
        assert_eq!(checked_origins(&twice).unwrap(), ["https://a.example", "https://b.example"]);
    }
}

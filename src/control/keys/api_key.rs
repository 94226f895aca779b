//! API keys of a project: shown once, stored as a keyed digest.

use std::time::Duration;

use super::super::{
    actor::Actor,
    error::ControlError,
    instance::Control,
    permit::{Capability, Extent},
    vault::last4,
};
use super::field::{changeable_project, checked_description, permitted_project};
use crate::{
    base::{Id, IdKind, KeyKind, Secret, UnixTime, generate_key, key_id, unix_time},
    store::{ApiKey, KeyFilter, KeyStatus, Page, PageRequest, Project, Tx},
};

/// Longest time that a rolled key's old text goes on working.
const OVERLAP_MAX: Duration = Duration::from_secs(604_800);
/// Longest name of a group, in characters.
const GROUP_CHARS_MAX: usize = 64;
/// The environment whose keys are `mr_live_`.
const PRODUCTION: &str = "production";

/// What a new key is to be.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What it is for.
    pub description: String,
    /// From when on it may not be used.
    pub expires_at: Option<UnixTime>,
    /// Name of the group it is reported under.
    pub group: Option<String>,
}

/// What is to change; absent fields stay, `Some(None)` clears.
#[derive(Debug, Clone, Default)]
pub struct KeyPatch {
    /// What it is for.
    pub description: Option<String>,
    /// From when on it may not be used.
    pub expires_at: Option<Option<UnixTime>>,
    /// Name of the group.
    pub group: Option<Option<String>>,
    /// Active or disabled.
    pub status: Option<KeyStatus>,
}

impl Control {
    /// Makes a key; returns it with its text, which is shown once.
    ///
    /// # Errors
    /// As `permit`; field problems; [`ControlError::LimitReached`].
    pub async fn create_key(&self, actor: &Actor, project: Id, new: NewKey) -> Result<(ApiKey, Secret), ControlError> {
        let [live, test] = [KeyKind::Live, KeyKind::Test].map(generate_key);
        let (live, test) = (live?, test?);
        let pepper = self.pepper().clone();
        let actor = actor.clone();
        let publication = self.publication().await;
        let made = self.store().write(move |tx| {
            let (found, _) = changeable_project(tx, &actor, Capability::KeysWrite, &project)?;
            check_counts(tx, &actor, &found)?;
            let text = if found.environment == PRODUCTION { live } else { test };
            let now = unix_time();
            let key = ApiKey {
                id: Id::random(IdKind::Key)?,
                project: project.clone(),
                public_id: key_id(text.reveal()).unwrap_or_default().to_owned(),
                last4: last4(text.reveal()),
                digest: pepper.digest(text.reveal()),
                old_digest: None,
                old_expires_at: None,
                description: checked_description("description", &new.description)?,
                status: KeyStatus::Active,
                expires_at: checked_expiry(new.expires_at, now)?,
                group: checked_group(new.group)?,
                created_by: actor.author.clone(),
                created_at: now,
                last_used_at: None,
                revision: 1,
            };
            tx.insert_key(&key)?;
            note(tx, &actor, ("key.create", ""), &found, (None, Some(&key)))?;
            Ok::<_, ControlError>((key, text))
        });
        let (key, text) = made.await?;
        self.publish_keys_locked(publication, vec![key.clone()]).await?;
        Ok((key, text))
    }

    /// Keys of a project; a developer sees the own ones.
    ///
    /// # Errors
    /// As `permit`.
    pub async fn keys(
        &self,
        actor: &Actor,
        project: Id,
        filter: KeyFilter,
        page: PageRequest,
    ) -> Result<Page<ApiKey>, ControlError> {
        let actor = actor.clone();
        self.store()
            .read(move |tx| {
                let (_, extent) = permitted_project(tx, &actor, Capability::KeysRead, &project)?;
                let mut filter = filter;
                if extent == Extent::Own {
                    filter.created_by = Some(actor.author.clone());
                }
                Ok(tx.keys(&project, &filter, &page)?)
            })
            .await
    }

    /// One key.
    ///
    /// # Errors
    /// As `permit`; [`ControlError::NotFound`].
    pub async fn key(&self, actor: &Actor, project: Id, key: Id) -> Result<ApiKey, ControlError> {
        let actor = actor.clone();
        self.store()
            .read(move |tx| {
                let (_, extent) = permitted_project(tx, &actor, Capability::KeysRead, &project)?;
                own_key(tx, &actor, extent, &project, &key)
            })
            .await
    }

    /// Changes a key whose revision is `expected`.
    ///
    /// # Errors
    /// As `permit`; field problems; [`ControlError::Stale`].
    pub async fn change_key(
        &self,
        actor: &Actor,
        (project, key): (Id, Id),
        expected: Option<u64>,
        patch: KeyPatch,
    ) -> Result<ApiKey, ControlError> {
        self.edit_key(actor, (project, key), expected, ("key.update", String::new()), move |tx, before, _| {
            let now = unix_time();
            let mut after = before.clone();
            if let Some(text) = patch.description {
                after.description = checked_description("description", &text)?;
            }
            if let Some(expires_at) = patch.expires_at {
                after.expires_at = checked_expiry(expires_at, now)?;
            }
            if let Some(group) = patch.group {
                after.group = checked_group(group)?;
            }
            if let Some(status) = patch.status {
                after.status = status;
            }
            check_enabling(tx, before, &after, now)?;
            Ok(after)
        })
        .await
    }

    /// Enables or disables a key.
    ///
    /// # Errors
    /// As `permit`; [`ControlError::IllegalTransition`] when it is so already.
    pub async fn switch_key(
        &self,
        actor: &Actor,
        at: (Id, Id),
        status: KeyStatus,
        comment: String,
    ) -> Result<ApiKey, ControlError> {
        let action = if status == KeyStatus::Active { "key.enable" } else { "key.disable" };
        self.edit_key(actor, at, None, (action, comment), move |tx, before, _| {
            if before.status == status {
                return Err(ControlError::IllegalTransition(format!("the key is {} already", status.as_str())));
            }
            let after = ApiKey { status, ..before.clone() };
            check_enabling(tx, before, &after, unix_time())?;
            Ok(after)
        })
        .await
    }

    /// Gives a key a new text; the old one works for `overlap` more. Zero ends an overlap that is running.
    ///
    /// # Errors
    /// As `permit`; [`ControlError::IllegalTransition`] while an overlap is running and `overlap` is not zero.
    pub async fn roll_key(&self, actor: &Actor, at: (Id, Id), overlap: Duration) -> Result<(ApiKey, Secret), ControlError> {
        if overlap > OVERLAP_MAX {
            return Err(ControlError::field("overlap_seconds", format!("0 to {}", OVERLAP_MAX.as_secs())));
        }
        let [live, test] = [KeyKind::Live, KeyKind::Test].map(generate_key);
        let (live, test) = (live?, test?);
        let pepper = self.pepper().clone();
        let shown = (live.clone(), test.clone());
        let rolled = self.edit_key(actor, at, None, ("key.roll", String::new()), move |_, before, project| {
            let now = unix_time();
            let still_overlaps = before.old_expires_at.is_some_and(|end| now < end);
            if still_overlaps && !overlap.is_zero() {
                let message = "the last roll still overlaps; end it with `overlap_seconds: 0`, or wait until it has ended";
                return Err(ControlError::IllegalTransition(message.to_owned()));
            }
            let text = if project.environment == PRODUCTION { &live } else { &test };
            Ok(ApiKey {
                public_id: key_id(text.reveal()).unwrap_or_default().to_owned(),
                last4: last4(text.reveal()),
                digest: pepper.digest(text.reveal()),
                old_digest: (!overlap.is_zero()).then_some(before.digest),
                old_expires_at: (!overlap.is_zero()).then_some(UnixTime(now.0 + overlap)),
                ..before.clone()
            })
        });
        let rolled = rolled.await?;
        let is_live = key_id(shown.0.reveal()) == Some(rolled.public_id.as_str());
        Ok((rolled, if is_live { shown.0 } else { shown.1 }))
    }

    /// Deletes a key whose revision is `expected`.
    ///
    /// # Errors
    /// As `permit`; [`ControlError::Stale`].
    pub async fn delete_key(&self, actor: &Actor, (project, key): (Id, Id), expected: u64) -> Result<(), ControlError> {
        let actor = actor.clone();
        let publication = self.publication().await;
        let gone = self.store().write(move |tx| {
            // Also in an archived project: getting rid of a key is never wrong.
            let (found, extent) = permitted_project(tx, &actor, Capability::KeysWrite, &project)?;
            let before = own_key(tx, &actor, extent, &project, &key)?;
            if before.revision != expected {
                return Err(ControlError::Stale { current: before.revision });
            }
            tx.delete_key(&key, expected)?;
            note(tx, &actor, ("key.delete", ""), &found, (Some(&before), None))?;
            Ok(before)
        });
        let gone = gone.await?;
        self.unpublish_keys_locked(publication, vec![gone]).await
    }

    /// Reads, changes, writes and publishes one key.
    async fn edit_key(
        &self,
        actor: &Actor,
        (project, key): (Id, Id),
        expected: Option<u64>,
        (action, comment): (&'static str, String),
        edit: impl FnOnce(&dyn Tx, &ApiKey, &Project) -> Result<ApiKey, ControlError> + Send + 'static,
    ) -> Result<ApiKey, ControlError> {
        let actor = actor.clone();
        let publication = self.publication().await;
        let changed = self.store().write(move |tx| {
            let (found, extent) = changeable_project(tx, &actor, Capability::KeysWrite, &project)?;
            let before = own_key(tx, &actor, extent, &project, &key)?;
            if expected.is_some_and(|expected| expected != before.revision) {
                return Err(ControlError::Stale { current: before.revision });
            }
            let after = edit(tx, &before, &found)?;
            if after == before {
                return Ok((before.clone(), before));
            }
            tx.update_key(&after)?;
            note(tx, &actor, (action, &comment), &found, (Some(&before), Some(&after)))?;
            let after = tx.key(&key)?.ok_or(ControlError::NotFound)?;
            Ok((before, after))
        });
        let (before, after) = changed.await?;
        self.replace_key_locked(publication, before, after.clone()).await?;
        Ok(after)
    }
}

/// A key of this project that the actor may touch. One of another project or another developer does not exist.
fn own_key(tx: &dyn Tx, actor: &Actor, extent: Extent, project: &Id, key: &Id) -> Result<ApiKey, ControlError> {
    let found = tx.key(key)?.filter(|found| found.project == *project).ok_or(ControlError::NotFound)?;
    if extent == Extent::Own && found.created_by != actor.author {
        return Err(ControlError::NotFound);
    }
    Ok(found)
}

fn check_counts(tx: &dyn Tx, actor: &Actor, project: &Project) -> Result<(), ControlError> {
    let organization = tx.organization(&project.organization)?.ok_or(ControlError::NotFound)?;
    if let Some(limit) = organization.active_key_limit {
        let count = tx.active_key_count(&organization.id, None)?;
        if count >= u64::from(limit) {
            let message = format!("{count} of {limit} active keys in the organization; disable or delete one");
            return Err(ControlError::LimitReached(message));
        }
    }
    let member = tx.member(&organization.id, &actor.author)?;
    if let Some(limit) = member.and_then(|member| member.active_key_limit) {
        let count = tx.active_key_count(&organization.id, Some(&actor.author))?;
        if count >= u64::from(limit) {
            let message = format!("{count} of your {limit} active keys; disable or delete one");
            return Err(ControlError::LimitReached(message));
        }
    }
    Ok(())
}

/// An expired key is not brought back: whoever held it may have lost it.
fn check_enabling(tx: &dyn Tx, before: &ApiKey, after: &ApiKey, now: UnixTime) -> Result<(), ControlError> {
    if before.expires_at.is_some_and(|end| end <= now) && after.status == KeyStatus::Active && after != before {
        let is_only_text = after.expires_at == before.expires_at && after.status == before.status;
        if !is_only_text {
            return Err(ControlError::IllegalTransition("the key has expired; make a new one".to_owned()));
        }
    }
    if before.status == KeyStatus::Disabled && after.status == KeyStatus::Active {
        let project = tx.project(&before.project)?.ok_or(ControlError::NotFound)?;
        let organization = tx.organization(&project.organization)?.ok_or(ControlError::NotFound)?;
        if let Some(limit) = organization.active_key_limit
            && tx.active_key_count(&organization.id, None)? >= u64::from(limit)
        {
            let message = format!("{limit} of {limit} active keys in the organization; disable or delete one");
            return Err(ControlError::LimitReached(message));
        }
    }
    Ok(())
}

fn checked_expiry(at: Option<UnixTime>, now: UnixTime) -> Result<Option<UnixTime>, ControlError> {
    if at.is_some_and(|at| at <= now) {
        return Err(ControlError::field("expires_at", "must be in the future"));
    }
    Ok(at)
}

fn checked_group(group: Option<String>) -> Result<Option<String>, ControlError> {
    let Some(text) = group else {
        return Ok(None);
    };
    let text = text.trim();
    if text.is_empty() || text.chars().count() > GROUP_CHARS_MAX || text.chars().any(char::is_control) {
        let message = format!("1 to {GROUP_CHARS_MAX} characters without control characters, or null");
        return Err(ControlError::field("group", message));
    }
    Ok(Some(text.to_owned()))
}

fn note(
    tx: &mut dyn Tx,
    actor: &Actor,
    (action, comment): (&str, &str),
    project: &Project,
    (before, after): (Option<&ApiKey>, Option<&ApiKey>),
) -> Result<(), ControlError> {
    let object = after.or(before).map(|key| key.id.clone());
    let mut event = actor.event(action, object.as_ref().map_or("", Id::as_str));
    event.organization = Some(project.organization.clone());
    event.project = Some(project.id.clone());
    comment.clone_into(&mut event.comment);
    event.before = before.map(shown).unwrap_or_default();
    event.after = after.map(shown).unwrap_or_default();
    tx.append_audit(&event)?;
    Ok(())
}

/// The key as the audit log keeps it: no digest, no text.
fn shown(key: &ApiKey) -> String {
    serde_json::json!({
        "public_id": key.public_id,
        "description": key.description,
        "status": key.status,
        "expires_at": key.expires_at.map(UnixTime::rfc3339),
        "group": key.group,
        "old_secret_expires_at": key.old_expires_at.map(UnixTime::rfc3339),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_lies_in_the_future() {
        let at = |seconds| UnixTime(Duration::from_secs(seconds));
        assert!(checked_expiry(Some(at(10)), at(10)).is_err());
        assert_eq!(checked_expiry(Some(at(11)), at(10)).unwrap(), Some(at(11)));
        assert_eq!(checked_expiry(None, at(10)).unwrap(), None);
    }

    #[test]
    fn group_is_a_short_name() {
        assert_eq!(checked_group(Some(" batch ".to_owned())).unwrap().as_deref(), Some("batch"));
        for text in ["", " ", "a\tb", &"x".repeat(65)] {
            assert!(checked_group(Some(text.to_owned())).is_err(), "{text:?}");
        }
    }
}

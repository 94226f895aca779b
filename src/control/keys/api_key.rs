//! API keys of a project: shown once, stored as a keyed digest.

use std::sync::Arc;

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    grants::member_of,
    instance::Control,
    limits::{FieldDeed, FieldPatch, Reach, refuse_above_member, refuse_unpriced_key},
    permit::{Capability, Extent, Scope, permit},
    project_settings::{check_comment, checked_name},
    rules::{NewRule, RULES_MAX, add_rules, check_new},
    vault::{Pepper, last4},
};
use super::live::KeyChange;
use crate::{
    base::{Id, IdKind, KeyKind, Secret, UnixTime, generate_key, key_id, unix_time},
    store::{ApiKey, KeyFilter, KeyStatus, Page, PageRequest, PolicyPlace, Project, Tx},
};

/// Longest name of a group, in characters.
const GROUP_CHARS_MAX: usize = 64;
/// The environment whose keys are `mr_live_`.
const PRODUCTION: &str = "production";
/// What files own in file mode.
pub(super) const OWNED: &str = "API keys";

/// What a new key is to be.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What it is for.
    pub description: String,
    /// From when on it may not be used.
    pub expires_at: Option<UnixTime>,
    /// Name of the group it is reported under.
    pub group: Option<String>,
    /// Rules that bind it from its first moment on.
    pub rules: Vec<NewRule>,
    /// Limits that bind it from its first moment on.
    pub limits: FieldPatch,
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
    /// Its limits.
    pub limits: FieldPatch,
}

/// A change of one key, as the audit log tells it.
pub(super) struct Deed {
    /// Such as `key.update`.
    pub(super) action: &'static str,
    /// What the actor says about it.
    pub(super) comment: String,
    /// The revision that the actor has seen; none for what is done whatever it is.
    pub(super) expected: Option<u64>,
    /// What changes of its limits.
    pub(super) limits: FieldPatch,
}

impl Deed {
    /// One without a comment.
    pub(super) fn silent(action: &'static str, expected: Option<u64>) -> Self {
        Self { action, comment: String::new(), expected, limits: FieldPatch::default() }
    }
}

impl Control {
    /// Makes a key; returns it with its text, which is shown once.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::LimitReached`].
    pub async fn create_key(
        self: &Arc<Self>,
        actor: &Actor,
        project: &Id,
        new: NewKey,
    ) -> Result<(ApiKey, Secret), ControlError> {
        self.refuse_if_files_own(OWNED)?;
        // Which of the two is needed is known only inside the transaction.
        let [live, test] = [KeyKind::Live, KeyKind::Test].map(generate_key);
        let (live, test) = (live?, test?);
        let (actor, project, pepper) = (actor.clone(), project.clone(), self.pepper().clone());
        let control = Arc::clone(self);
        self.change_keys(move |tx| {
            let (found, extent) = gate::active_project_for(tx, &actor, Capability::KeysWrite, &project)?;
            check_rules(&actor, &found, &new.rules)?;
            check_counts(tx, &found.organization, &actor.author)?;
            let text = if found.environment == PRODUCTION { live } else { test };
            let now = unix_time();
            let mut key = ApiKey {
                id: Id::random(IdKind::Key)?,
                project,
                public_id: key_id(text.reveal()).unwrap_or_default().to_owned(),
                last4: String::new(),
                digest: [0; 32],
                old_digest: None,
                old_expires_at: None,
                description: checked_name("description", &new.description)?,
                status: KeyStatus::Active,
                expires_at: checked_expiry(new.expires_at, now)?,
                group: checked_group(new.group)?,
                created_by: actor.author.clone(),
                created_at: now,
                last_used_at: None,
                revision: 1,
            };
            put_text(&mut key, &text, &pepper);
            tx.insert_key(&key)?;
            // As stored: times have milliseconds there.
            let key = tx.key(&key.id)?.ok_or(ControlError::NotFound)?;
            let deed = Deed::silent("key.create", None);
            note(tx, &actor, deed, &found, (None, Some(&key)))?;
            let snapshot = control.served();
            let limited = FieldDeed::at_project(&actor, &found, reach_of(extent), &snapshot);
            put_limits(tx, &limited, &key, &new.limits)?;
            let mut change = KeyChange::new(control.meters());
            if !new.rules.is_empty() {
                add_rules(tx, (&actor, &found), &key.id, &new.rules)?;
                change.with_rules_of(tx, &key.id)?;
            }
            change.replace(tx, None, Some(&key))?;
            if change.limits_money() {
                refuse_unpriced_key(&snapshot, &found.id)?;
            }
            Ok((change, (key, text)))
        })
        .await
    }

    /// Keys of a project; a developer sees the own ones.
    ///
    /// # Errors
    /// The permission's, or the store's.
    pub async fn keys(
        &self,
        actor: &Actor,
        project: &Id,
        mut filter: KeyFilter,
        page: PageRequest,
    ) -> Result<Page<ApiKey>, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, project) = (actor.clone(), project.clone());
        self.store()
            .read(move |tx| {
                let (_, extent) = gate::project_for(tx, &actor, Capability::KeysRead, &project)?;
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
    /// The permission's; [`ControlError::NotFound`].
    pub async fn key(&self, actor: &Actor, project: &Id, key: &Id) -> Result<ApiKey, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, project, key) = (actor.clone(), project.clone(), key.clone());
        self.store()
            .read(move |tx| {
                let (_, extent) = gate::project_for(tx, &actor, Capability::KeysRead, &project)?;
                own_key(tx, (&actor, extent), &project, &key)
            })
            .await
    }

    /// Changes a key whose revision is `expected`.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::Stale`]; [`ControlError::IllegalTransition`] for an expired key.
    pub async fn change_key(
        self: &Arc<Self>,
        actor: &Actor,
        at: (&Id, &Id),
        expected: u64,
        patch: KeyPatch,
    ) -> Result<ApiKey, ControlError> {
        let deed = Deed { limits: patch.limits.clone(), ..Deed::silent("key.update", Some(expected)) };
        self.edit_key(actor, at, deed, move |tx, before| {
            let mut after = before.clone();
            if let Some(text) = patch.description {
                after.description = checked_name("description", &text)?;
            }
            if let Some(expires_at) = patch.expires_at.filter(|expires_at| *expires_at != before.expires_at) {
                after.expires_at = checked_expiry(expires_at, unix_time())?;
            }
            if let Some(group) = patch.group {
                after.group = checked_group(group)?;
            }
            after.status = patch.status.unwrap_or(after.status);
            check_revival(tx, before, &after)?;
            Ok(after)
        })
        .await
    }

    /// Enables or disables a key.
    ///
    /// # Errors
    /// The permission's; [`ControlError::IllegalTransition`] when it is so already, or expired.
    pub async fn switch_key(
        self: &Arc<Self>,
        actor: &Actor,
        at: (&Id, &Id),
        status: KeyStatus,
        comment: String,
    ) -> Result<ApiKey, ControlError> {
        check_comment(&comment)?;
        let action = if status == KeyStatus::Active { "key.enable" } else { "key.disable" };
        self.edit_key(actor, at, Deed { comment, ..Deed::silent(action, None) }, move |tx, before| {
            if before.status == status {
                return Err(ControlError::IllegalTransition(format!("the key is {} already", status.as_str())));
            }
            let after = ApiKey { status, ..before.clone() };
            check_revival(tx, before, &after)?;
            Ok(after)
        })
        .await
    }

    /// Deletes a key whose revision is `expected`.
    ///
    /// # Errors
    /// The permission's; [`ControlError::Stale`].
    pub async fn delete_key(
        self: &Arc<Self>,
        actor: &Actor,
        (project, key): (&Id, &Id),
        expected: u64,
    ) -> Result<(), ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, project, key) = (actor.clone(), project.clone(), key.clone());
        let meters = self.meters();
        self.change_keys(move |tx| {
            // Also in an archived project: getting rid of a key is never wrong.
            let (found, extent) = gate::project_for(tx, &actor, Capability::KeysWrite, &project)?;
            let before = own_key(tx, (&actor, extent), &project, &key)?;
            gate::expect_revision(before.revision, expected)?;
            tx.delete_key(&key, expected)?;
            let deed = Deed::silent("key.delete", Some(expected));
            note(tx, &actor, deed, &found, (Some(&before), None))?;
            let mut change = KeyChange::new(meters);
            change.replace(tx, Some(&before), None)?;
            Ok((change, ()))
        })
        .await
    }

    /// Reads, changes, writes and publishes one key.
    pub(super) async fn edit_key(
        self: &Arc<Self>,
        actor: &Actor,
        (project, key): (&Id, &Id),
        deed: Deed,
        edit: impl FnOnce(&dyn Tx, &ApiKey) -> Result<ApiKey, ControlError> + Send + 'static,
    ) -> Result<ApiKey, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, project, key) = (actor.clone(), project.clone(), key.clone());
        let control = Arc::clone(self);
        self.change_keys(move |tx| {
            let (found, extent) = gate::active_project_for(tx, &actor, Capability::KeysWrite, &project)?;
            let stored = own_key(tx, (&actor, extent), &project, &key)?;
            if let Some(expected) = deed.expected {
                gate::expect_revision(stored.revision, expected)?;
            }
            let after = edit(tx, &without_ended_overlap(&stored, unix_time()))?;
            let snapshot = control.served();
            let limited = FieldDeed::at_project(&actor, &found, reach_of(extent), &snapshot);
            let is_limited_anew = put_limits(tx, &limited, &stored, &deed.limits)?;
            let mut change = KeyChange::new(control.meters());
            if after == stored && !is_limited_anew {
                return Ok((change, stored));
            }
            tx.update_key(&after)?;
            note(tx, &actor, deed, &found, (Some(&stored), Some(&after)))?;
            let after = tx.key(&key)?.ok_or(ControlError::NotFound)?;
            change.replace(tx, Some(&stored), Some(&after))?;
            Ok((change, after))
        })
        .await
    }
}

/// Gives a key its text, of which it keeps nothing that opens anything.
pub(super) fn put_text(key: &mut ApiKey, text: &Secret, pepper: &Pepper) {
    key.last4 = last4(text.reveal());
    key.digest = pepper.digest(text.reveal());
}

/// Forgets the text before the last roll when it does not work any more; done at the next change of the key.
fn without_ended_overlap(key: &ApiKey, now: UnixTime) -> ApiKey {
    let has_ended = key.old_expires_at.is_some_and(|end| end <= now);
    let (old_digest, old_expires_at) = if has_ended { (None, None) } else { (key.old_digest, key.old_expires_at) };
    ApiKey { old_digest, old_expires_at, ..key.clone() }
}

/// A key of this project that the actor may touch. One of another project or another developer does not exist.
fn own_key(tx: &dyn Tx, (actor, extent): (&Actor, Extent), project: &Id, key: &Id) -> Result<ApiKey, ControlError> {
    let found = tx.key(key)?.filter(|found| found.project == *project).ok_or(ControlError::NotFound)?;
    if extent == Extent::Own && found.created_by != actor.author {
        return Err(ControlError::NotFound);
    }
    Ok(found)
}

/// Who may make own keys only may tighten them, so that nobody lifts the limits that others set.
fn reach_of(extent: Extent) -> Reach {
    if extent == Extent::All { Reach::Any } else { Reach::DownOnly }
}

/// Writes the limits of a key; false when nothing changed.
fn put_limits(tx: &mut dyn Tx, deed: &FieldDeed<'_>, key: &ApiKey, patch: &FieldPatch) -> Result<bool, ControlError> {
    if patch.is_empty() {
        return Ok(false);
    }
    if let Some(user) = member_of(key) {
        let member = PolicyPlace::Member { organization: deed.organization.clone(), user };
        refuse_above_member(tx, &member, patch)?;
    }
    deed.write(tx, &PolicyPlace::Key(key.id.clone()), patch)
}

/// Refuses one more active key above the limits of the organization and of its maker.
fn check_counts(tx: &dyn Tx, organization: &Id, maker: &Id) -> Result<(), ControlError> {
    let of_organization = tx.organization(organization)?.and_then(|row| row.active_key_limit);
    let of_maker = tx.member(organization, maker)?.and_then(|member| member.active_key_limit);
    for (limit, whose, creator) in
        [(of_organization, "of the organization", None), (of_maker, "of the member who made it", Some(maker))]
    {
        let Some(limit) = limit else {
            continue;
        };
        let count = tx.active_key_count(organization, creator)?;
        if count >= u64::from(limit) {
            let message = format!("{count} of {limit} active keys {whose}; disable or delete one");
            return Err(ControlError::LimitReached(message));
        }
    }
    Ok(())
}

/// Only who may write rules makes a key that has some.
fn check_rules(actor: &Actor, project: &Project, rules: &[NewRule]) -> Result<(), ControlError> {
    if rules.is_empty() {
        return Ok(());
    }
    permit(actor, Capability::RulesWrite, Scope::Project(&project.organization, &project.id))?;
    if rules.len() > RULES_MAX {
        return Err(ControlError::field("rules", format!("at most {RULES_MAX} rules")));
    }
    rules.iter().enumerate().try_for_each(|(index, rule)| check_new(&format!("rules.{index}."), rule))
}

/// An expired key is not brought back, because whoever held it may have lost it; one that is enabled counts again.
fn check_revival(tx: &dyn Tx, before: &ApiKey, after: &ApiKey) -> Result<(), ControlError> {
    let is_enabled = before.status == KeyStatus::Disabled && after.status == KeyStatus::Active;
    let has_expired = before.expires_at.is_some_and(|end| end <= unix_time());
    if has_expired && (is_enabled || before.expires_at != after.expires_at) {
        return Err(ControlError::IllegalTransition("the key has expired; make a new one".to_owned()));
    }
    if is_enabled {
        let project = tx.project(&before.project)?.ok_or(ControlError::NotFound)?;
        check_counts(tx, &project.organization, &before.created_by)?;
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
        let message = format!("must have 1 to {GROUP_CHARS_MAX} characters, none of them control, or be null");
        return Err(ControlError::field("group", message));
    }
    Ok(Some(text.to_owned()))
}

fn note(
    tx: &mut dyn Tx,
    actor: &Actor,
    deed: Deed,
    project: &Project,
    (before, after): (Option<&ApiKey>, Option<&ApiKey>),
) -> Result<(), ControlError> {
    let object = after.or(before).map_or("", |key| key.id.as_str());
    let mut event = gate::event(actor, deed.action, object, project);
    event.comment = deed.comment;
    event.before = before.map(shown).unwrap_or_default();
    event.after = after.map(shown).unwrap_or_default();
    tx.append_audit(&event)?;
    Ok(())
}

/// The key as the audit log keeps it: no digest, no text.
fn shown(key: &ApiKey) -> String {
    serde_json::json!({
        "public_id": key.public_id,
        "last4": key.last4,
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
    use std::time::Duration;

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

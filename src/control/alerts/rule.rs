//! Rules: created, changed, tried, deleted.

use super::super::{
    actor::Actor,
    error::{ControlError, FieldProblem},
    gate::expect_revision,
    instance::Control,
};
use super::{
    check::{self, Channels},
    condition::{complete, fits, unsupported},
    notice::{self, Told},
    site::{
        self, ShownAlert, WRITE, audited, event, found, origin_of, owner_of, place_of_webhook, shown, webhook_of,
        writable,
    },
    step::Said,
};
use crate::{
    base::{Id, IdKind, Secret, unix_time},
    store::{Alert, AlertCondition, AlertEvent, AlertScope, AlertState, ChannelKind, Owner, Tx},
};

/// Rules of one organization and its projects at most.
const RULES_MAX: u64 = 200;
/// The one message of a test.
const TEST: &str = "this is a test of the channels of a rule; nothing has happened";

/// A channel as it was sent.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its kind.
    pub kind: ChannelKind,
    /// The address of a webhook.
    pub url: Option<String>,
    /// The key of its signature; none keeps the one that is there, if the place stays the same.
    pub secret: Option<Secret>,
    /// Addresses of an e-mail.
    pub to: Vec<String>,
}

/// A rule to be made.
#[derive(Debug, Clone)]
pub struct NewAlert {
    /// 1 to 255 characters.
    pub name: String,
    /// Up to 2,000 characters.
    pub description: String,
    /// Whether it is looked at.
    pub enabled: bool,
    /// What it looks at; none is all of its owner.
    pub scope: Option<AlertScope>,
    /// Name of the route or id of the key.
    pub target: Option<String>,
    /// What it notices.
    pub event: AlertEvent,
    /// From when on.
    pub condition: AlertCondition,
    /// Where its notices go.
    pub channels: Vec<Channel>,
}

/// What is to change; none stays.
#[derive(Debug, Clone, Default)]
pub struct AlertPatch {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// Whether it is looked at.
    pub enabled: Option<bool>,
    /// Why it is not.
    pub disabled_reason: Option<String>,
    /// A condition in the place of the one before.
    pub condition: Option<AlertCondition>,
    /// Channels in the place of those before.
    pub channels: Option<Vec<Channel>>,
}

impl Control {
    /// Makes a rule. What has happened before does not count.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::LimitReached`], [`ControlError::FileOwned`].
    pub async fn create_alert(&self, actor: &Actor, owner: &Owner, new: NewAlert) -> Result<ShownAlert, ControlError> {
        // Before anything is said about fields: whoever may not write learns nothing.
        let (who, whose) = (actor.clone(), owner.clone());
        let organization = self.store().read(move |tx| writable(tx, &who, &whose)).await?;
        self.refuse_in_file_mode()?;
        let mut problems = Vec::new();
        let checked = self.channels(new.channels, &mut problems);
        let now = unix_time();
        let alert = Alert {
            id: Id::random(IdKind::Alert)?,
            organization,
            project: match owner {
                Owner::Project(project) => Some(project.clone()),
                Owner::Organization(_) | Owner::Instance => None,
            },
            scope: new.scope.unwrap_or(match owner {
                Owner::Project(_) => AlertScope::Project,
                Owner::Organization(_) | Owner::Instance => AlertScope::Organization,
            }),
            target: new.target,
            name: new.name.trim().to_owned(),
            description: new.description,
            enabled: new.enabled,
            disabled_reason: String::new(),
            event: new.event,
            condition: complete(new.event, new.condition, &mut problems),
            channels: checked.channels.clone(),
            sealed_secret: None,
            created_by: actor.author.clone(),
            created_at: now,
            changed_at: now,
            revision: 1,
        };
        check::texts(&alert.name, &alert.description, &mut problems);
        check::target(owner, alert.scope, alert.target.as_deref(), &mut problems);
        check_event(&alert, &mut problems);
        let alert = self.sealed(alert, None, &checked, problems)?;
        let (actor, owner, snapshot) = (actor.clone(), owner.clone(), self.served());
        let written = self.store().write(move |tx| {
            writable(tx, &actor, &owner)?;
            if tx.alert_count(&alert.organization)? >= RULES_MAX {
                return Err(ControlError::LimitReached(format!("{RULES_MAX} of {RULES_MAX} alert rules; delete one")));
            }
            refuse_unknown_key(tx, &alert)?;
            tx.insert_alert(&alert)?;
            let mut made = event(&actor, "alert.create", &alert);
            made.after = audited(&alert);
            tx.append_audit(&made)?;
            shown(tx, &snapshot, alert)
        });
        let made = written.await?;
        self.alerting().rules_changed();
        Ok(made)
    }

    /// Changes a rule. It begins anew: what fired of it is forgotten.
    ///
    /// # Errors
    /// As [`Self::create_alert`]; [`ControlError::NotFound`], [`ControlError::Stale`].
    pub async fn change_alert(
        &self,
        actor: &Actor,
        id: &Id,
        revision: u64,
        patch: AlertPatch,
    ) -> Result<ShownAlert, ControlError> {
        let (who, which) = (actor.clone(), id.clone());
        let before = self.store().read(move |tx| found(tx, &who, WRITE, &which)).await?;
        expect_revision(before.revision, revision)?;
        let mut problems = Vec::new();
        let mut alert = before.clone();
        if let Some(name) = patch.name {
            alert.name = name.trim().to_owned();
        }
        if let Some(description) = patch.description {
            alert.description = description;
        }
        alert.enabled = patch.enabled.unwrap_or(alert.enabled);
        alert.disabled_reason = match alert.enabled {
            true => String::new(),
            false => patch.disabled_reason.unwrap_or(alert.disabled_reason),
        };
        if let Some(condition) = patch.condition {
            alert.condition = complete(alert.event, condition, &mut problems);
        }
        check::texts(&alert.name, &alert.description, &mut problems);
        check::texts("rule", &alert.disabled_reason, &mut problems);
        alert.changed_at = unix_time();
        let alert = match patch.channels {
            Some(channels) => {
                let checked = self.channels(channels, &mut problems);
                alert.channels.clone_from(&checked.channels);
                self.sealed(alert, Some(&before), &checked, problems)?
            }
            None if problems.is_empty() => alert,
            None => return Err(ControlError::Invalid(problems)),
        };
        let (actor, snapshot) = (actor.clone(), self.served());
        let written = self.store().write(move |tx| {
            writable(tx, &actor, &owner_of(&alert))?;
            let stored = found(tx, &actor, WRITE, &alert.id)?;
            expect_revision(stored.revision, revision)?;
            tx.update_alert(&alert)?;
            let mut changed = event(&actor, "alert.change", &alert);
            (changed.before, changed.after) = (audited(&stored), audited(&alert));
            tx.append_audit(&changed)?;
            let alert = tx.alert(&alert.id)?.ok_or(ControlError::NotFound)?;
            shown(tx, &snapshot, alert)
        });
        let changed = written.await?;
        self.alerting().rules_changed();
        Ok(changed)
    }

    /// Deletes a rule with all that it noticed.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`], [`ControlError::Stale`].
    pub async fn delete_alert(&self, actor: &Actor, id: &Id, revision: u64) -> Result<(), ControlError> {
        let (actor, id) = (actor.clone(), id.clone());
        let written = self.store().write(move |tx| {
            let stored = found(tx, &actor, WRITE, &id)?;
            expect_revision(stored.revision, revision)?;
            tx.delete_alert(&id, revision)?;
            let mut deleted = event(&actor, "alert.delete", &stored);
            deleted.before = audited(&stored);
            tx.append_audit(&deleted)?;
            Ok::<_, ControlError>(())
        });
        written.await?;
        self.alerting().rules_changed();
        Ok(())
    }

    /// Sends one fixed message through the channels of a rule.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`]; the store's.
    pub async fn test_alert(&self, actor: &Actor, id: &Id) -> Result<(), ControlError> {
        let (actor, id) = (actor.clone(), id.clone());
        let written = self.store().write(move |tx| {
            let alert = found(tx, &actor, WRITE, &id)?;
            site::writable(tx, &actor, &owner_of(&alert))?;
            let said = Said { state: AlertState::Test, value: String::new(), detail: TEST.to_owned() };
            notice::put(tx, &alert, &Told { subject: "", said: &said, at: unix_time() })?;
            tx.append_audit(&event(&actor, "alert.test", &alert))?;
            Ok::<_, ControlError>(())
        });
        written.await?;
        self.alerting().ring();
        Ok(())
    }

    /// Seals the secret of a webhook, or keeps the one of before.
    fn sealed(
        &self,
        mut alert: Alert,
        before: Option<&Alert>,
        checked: &Channels,
        mut problems: Vec<FieldProblem>,
    ) -> Result<Alert, ControlError> {
        let origin = origin_of(&alert);
        let is_same_place = before.is_some_and(|before| origin_of(before) == origin);
        alert.sealed_secret = match (webhook_of(&alert), &checked.secret) {
            (None, _) => None,
            (Some(_), Some(secret)) if problems.is_empty() => {
                let sealed = self.vault().seal(place_of_webhook(&alert, &origin), secret.reveal().as_bytes());
                Some(sealed.map_err(|error| ControlError::Internal(error.to_string()))?)
            }
            (Some(_), Some(_)) => None,
            (Some(_), None) => before.filter(|_| is_same_place).and_then(|before| before.sealed_secret.clone()),
        };
        let is_refused = problems.iter().any(|problem| problem.path.ends_with("secret"));
        if webhook_of(&alert).is_some() && alert.sealed_secret.is_none() && checked.secret.is_none() && !is_refused {
            let said = "a webhook needs a secret, which signs what is sent; enter it again for another address";
            problems.push(FieldProblem::new("channels.secret", said));
        }
        if problems.is_empty() { Ok(alert) } else { Err(ControlError::Invalid(problems)) }
    }

    fn refuse_in_file_mode(&self) -> Result<(), ControlError> {
        if self.files().is_none() {
            return Ok(());
        }
        let said = "alert rules stand at projects that are kept in the store; remove `projects_dir` and `keys_file` from \
                    the settings to have such";
        Err(ControlError::FileOwned(said.to_owned()))
    }
}

fn check_event(alert: &Alert, problems: &mut Vec<FieldProblem>) {
    if let Some(said) = unsupported(alert.event) {
        problems.push(FieldProblem::new("event", said));
        return;
    }
    if !fits(alert.event, alert.scope) {
        let said = format!("`{}` cannot be noticed for the scope `{}`", alert.event.as_str(), alert.scope.as_str());
        problems.push(FieldProblem::new("event", said));
    }
}

fn refuse_unknown_key(tx: &dyn Tx, alert: &Alert) -> Result<(), ControlError> {
    let Some(id) = alert.target.as_deref().filter(|_| alert.scope == AlertScope::Key) else { return Ok(()) };
    let key = tx.key(&Id::stored(id))?.filter(|key| Some(&key.project) == alert.project.as_ref());
    match key {
        Some(_) => Ok(()),
        None => Err(ControlError::field("target", "there is no such key in the project")),
    }
}

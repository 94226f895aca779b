//! Rules: list, create, change, delete.

use std::sync::Arc;

use serde_json::Value;

use super::super::{
    actor::Actor,
    error::{ControlError, FieldProblem},
    gate,
    instance::Control,
    permit::Capability,
    site::{Intent, Needed, PolicySite, Standing},
};
use super::live::RuleChange;
use crate::{
    base::{Id, IdKind, unix_time},
    iam::{RuleType, RuleValue},
    store::{PolicyPlace, Project, Rule, RuleStatus, Tx},
};

/// Most rules of one place: all of them are compiled for each project that they concern.
pub(in crate::control) const RULES_MAX: usize = 100;
/// What rules ask for.
const NEEDED: Needed = Needed {
    organization: (Capability::OrganizationRulesRead, Capability::OrganizationRulesWrite),
    project: (Capability::RulesRead, Capability::RulesWrite),
    key: (Capability::RulesRead, Capability::RulesWrite),
};
/// What files own in file mode.
pub(super) const OWNED: &str = "IAM rules";

/// What a new rule is to be.
#[derive(Debug, Clone)]
pub struct NewRule {
    /// What it does.
    pub kind: RuleType,
    /// With what, as the type wants it.
    pub value: Value,
    /// Whether it is evaluated.
    pub status: RuleStatus,
}

/// What is to change; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct RulePatch {
    /// What it is written with.
    pub value: Option<Value>,
    /// Whether it is evaluated.
    pub status: Option<RuleStatus>,
}

impl Control {
    /// Rules of one place, the oldest first.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`] when there is no such place.
    pub async fn rules(&self, actor: &Actor, site: PolicySite) -> Result<Vec<Rule>, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let actor = actor.clone();
        self.store()
            .read(move |tx| {
                site.permitted(tx, &actor, Intent::Read, &NEEDED)?;
                Ok(tx.rules(&site.place())?)
            })
            .await
    }

    /// One rule of a place.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`], also for a rule of another place.
    pub async fn rule(&self, actor: &Actor, site: PolicySite, id: Id) -> Result<Rule, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let actor = actor.clone();
        self.store()
            .read(move |tx| {
                site.permitted(tx, &actor, Intent::Read, &NEEDED)?;
                own_rule(tx, &site, &id)
            })
            .await
    }

    /// Makes a rule.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::LimitReached`].
    pub async fn create_rule(
        self: &Arc<Self>,
        actor: &Actor,
        site: PolicySite,
        new: NewRule,
    ) -> Result<Rule, ControlError> {
        self.change_rules(actor, site, Intent::Write, move |tx, deed| {
            check_new("", &new)?;
            let place = deed.site.place();
            if tx.rules(&place)?.len() >= RULES_MAX {
                let message =
                    format!("at most {RULES_MAX} rules stand at one place; put their entries into fewer rules");
                return Err(ControlError::LimitReached(message));
            }
            let made = insert(tx, deed.actor, &place, &new)?;
            deed.note(tx, "rule.create", (None, Some(&made)))?;
            Ok(made)
        })
        .await
    }

    /// Changes a rule whose revision is `expected`.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::NotFound`], [`ControlError::Stale`].
    pub async fn change_rule(
        self: &Arc<Self>,
        actor: &Actor,
        (site, id): (PolicySite, Id),
        expected: u64,
        patch: RulePatch,
    ) -> Result<Rule, ControlError> {
        self.change_rules(actor, site, Intent::Write, move |tx, deed| {
            let before = own_rule(tx, &deed.site, &id)?;
            gate::expect_revision(before.revision, expected)?;
            let mut after = before.clone();
            if let Some(value) = patch.value {
                after.value = checked("", before.kind, &value)?;
            }
            after.status = patch.status.unwrap_or(after.status);
            if after == before {
                return Ok(before);
            }
            tx.update_rule(&after)?;
            deed.note(tx, "rule.update", (Some(&before), Some(&after)))?;
            tx.rule(&id)?.ok_or(ControlError::NotFound)
        })
        .await
    }

    /// Deletes a rule whose revision is `expected`.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`], [`ControlError::Stale`].
    pub async fn delete_rule(
        self: &Arc<Self>,
        actor: &Actor,
        (site, id): (PolicySite, Id),
        expected: u64,
    ) -> Result<(), ControlError> {
        self.change_rules(actor, site, Intent::Remove, move |tx, deed| {
            let before = own_rule(tx, &deed.site, &id)?;
            gate::expect_revision(before.revision, expected)?;
            tx.delete_rule(&id, expected)?;
            deed.note(tx, "rule.delete", (Some(&before), None))
        })
        .await
    }

    /// Commits a change of the rules of one place and makes it live.
    async fn change_rules<T: Send + 'static>(
        self: &Arc<Self>,
        actor: &Actor,
        site: PolicySite,
        intent: Intent,
        change: impl FnOnce(&mut dyn Tx, &Deed<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, meters) = (actor.clone(), self.meters());
        self.commit_and_show(
            move |tx| {
                let standing = site.permitted(tx, &actor, intent, &NEEDED)?;
                let deed = Deed { actor: &actor, standing, site };
                let made = change(tx, &deed)?;
                Ok((RuleChange::read(tx, &deed.site.place(), meters)?, made))
            },
            |edit, changed| changed.put(edit),
        )
        .await
    }
}

/// Who changes rules where.
struct Deed<'a> {
    actor: &'a Actor,
    standing: Standing,
    site: PolicySite,
}

impl Deed<'_> {
    fn note(
        &self,
        tx: &mut dyn Tx,
        action: &str,
        (before, after): (Option<&Rule>, Option<&Rule>),
    ) -> Result<(), ControlError> {
        let Some(rule) = after.or(before) else {
            return Ok(());
        };
        let mut event = self.standing.event(self.actor, action, &rule.id);
        event.before = before.map(shown).unwrap_or_default();
        event.after = after.map(shown).unwrap_or_default();
        tx.append_audit(&event)?;
        Ok(())
    }
}

/// Checks what a rule is to be; `path` is where it stands in the request, such as `rules.0.`.
///
/// # Errors
/// Every field problem.
pub(in crate::control) fn check_new(path: &str, new: &NewRule) -> Result<(), ControlError> {
    checked(path, new.kind, &new.value).map(drop)
}

/// Adds the rules that a new key comes with; they were checked. Each has an event of its own.
///
/// # Errors
/// The store's.
pub(in crate::control) fn add_rules(
    tx: &mut dyn Tx,
    (actor, project): (&Actor, &Project),
    key: &Id,
    rules: &[NewRule],
) -> Result<(), ControlError> {
    let place = PolicyPlace::Key(key.clone());
    for new in rules {
        let made = insert(tx, actor, &place, new)?;
        let mut event = gate::event(actor, "rule.create", made.id.as_str(), project);
        event.after = shown(&made);
        tx.append_audit(&event)?;
    }
    Ok(())
}

/// Adds a rule that was checked.
///
/// # Errors
/// The store's.
fn insert(tx: &mut dyn Tx, actor: &Actor, place: &PolicyPlace, new: &NewRule) -> Result<Rule, ControlError> {
    let rule = Rule {
        id: Id::random(IdKind::Rule)?,
        place: place.clone(),
        kind: new.kind,
        value: new.value.to_string(),
        status: new.status,
        created_by: actor.author.clone(),
        created_at: unix_time(),
        revision: 1,
    };
    tx.insert_rule(&rule)?;
    // As stored: times have milliseconds there.
    tx.rule(&rule.id)?.ok_or(ControlError::NotFound)
}

/// A rule of this place. One of another does not exist (GHSA-pjj8-5gpw-f42r: rules looked up by their id alone).
fn own_rule(tx: &dyn Tx, site: &PolicySite, id: &Id) -> Result<Rule, ControlError> {
    tx.rule(id)?.filter(|found| found.place == site.place()).ok_or(ControlError::NotFound)
}

/// The text of a value, as it is stored.
fn checked(path: &str, kind: RuleType, value: &Value) -> Result<String, ControlError> {
    let problems = match RuleValue::check(kind, value) {
        Ok(_) => return Ok(value.to_string()),
        Err(problems) => problems,
    };
    let named = problems.into_iter().map(|problem| {
        let inner = if problem.path.is_empty() { String::new() } else { format!(".{}", problem.path) };
        FieldProblem::new(format!("{path}value{inner}"), problem.message)
    });
    Err(ControlError::Invalid(named.collect()))
}

/// The rule as the audit log keeps it.
fn shown(rule: &Rule) -> String {
    let (scope, scope_id) = rule.place.scope();
    // What was stored is JSON; were it damaged, its text says so.
    let value = serde_json::from_str(&rule.value).unwrap_or_else(|_| Value::from(rule.value.as_str()));
    serde_json::json!({
        "scope": scope,
        "scope_id": scope_id.as_str(),
        "type": rule.kind.as_str(),
        "value": value,
        "status": rule.status,
    })
    .to_string()
}

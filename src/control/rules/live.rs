//! From stored rules to what workers decide by.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::super::{error::ControlError, keys::KeyChange};
use crate::{
    base::Id,
    iam,
    limit::Meters,
    snapshot::{Edit, RuleOwner},
    store::{PolicyPlace, Rule, RuleStatus, Tx},
};

/// What workers have to be told about the rules of one place.
pub(in crate::control) struct RuleChange {
    owner: RuleOwner,
    rules: Vec<iam::Rule>,
    /// The keys that rules of a member or a key bind.
    keys: KeyChange,
}

impl RuleChange {
    /// Reads the rules of a place as they are now, in the transaction that changed them.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn read(
        tx: &dyn Tx,
        place: &PolicyPlace,
        meters: Arc<Meters>,
    ) -> Result<Self, ControlError> {
        let mut keys = KeyChange::new(meters);
        let bound = match place {
            PolicyPlace::Organization(_) | PolicyPlace::Project(_) => Vec::new(),
            PolicyPlace::Member { organization, user } => tx.keys_made_by(organization, user)?,
            PolicyPlace::Key(id) => tx.key(id)?.into_iter().collect(),
        };
        for key in &bound {
            keys.replace(tx, None, Some(key))?;
        }
        Ok(Self { owner: owner_of(place), rules: active(tx.rules(place)?), keys })
    }

    /// Shows them.
    pub(in crate::control) fn put(self, edit: &mut Edit) {
        edit.put_rules(self.owner, self.rules);
        self.keys.put(edit);
    }
}

/// Every active rule of the store, by place: for the start.
///
/// # Errors
/// The store's.
pub(in crate::control) fn stored_rules(tx: &dyn Tx) -> Result<Vec<(RuleOwner, Vec<iam::Rule>)>, ControlError> {
    let mut places: HashMap<RuleOwner, Vec<Rule>> = HashMap::new();
    tx.each_rule(&mut |rule| places.entry(owner_of(&rule.place)).or_default().push(rule))?;
    Ok(places.into_iter().map(|(owner, rules)| (owner, active(rules))).collect())
}

/// The places that have rules and go with these projects, and with an organization and its members if it goes.
///
/// # Errors
/// The store's.
pub(in crate::control) fn forgotten(
    tx: &dyn Tx,
    organization: Option<&Id>,
    projects: &[Id],
) -> Result<Vec<RuleOwner>, ControlError> {
    let mut keys = HashSet::new();
    for project in projects {
        keys.extend(tx.keys_of_project(project)?.into_iter().map(|key| key.id));
    }
    let mut found = HashSet::new();
    tx.each_rule(&mut |rule| {
        let goes = match &rule.place {
            PolicyPlace::Organization(id) | PolicyPlace::Member { organization: id, .. } => Some(id) == organization,
            PolicyPlace::Project(id) => projects.contains(id),
            PolicyPlace::Key(id) => keys.contains(id),
        };
        if goes {
            found.insert(owner_of(&rule.place));
        }
    })?;
    Ok(found.into_iter().collect())
}

/// The rules that are evaluated, as workers compile them.
pub(super) fn active(rules: Vec<Rule>) -> Vec<iam::Rule> {
    let evaluated = rules.into_iter().filter(|rule| rule.status == RuleStatus::Active);
    let compiled = evaluated.map(|rule| iam::Rule {
        id: rule.id.as_str().into(),
        kind: rule.kind,
        value: iam::RuleValue::stored(rule.kind, &rule.value),
    });
    compiled.collect()
}

fn owner_of(place: &PolicyPlace) -> RuleOwner {
    match place {
        PolicyPlace::Organization(id) => RuleOwner::Organization(id.as_str().into()),
        PolicyPlace::Project(id) => RuleOwner::Project(id.as_str().into()),
        PolicyPlace::Member { organization, user } => {
            RuleOwner::Member { organization: organization.as_str().into(), user: user.as_str().into() }
        }
        PolicyPlace::Key(id) => RuleOwner::Key(id.as_str().into()),
    }
}

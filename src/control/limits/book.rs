//! The limits that stand over keys, ready for their grants.
//!
//! Limits of wider scopes are compiled once and shared by the grants of all keys below them, so that a change of an
//! organization's limit costs one pass over its keys, whatever else they have.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::super::{
    error::ControlError,
    grants::{grants_of, member_of},
};
use super::words::{kind_of, window_of};
use crate::{
    base::{Digest, Id},
    limit::{Limit, LimitSet, MeterKey, Meters, Mode, Scope, Terms},
    snapshot::Grant,
    store::{ApiKey, LimitKind, LimitMode, OrganizationStatus, PolicyPlace, StoredLimit, Tx},
};

/// Compiled limits by place, and the projects of the keys they stand over.
pub(in crate::control) struct LimitBook {
    meters: Arc<Meters>,
    places: HashMap<PolicyPlace, Box<[Limit]>>,
    projects: HashMap<Id, Belonging>,
    /// Organizations of which every limit is known.
    whole: HashSet<Id>,
}

/// The organization of a project.
#[derive(Clone)]
struct Belonging {
    organization: Id,
    status: OrganizationStatus,
}

impl LimitBook {
    /// Knows nothing yet.
    pub(in crate::control) fn new(meters: Arc<Meters>) -> Self {
        Self { meters, places: HashMap::new(), projects: HashMap::new(), whole: HashSet::new() }
    }

    /// Where counters come from.
    pub(in crate::control) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// Takes over what the start has read: every limit of the instance.
    pub(in crate::control) fn learn_all(&mut self, limits: Vec<StoredLimit>) {
        let mut by_place: HashMap<PolicyPlace, Vec<StoredLimit>> = HashMap::new();
        for limit in limits {
            by_place.entry(limit.place.clone()).or_default().push(limit);
        }
        for (place, rows) in by_place {
            let compiled = self.compiled(&rows);
            self.places.insert(place, compiled);
        }
    }

    /// Takes over to which organization a project belongs, of which every limit is known.
    pub(in crate::control) fn learn_project(&mut self, project: Id, organization: Id, status: OrganizationStatus) {
        self.whole.insert(organization.clone());
        self.projects.insert(project, Belonging { organization, status });
    }

    /// Reads every limit of an organization: before the grants of many of its keys.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn learn_organization(
        &mut self,
        tx: &dyn Tx,
        organization: &Id,
    ) -> Result<(), ControlError> {
        self.learn_all(tx.limits_of_organization(organization)?);
        self.whole.insert(organization.clone());
        Ok(())
    }

    /// The grants of a key as it is stored now.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn grants(
        &mut self,
        tx: &dyn Tx,
        key: &ApiKey,
    ) -> Result<Vec<(Digest, Grant)>, ControlError> {
        let belonging = match self.projects.get(&key.project) {
            Some(known) => known.clone(),
            None => {
                let project = tx.project(&key.project)?.ok_or(ControlError::NotFound)?;
                let organization = tx.organization(&project.organization)?.ok_or(ControlError::NotFound)?;
                let found = Belonging { organization: organization.id, status: organization.status };
                self.projects.insert(key.project.clone(), found.clone());
                found
            }
        };
        if !self.whole.contains(&belonging.organization) {
            for place in places_over(key, &belonging.organization) {
                if !self.places.contains_key(&place) {
                    let compiled = self.compiled(&tx.limits(&place)?);
                    self.places.insert(place, compiled);
                }
            }
        }
        Ok(self.known_grants(key))
    }

    /// As [`Self::grants`], when all of it was learned before. A key of an unknown project gets nothing.
    pub(in crate::control) fn known_grants(&self, key: &ApiKey) -> Vec<(Digest, Grant)> {
        let Some(belonging) = self.projects.get(&key.project) else {
            return Vec::new();
        };
        grants_of(key, belonging.status, &self.limits_over(key, &belonging.organization))
    }

    /// From the widest scope to the key.
    fn limits_over(&self, key: &ApiKey, organization: &Id) -> LimitSet {
        if self.places.is_empty() {
            return LimitSet::default();
        }
        let mut limits = Vec::new();
        for place in places_over(key, organization) {
            limits.extend(self.places.get(&place).into_iter().flatten().cloned());
        }
        LimitSet::new(limits)
    }

    fn compiled(&self, rows: &[StoredLimit]) -> Box<[Limit]> {
        // Allowances bind what is drawn of credits, not every request of a key.
        let bind = rows.iter().filter(|row| row.kind != LimitKind::Credits);
        bind.filter_map(|row| compiled(row, &self.meters)).collect()
    }
}

/// The places whose limits bind a key, the widest first.
fn places_over(key: &ApiKey, organization: &Id) -> impl Iterator<Item = PolicyPlace> {
    let member = member_of(key).map(|user| PolicyPlace::Member { organization: organization.clone(), user });
    let wide = [PolicyPlace::Organization(organization.clone()), PolicyPlace::Project(key.project.clone())];
    wide.into_iter().chain(member).chain([PolicyPlace::Key(key.id.clone())])
}

/// A stored limit with its counter; none for a window that cannot be read, which nothing of ours has written.
pub(super) fn compiled(row: &StoredLimit, meters: &Meters) -> Option<Limit> {
    let window = window_of(row.algorithm, &row.window)?;
    let owner = row.place.owner();
    let (owner, scope) = match row.kind {
        LimitKind::Credits => (format!("allowance:{owner}"), Scope::Allowance),
        _ => (owner, scope_of(&row.place)),
    };
    let key = MeterKey { owner: owner.into(), kind: kind_of(row.kind), window };
    let mode = match row.mode {
        LimitMode::Enforce => Mode::Enforce,
        LimitMode::Shadow => Mode::Shadow,
    };
    Some(Limit { meter: meters.meter(&key), terms: Terms::max(row.amount), scope, mode, queue: None })
}

fn scope_of(place: &PolicyPlace) -> Scope {
    match place {
        PolicyPlace::Organization(_) => Scope::Organization,
        PolicyPlace::Project(_) => Scope::Project,
        PolicyPlace::Member { .. } => Scope::Member,
        PolicyPlace::Key(_) => Scope::Key,
    }
}

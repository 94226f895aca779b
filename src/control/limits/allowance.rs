//! What projects may draw of their organization's credits.
//!
//! An allowance is stored as a limit of a project, but binds only what is charged to credits: so it stands beside the balance
//! and not in the grants of keys.

use std::collections::HashMap;

use super::super::error::ControlError;
use super::book::compiled;
use crate::{
    base::Id,
    snapshot::Registries,
    store::{LimitKind, PolicyPlace, StoredLimit, Tx},
};

/// The allowances of one project, as they are stored; none for another place, which has none.
pub(in crate::control) struct Allowances(Option<(Id, Id, Vec<StoredLimit>)>);

impl Allowances {
    /// Reads those of a place of an organization.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn read(tx: &dyn Tx, organization: &Id, place: &PolicyPlace) -> Result<Self, ControlError> {
        let PolicyPlace::Project(project) = place else { return Ok(Self(None)) };
        let mut rows = tx.limits(place)?;
        rows.retain(|row| row.kind == LimitKind::Credits);
        Ok(Self(Some((organization.clone(), project.clone(), rows))))
    }

    /// Reads those of all projects that have some.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn read_all(tx: &dyn Tx) -> Result<Vec<Self>, ControlError> {
        let mut of_projects: HashMap<Id, Vec<StoredLimit>> = HashMap::new();
        tx.each_limit(&mut |row| {
            if let (LimitKind::Credits, PolicyPlace::Project(project)) = (row.kind, &row.place) {
                of_projects.entry(project.clone()).or_default().push(row);
            }
        })?;
        if of_projects.is_empty() {
            return Ok(Vec::new());
        }
        let projects = tx.all_projects()?.into_iter();
        let allowances = projects.filter_map(|project| {
            let rows = of_projects.remove(&project.id)?;
            Some(Self(Some((project.organization, project.id, rows))))
        });
        Ok(allowances.collect())
    }

    /// Lets requests go by them.
    pub(in crate::control) fn show(self, registries: &Registries) {
        let Some((organization, project, rows)) = self.0 else { return };
        let limits = rows.iter().filter_map(|row| compiled(row, &registries.meters)).collect();
        let place = (organization.as_str(), project.as_str());
        registries.credits.set_allowances(place, limits, &registries.meters);
    }
}

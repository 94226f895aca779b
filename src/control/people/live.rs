//! What workers see of a change of members or organizations.
//!
//! All of it happens under the publication lock, from the commit to the last worker: a key that is made or changed at the
//! same time comes before or after, and is never put back by an older view.

use super::super::{
    error::ControlError,
    grants::{digests_of, grants_of},
    rules::forgotten,
};
use crate::{
    base::{Digest, Id},
    snapshot::{Edit, RuleOwner},
    store::{ApiKey, OrganizationStatus, Tx},
};

/// What is not to be served any more.
pub(super) struct Gone {
    projects: Vec<Id>,
    digests: Vec<Digest>,
    rules: Vec<RuleOwner>,
}

impl Gone {
    /// Everything of an organization that workers know.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn of(tx: &dyn Tx, organization: &Id) -> Result<Self, ControlError> {
        let projects = projects_of(tx, organization)?;
        Ok(Self {
            rules: forgotten(tx, Some(organization), &projects)?,
            projects,
            digests: keys_of(tx, organization)?.iter().flat_map(digests_of).collect(),
        })
    }

    /// Shows nothing of it any more.
    pub(super) fn hide(&self, edit: &mut Edit) {
        self.projects.iter().for_each(|project| edit.remove_project(project.as_str()));
        self.digests.iter().for_each(|digest| edit.remove_grant(digest));
        self.rules.iter().for_each(|owner| edit.put_rules(owner.clone(), Vec::new()));
    }
}

/// Every key of an organization.
///
/// # Errors
/// The store's.
pub(super) fn keys_of(tx: &dyn Tx, organization: &Id) -> Result<Vec<ApiKey>, ControlError> {
    let mut keys = Vec::new();
    for project in projects_of(tx, organization)? {
        keys.extend(tx.keys_of_project(&project)?);
    }
    Ok(keys)
}

/// Shows keys of an organization with this status as they are stored.
pub(super) fn show_keys(edit: &mut Edit, keys: &[ApiKey], status: OrganizationStatus) {
    for (digest, grant) in keys.iter().flat_map(|key| grants_of(key, status)) {
        edit.put_grant(digest, grant);
    }
}

fn projects_of(tx: &dyn Tx, organization: &Id) -> Result<Vec<Id>, ControlError> {
    let all = tx.all_projects()?.into_iter();
    Ok(all.filter(|project| project.organization == *organization).map(|project| project.id).collect())
}

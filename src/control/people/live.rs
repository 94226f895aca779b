//! What workers see of a change of members or organizations.
//!
//! All of it happens under the publication lock, from the commit to the last worker: a key that is made or changed at the
//! same time comes before or after, and is never put back by an older view.

use super::super::{error::ControlError, grants::digests_of, grants::grants_of, instance::Control, publish::Publisher};
use crate::{
    base::{Digest, Id},
    store::{ApiKey, OrganizationStatus, Tx},
};

/// What is not to be served any more.
pub(super) struct Gone {
    /// Ids of the projects.
    pub(super) projects: Vec<Id>,
    /// Digests of their keys.
    pub(super) digests: Vec<Digest>,
}

/// Everything of an organization that workers know.
///
/// # Errors
/// The store's.
pub(super) fn everything_of(tx: &dyn Tx, organization: &Id) -> Result<Gone, ControlError> {
    let mut gone = Gone { projects: Vec::new(), digests: Vec::new() };
    for project in tx.all_projects()?.into_iter().filter(|project| project.organization == *organization) {
        gone.digests.extend(tx.keys_of_project(&project.id)?.iter().flat_map(digests_of));
        gone.projects.push(project.id);
    }
    Ok(gone)
}

/// Every key of an organization, and whether its status lets them be used.
///
/// # Errors
/// The store's.
pub(super) fn keys_of(tx: &dyn Tx, organization: &Id) -> Result<Vec<ApiKey>, ControlError> {
    let mut keys = Vec::new();
    for project in tx.all_projects()?.into_iter().filter(|project| project.organization == *organization) {
        keys.extend(tx.keys_of_project(&project.id)?);
    }
    Ok(keys)
}

impl Control {
    /// Shows keys as they are stored; those of a suspended organization as disabled.
    pub(super) async fn show_keys(&self, publisher: &Publisher, keys: &[ApiKey], status: OrganizationStatus) {
        if keys.is_empty() {
            return;
        }
        let generation = publisher.change(|edit| {
            for (digest, mut grant) in keys.iter().flat_map(grants_of) {
                grant.enabled &= status == OrganizationStatus::Active;
                edit.put_grant(digest, grant);
            }
        });
        self.wait_until_live(publisher, generation).await;
    }

    /// Shows nothing of these projects any more.
    pub(super) async fn forget(&self, publisher: &Publisher, gone: &Gone) {
        let generation = publisher.change(|edit| {
            gone.projects.iter().for_each(|project| edit.remove_project(project.as_str()));
            gone.digests.iter().for_each(|digest| edit.remove_grant(digest));
        });
        self.wait_until_live(publisher, generation).await;
    }
}

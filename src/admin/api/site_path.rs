//! The part of a path that names a place for limits or rules.

use std::sync::Arc;

use axum::extract::FromRequestParts;

use crate::admin::rest::{Api, Input, KeyId, OrganizationId, ProjectId, UserId};
use crate::control::PolicySite;

/// An argument of a handler that names such a place.
pub(super) trait SitePath: Input + FromRequestParts<Arc<Api>> + Send + 'static {
    /// The place, and its path below `/api/v1`.
    fn site(self) -> (PolicySite, String);
}

impl SitePath for OrganizationId {
    fn site(self) -> (PolicySite, String) {
        let path = format!("/organizations/{}", self.0);
        (PolicySite::Organization(self.0), path)
    }
}

impl SitePath for ProjectId {
    fn site(self) -> (PolicySite, String) {
        let path = format!("/projects/{}", self.0);
        (PolicySite::Project(self.0), path)
    }
}

impl SitePath for (OrganizationId, UserId) {
    fn site(self) -> (PolicySite, String) {
        let (OrganizationId(organization), UserId(user)) = self;
        let path = format!("/organizations/{organization}/members/{user}");
        (PolicySite::Member { organization, user }, path)
    }
}

impl SitePath for (ProjectId, KeyId) {
    fn site(self) -> (PolicySite, String) {
        let (ProjectId(project), KeyId(key)) = self;
        let path = format!("/projects/{project}/keys/{key}");
        (PolicySite::Key { project, key }, path)
    }
}

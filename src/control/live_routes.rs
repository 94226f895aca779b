//! What is live of a project, as workers see it.

use std::sync::Arc;

use crate::{
    base::Id,
    snapshot::{Reach, Route, Target},
    upstream::Status,
};

use super::{actor::Actor, error::ControlError, instance::Control};

/// A live target and how it stands.
#[derive(Clone)]
pub struct LiveTarget {
    /// As compiled.
    pub target: Arc<Target>,
    /// `scheme://host:port` of the provider; none for the built-in one.
    pub origin: Option<String>,
    /// Why no connection could be made now; none when one could.
    pub trouble: Option<String>,
}

/// A live route.
#[derive(Clone)]
pub struct LiveRoute {
    /// As compiled.
    pub route: Arc<Route>,
    /// Number of the version that serves it; none in file mode.
    pub version: Option<u64>,
}

fn trouble_of(status: Status) -> Option<String> {
    match status {
        Status::Unresolved => Some("the name of the provider is being looked up".to_owned()),
        Status::Failed(error) => Some(error.to_string()),
        Status::Fresh { .. } | Status::Stale { .. } => None,
    }
}

impl LiveTarget {
    /// Looks at a target.
    #[must_use]
    pub fn of(target: &Arc<Target>) -> Self {
        let (origin, trouble) = match &target.reach {
            Reach::Mock(_) => (None, None),
            Reach::Http(reach) => {
                let url = reach.origin.url();
                let origin = format!("{}://{}", url.scheme().as_str(), url.authority());
                (Some(origin), trouble_of(reach.origin.addresses().status()))
            }
        };
        Self { target: Arc::clone(target), origin, trouble }
    }
}

impl Control {
    /// Lists the live routes of a project, by name.
    ///
    /// # Errors
    /// The permission's or the store's.
    pub async fn routes(&self, actor: &Actor, project: &Id) -> Result<Vec<LiveRoute>, ControlError> {
        let record = self.project(actor, project).await?.project;
        // Files identify their projects by the slug.
        let id = if self.files().is_some() { record.slug.as_str() } else { record.id.as_str() };
        let snapshot = self.served();
        let Some(part) = snapshot.project(id) else {
            return Ok(Vec::new());
        };
        let version = part.version();
        Ok(part.routes().iter().map(|route| LiveRoute { route: Arc::clone(route), version }).collect())
    }

    /// Finds a live route by its name without the project.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], the permission's or the store's.
    pub async fn route(&self, actor: &Actor, project: &Id, name: &str) -> Result<LiveRoute, ControlError> {
        let routes = self.routes(actor, project).await?;
        let is_named = |live: &LiveRoute| live.route.full_name.split_once('/').is_some_and(|(_, of)| of == name);
        routes.into_iter().find(is_named).ok_or(ControlError::NotFound)
    }
}

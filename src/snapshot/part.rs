//! One project in a snapshot.
//!
//! Replaced whole when the project's configuration, keys of providers or state change; all other projects stay shared.

use std::{collections::HashMap, sync::Arc};

use crate::{base::Tenure, config::Mode};

use super::route::Route;

/// A project as the data path sees it. A project without anything served has no part at all.
pub struct ProjectPart {
    slug: Box<str>,
    version: Option<u64>,
    tenure: Option<Arc<Tenure>>,
    mode: Option<Mode>,
    standing: Standing,
}

enum Standing {
    Served(Routes),
    Broken,
    Archived,
}

/// Twice by name, because most clients send the full one: it is found without looking at the slug first.
struct Routes {
    by_full_name: HashMap<Box<str>, Arc<Route>>,
    by_name: HashMap<Box<str>, Arc<Route>>,
    listed: Box<[Arc<Route>]>,
}

impl ProjectPart {
    /// A project with these routes, of this version of its configuration; all its targets hold this tenure.
    pub(super) fn served(slug: Box<str>, version: Option<u64>, (routes, tenure): (Vec<Route>, Arc<Tenure>)) -> Self {
        let mut listed: Box<[_]> = routes.into_iter().map(Arc::new).collect();
        listed.sort_by(|a, b| a.full_name.cmp(&b.full_name));
        // Slugs hold no `/`, so the first one ends the project.
        let name = |route: &Route| Box::from(route.full_name.split_once('/').map_or("", |(_, name)| name));
        let by_name = listed.iter().map(|route| (name(route), Arc::clone(route))).collect();
        let by_full_name = listed.iter().map(|route| (route.full_name.clone(), Arc::clone(route))).collect();
        Self {
            slug,
            version,
            tenure: Some(tenure),
            mode: None,
            standing: Standing::Served(Routes { by_full_name, by_name, listed }),
        }
    }

    /// Notes the `mode` of its configuration.
    pub(super) fn with_mode(self, mode: Option<Mode>) -> Self {
        Self { mode, ..self }
    }

    /// The `mode` that its configuration states; none leaves it to the project's setting.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// A project whose stored configuration cannot be compiled: its routes answer 503 `config_error`.
    #[must_use]
    pub fn broken(slug: &str) -> Self {
        Self { slug: slug.into(), version: None, tenure: None, mode: None, standing: Standing::Broken }
    }

    /// A project that was archived: its own keys get 410 `project_archived`.
    #[must_use]
    pub fn archived(slug: &str) -> Self {
        Self { slug: slug.into(), version: None, tenure: None, mode: None, standing: Standing::Archived }
    }

    /// The first half of the names of its routes.
    #[must_use]
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Number of the served version; none in file mode, and when nothing is served.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// What every target of it holds; none when nothing is served.
    #[must_use]
    pub fn tenure(&self) -> Option<&Arc<Tenure>> {
        self.tenure.as_ref()
    }

    /// Whether its stored configuration cannot be compiled.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.standing, Standing::Broken)
    }

    /// Whether it was archived.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        matches!(self.standing, Standing::Archived)
    }

    /// Its routes, sorted by name.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        match &self.standing {
            Standing::Served(routes) => &routes.listed,
            Standing::Broken | Standing::Archived => &[],
        }
    }

    /// Finds a route by its name without the project.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.served_routes()?.by_name.get(name)
    }

    /// Finds a route by `project/route`.
    #[must_use]
    pub fn route_by_full_name(&self, full_name: &str) -> Option<&Arc<Route>> {
        self.served_routes()?.by_full_name.get(full_name)
    }

    fn served_routes(&self) -> Option<&Routes> {
        match &self.standing {
            Standing::Served(routes) => Some(routes),
            Standing::Broken | Standing::Archived => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::limit::LimitSet;

    use super::super::route::OnExhausted;
    use super::*;

    fn route(full_name: &str) -> Route {
        Route {
            full_name: full_name.into(),
            created: 0,
            chat: None,
            embedding: None,
            limits: LimitSet::default(),
            keyed: None,
            enforce_output_cap: None,
            on_exhausted: OnExhausted::Finish,
        }
    }

    #[test]
    fn routes_are_found_by_name_and_listed_in_order() {
        let part = ProjectPart::served("a".into(), Some(3), (vec![route("a/z"), route("a/b")], Arc::default()));
        assert_eq!(part.routes().iter().map(|route| &*route.full_name).collect::<Vec<_>>(), ["a/b", "a/z"]);
        assert_eq!(part.route("z").map(|route| &*route.full_name), Some("a/z"));
        assert_eq!(part.route_by_full_name("a/b").map(|route| &*route.full_name), Some("a/b"));
        assert!(part.route("a/z").is_none() && part.route("").is_none() && part.route_by_full_name("b").is_none());
    }

    #[test]
    fn project_that_is_not_served_has_no_routes() {
        for part in [ProjectPart::broken("a"), ProjectPart::archived("a")] {
            assert!(part.routes().is_empty() && part.route("chat").is_none() && part.version().is_none());
        }
    }
}

//! One project in a snapshot.
//!
//! Replaced whole when the project's configuration, keys of providers or state change; all other projects stay shared.

use std::sync::Arc;

use crate::{
    base::{FastMap, Tenure},
    config::Mode,
    iam::{Facts, Policy, RouteFacts, TargetFacts, Window},
};

use super::route::{Route, RoutePlace, Target};

/// A project as the data path sees it. A project without anything served has no part at all. Cheap to clone.
#[derive(Clone)]
pub struct ProjectPart {
    slug: Arc<str>,
    /// Id of the organization that owns it.
    organization: Arc<str>,
    version: Option<u64>,
    tenure: Option<Arc<Tenure>>,
    mode: Option<Mode>,
    standing: Standing,
    /// What the rules of the organization and of the project allow; none without such rules.
    policy: Option<Arc<Policy>>,
    /// Whether what its requests say is kept.
    captured: bool,
}

#[derive(Clone)]
enum Standing {
    Served(Arc<Routes>),
    Broken,
    Archived,
}

/// Twice by name, because most clients send the full one: it is found without looking at the slug first.
struct Routes {
    by_full_name: FastMap<Box<str>, Arc<Route>>,
    by_name: FastMap<Box<str>, Arc<Route>>,
    listed: Box<[Arc<Route>]>,
    facts: Arc<Facts>,
}

impl ProjectPart {
    /// A project of an organization with these routes, of this version of its configuration; all its targets hold this
    /// tenure.
    pub(super) fn served(
        slug: Box<str>,
        organization: Arc<str>,
        (version, tenure): (Option<u64>, Arc<Tenure>),
        mut routes: Vec<Route>,
    ) -> Self {
        routes.sort_by(|a, b| a.full_name.cmp(&b.full_name));
        let facts = Arc::new(numbered(&mut routes));
        let listed: Box<[_]> = routes.into_iter().map(Arc::new).collect();
        // Slugs hold no `/`, so the first one ends the project.
        let name = |route: &Route| Box::from(route.full_name.split_once('/').map_or("", |(_, name)| name));
        let by_name = listed.iter().map(|route| (name(route), Arc::clone(route))).collect();
        let by_full_name = listed.iter().map(|route| (route.full_name.clone(), Arc::clone(route))).collect();
        let standing = Standing::Served(Arc::new(Routes { by_full_name, by_name, listed, facts }));
        let (slug, tenure) = (slug.into(), Some(tenure));
        Self { slug, organization, version, tenure, mode: None, standing, policy: None, captured: false }
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
        Self::without_routes(slug, Standing::Broken)
    }

    /// A project that was archived: its own keys get 410 `project_archived`.
    #[must_use]
    pub fn archived(slug: &str) -> Self {
        Self::without_routes(slug, Standing::Archived)
    }

    fn without_routes(slug: &str, standing: Standing) -> Self {
        let organization = Arc::default();
        let slug = slug.into();
        Self { slug, organization, version: None, tenure: None, mode: None, standing, policy: None, captured: false }
    }

    /// Whether what its requests and their answers say is kept.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        self.captured
    }

    /// Says whether it is.
    pub(super) fn with_captured(self, captured: bool) -> Self {
        Self { captured, ..self }
    }

    /// Id of the organization that owns it; empty where nothing is served.
    pub(super) fn organization(&self) -> &Arc<str> {
        &self.organization
    }

    /// What rules are compared with; none where nothing is served.
    #[must_use]
    pub fn facts(&self) -> Option<&Arc<Facts>> {
        self.served_routes().map(|routes| &routes.facts)
    }

    /// What the rules of the organization and of the project allow; none without such rules.
    #[must_use]
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        self.policy.as_ref()
    }

    /// The same project under another policy, which was compiled for its facts.
    pub(super) fn with_policy(&self, policy: Option<Arc<Policy>>) -> Self {
        Self { policy, ..self.clone() }
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

/// Gives every route and target its number; returns what they are the numbers of.
fn numbered(routes: &mut [Route]) -> Facts {
    let (mut names, mut targets): (Vec<RouteFacts>, Vec<TargetFacts>) = (Vec::new(), Vec::new());
    for (number, route) in routes.iter_mut().enumerate() {
        names.push(RouteFacts { full_name: route.full_name.clone() });
        let mut window = |list: &[Arc<Target>]| {
            let start = targets.len();
            targets.extend(list.iter().map(|target| target.facts.clone()));
            // A target beyond the window can be used by nobody who has rules.
            Window::new(start, list.len().min(Window::LEN_MAX)).unwrap_or_default()
        };
        route.place = RoutePlace {
            route: u32::try_from(number).unwrap_or(u32::MAX),
            chat: window(route.chat.as_slice()),
            embedding: window(route.embedding.as_slice()),
            transcription: window(route.transcription.as_slice()),
        };
    }
    Facts { routes: names.into(), targets: targets.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(full_name: &str) -> Route {
        Route {
            full_name: full_name.into(),
            created: 0,
            chat: None,
            embedding: None,
            transcription: None,
            bounds: Arc::default(),
            place: RoutePlace::default(),
        }
    }

    #[test]
    fn routes_are_found_by_name_and_listed_in_order() {
        let versioned = (Some(3), Arc::default());
        let part = ProjectPart::served("a".into(), "org".into(), versioned, vec![route("a/z"), route("a/b")]);
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

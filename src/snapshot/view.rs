//! What a request looks up: its key, then its route.

use std::{collections::HashMap, sync::Arc};

use crate::base::Digest;

use super::{grant::Grant, route::Route};

/// Everything that decides on a request, as of one generation.
pub struct Snapshot {
    generation: u64,
    grants: HashMap<Digest, Arc<Grant>>,
    routes: Routes,
    /// The same routes by name, for listings.
    listed: Box<[Arc<Route>]>,
}

/// All routes: project, then name in it. Two steps, so that a bare name is found without joining it to its project.
#[derive(Default)]
pub(super) struct Routes(HashMap<Box<str>, HashMap<Box<str>, Arc<Route>>>);

impl Routes {
    /// Adds a route under its full name; a later one replaces an earlier one.
    pub(super) fn insert(&mut self, route: Route) {
        // Slugs hold no `/`, so the first one ends the project.
        let name = route.full_name.split_once('/').map_or("", |(_, name)| name).into();
        self.0.entry(route.project.clone()).or_default().insert(name, Arc::new(route));
    }

    /// Finds `project/route`.
    pub(super) fn find(&self, full_name: &str) -> Option<&Arc<Route>> {
        let (project, name) = full_name.split_once('/')?;
        self.find_in(project, name)
    }

    fn find_in(&self, project: &str, name: &str) -> Option<&Arc<Route>> {
        self.0.get(project)?.get(name)
    }
}

impl Snapshot {
    pub(super) fn new(generation: u64, grants: HashMap<Digest, Arc<Grant>>, routes: Routes) -> Self {
        let mut listed: Box<[_]> = routes.0.values().flat_map(HashMap::values).map(Arc::clone).collect();
        listed.sort_by(|a, b| a.full_name.cmp(&b.full_name));
        Self { generation, grants, routes, listed }
    }

    /// Rises by one with each publish.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Finds what a key may do. Unknown, disabled and expired keys look alike.
    #[must_use]
    pub fn grant(&self, key: &[u8]) -> Option<&Arc<Grant>> {
        self.grants.get(&Digest::of(key)).filter(|grant| grant.is_valid())
    }

    /// Finds the route of a `model` value: `project/route`, or a bare `route` if the key has exactly one project.
    #[must_use]
    pub fn route(&self, grant: &Grant, model: &str) -> Option<&Arc<Route>> {
        let found = match model.split_once('/') {
            Some((project, name)) => self.routes.find_in(project, name)?,
            None => self.routes.find_in(grant.own_project()?, model)?,
        };
        grant.may_use(&found.project, &found.full_name).then_some(found)
    }

    /// The routes that a key may use, sorted by name.
    pub fn routes_of<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = &'a Route> {
        self.listed.iter().map(AsRef::as_ref).filter(|route| grant.may_use(&route.project, &route.full_name))
    }

    /// How many routes are served.
    #[must_use]
    pub fn route_count(&self) -> usize {
        self.listed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(names: &[&str]) -> Snapshot {
        let mut routes = Routes::default();
        for name in names {
            let project = name.split('/').next().unwrap();
            routes.insert(Route {
                full_name: (*name).into(),
                project: project.into(),
                created: 0,
                chat: None,
                embedding: None,
            });
        }
        Snapshot::new(1, HashMap::new(), routes)
    }

    #[test]
    fn bare_name_is_found_only_for_a_key_of_one_project() {
        let snapshot = snapshot(&["a/chat", "a/embed", "b/chat"]);
        for (name, projects, routes, model, want) in [
            ("full name", &["a"][..], None, "a/chat", Some("a/chat")),
            ("bare name", &["a"], None, "chat", Some("a/chat")),
            ("bare name of the other", &["b"], None, "chat", Some("b/chat")),
            ("bare name of two projects", &["a", "b"], None, "chat", None),
            ("full name of two projects", &["a", "b"], None, "b/chat", Some("b/chat")),
            ("foreign project", &["b"], None, "a/chat", None),
            ("bare name beyond the key's routes", &["a"], Some("a/embed"), "chat", None),
            ("unknown route", &["a"], None, "a/other", None),
            ("two slashes", &["a"], None, "a/chat/x", None),
            ("empty", &["a"], None, "", None),
            ("slash alone", &["a"], None, "/", None),
        ] {
            let grant = Grant {
                key_id: "k".into(),
                projects: projects.iter().map(|slug| Box::from(*slug)).collect(),
                routes: routes.map(|route| [Box::from(route)].into()),
                enabled: true,
                expires: None,
            };
            assert_eq!(snapshot.route(&grant, model).map(|route| &*route.full_name), want, "{name}");
        }
    }

    #[test]
    fn listing_is_sorted_by_full_name() {
        let snapshot = snapshot(&["b/chat", "a/z", "a/b"]);
        assert_eq!(snapshot.listed.iter().map(|route| &*route.full_name).collect::<Vec<_>>(), ["a/b", "a/z", "b/chat"]);
    }
}

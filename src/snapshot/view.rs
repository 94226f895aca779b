//! What a request looks up: its key, then its route.

use std::{collections::HashMap, sync::Arc};

use crate::base::KeyHasher;

use super::{edit::Edit, grant::Grant, part::ProjectPart, route::Route, shards::Shards};

/// Projects by id.
pub(super) type Parts = HashMap<Arc<str>, Arc<ProjectPart>>;

/// Everything that decides on a request, as of one generation.
pub struct Snapshot {
    pub(super) generation: u64,
    pub(super) hasher: Arc<KeyHasher>,
    pub(super) grants: Shards,
    pub(super) projects: Arc<Parts>,
    /// Whether any project is archived: else no request needs to look.
    pub(super) any_archived: bool,
}

/// Why a `model` value leads to no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// It does not exist, or the key may not use it: the client is told the same.
    Unknown,
    /// It is of the key's own project, whose stored configuration cannot be compiled.
    Broken,
}

impl Snapshot {
    /// Rises by one with each publish.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Starts the next snapshot from this one. Nothing is copied before it is changed.
    #[must_use]
    pub fn edit(&self) -> Edit {
        Edit::of(self)
    }

    /// Finds what a key may do. Unknown, disabled and expired keys look alike and cost the same.
    #[must_use]
    pub fn grant(&self, key: &[u8]) -> Option<&Arc<Grant>> {
        self.grants.get(&self.hasher.digest(key)).filter(|grant| grant.is_valid())
    }

    /// Whether the one project of a key is archived: such a key can do nothing.
    #[must_use]
    pub fn is_archived(&self, grant: &Grant) -> bool {
        self.any_archived
            && grant.scope.own().and_then(|id| self.projects.get(id)).is_some_and(|part| part.is_archived())
    }

    /// Finds the route of a `model` value: `project/route`, or a bare `route` if the key has exactly one project.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn route(&self, grant: &Grant, model: &str) -> Result<&Arc<Route>, NoRoute> {
        let slug = model.split_once('/').map(|(slug, _)| slug);
        let id = slug.map_or_else(|| grant.scope.own(), |slug| grant.scope.id_for(slug));
        let part = id.and_then(|id| self.projects.get(id)).ok_or(NoRoute::Unknown)?;
        let found = if slug.is_some() { part.route_by_full_name(model) } else { part.route(model) };
        match found {
            Some(route) if grant.may_call(&route.full_name) => Ok(route),
            None if part.is_broken() && slug.is_none_or(|slug| *part.slug() == *slug) => Err(NoRoute::Broken),
            _ => Err(NoRoute::Unknown),
        }
    }

    /// The routes that a key may use: its projects in the order of their ids, the routes of each by name.
    pub fn routes_of<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = &'a Route> {
        let parts = grant.scope.ids().iter().filter_map(|id| self.projects.get(id));
        parts.flat_map(|part| part.routes()).map(AsRef::as_ref).filter(|route| grant.may_call(&route.full_name))
    }

    /// Returns a project by its id.
    #[must_use]
    pub fn project(&self, id: &str) -> Option<&Arc<ProjectPart>> {
        self.projects.get(id)
    }

    /// The parts of this snapshot that `next` does not have, by the id of their project. Costs nothing when only keys differ.
    pub fn replaced_by<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<ProjectPart>)> {
        let is_same = Arc::ptr_eq(&self.projects, &next.projects);
        let before = if is_same { None } else { Some(self.projects.iter()) };
        before
            .into_iter()
            .flatten()
            .filter(|(id, part)| !next.projects.get(*id).is_some_and(|now| Arc::ptr_eq(part, now)))
    }

    /// Every project that has a part, by id, in no order.
    pub fn projects(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<ProjectPart>)> {
        self.projects.iter()
    }

    /// How many keys there are, the disabled and expired ones included.
    #[must_use]
    pub fn grant_count(&self) -> usize {
        self.grants.count()
    }

    /// How many routes are served.
    #[must_use]
    pub fn route_count(&self) -> usize {
        self.projects.values().map(|part| part.routes().len()).sum()
    }
}

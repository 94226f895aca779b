//! What a request looks up: its key, then its route.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use crate::{
    base::{FastMap, KeyHasher},
    iam::{Asked, Denial, Policy, Scope, Step, Survivors, check},
    wire::Endpoint,
};

use super::{
    edit::{Edit, Governed},
    grant::Grant,
    part::ProjectPart,
    route::Route,
    rule_book::RuleBook,
    shards::Shards,
};

/// Projects by id.
pub(super) type Parts = FastMap<Arc<str>, Arc<ProjectPart>>;

/// Everything that decides on a request, as of one generation.
pub struct Snapshot {
    pub(super) generation: u64,
    pub(super) hasher: Arc<KeyHasher>,
    pub(super) grants: Shards,
    pub(super) projects: Arc<Parts>,
    /// The rules of all places.
    pub(super) rules: RuleBook,
    /// Grants whose policy depends on the targets of their project.
    pub(super) governed: Arc<Governed>,
    /// Projects that keep what their requests say.
    pub(super) captured: Arc<HashSet<Arc<str>>>,
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

/// A route that a key may name, in its project.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
    part: &'a ProjectPart,
}

impl Found<'_> {
    /// Asks the rules which targets of an endpoint a key may use from this address. Without rules it costs nothing.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn allowed(&self, grant: &Grant, endpoint: Endpoint, address: Option<IpAddr>) -> Result<Survivors, Denial> {
        let place = self.route.place;
        let targets = match endpoint {
            Endpoint::Embeddings => place.embedding,
            Endpoint::Chat | Endpoint::Completions | Endpoint::Responses => place.chat,
            Endpoint::Transcriptions => place.transcription,
        };
        let own = grant.policy.as_deref();
        // Numbers of another configuration would mean other targets. `Edit` sees to it that this is never so.
        if own.is_some_and(|policy| !self.is_compiled_for(policy)) {
            return Err(Denial { scope: Scope::Key, step: Step::Models, rules: Vec::new() });
        }
        let asked = Asked { route: place.route, targets, address };
        check(self.part.policy().map(AsRef::as_ref), own, &asked)
    }

    /// Whether any rule is about the key and its project.
    #[must_use]
    pub fn has_rules(&self, grant: &Grant) -> bool {
        self.part.policy().is_some() || grant.policy.is_some()
    }

    /// Whether rules let a key use the route from this address, for one endpoint at least.
    #[must_use]
    pub fn is_usable(&self, grant: &Grant, address: Option<IpAddr>) -> bool {
        if self.part.policy().is_none() && grant.policy.is_none() {
            return true;
        }
        let has_targets = |endpoint: &Endpoint| !self.route.targets(*endpoint).is_empty();
        Endpoint::ALL
            .iter()
            .filter(|endpoint| has_targets(endpoint))
            .any(|endpoint| self.allowed(grant, *endpoint, address).is_ok())
    }

    /// Whether what requests of the project say is kept.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        self.part.is_captured()
    }

    fn is_compiled_for(&self, policy: &Policy) -> bool {
        self.part.facts().is_some_and(|facts| Arc::ptr_eq(facts, policy.facts()))
    }
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
    pub fn route(&self, grant: &Grant, model: &str) -> Result<Found<'_>, NoRoute> {
        let slug = memchr::memchr(b'/', model.as_bytes()).and_then(|at| model.get(..at));
        let id = slug.map_or_else(|| grant.scope.own(), |slug| grant.scope.id_for(slug));
        let part = id.and_then(|id| self.projects.get(id)).ok_or(NoRoute::Unknown)?;
        let found = if slug.is_some() { part.route_by_full_name(model) } else { part.route(model) };
        match found {
            Some(route) if grant.may_call(&route.full_name) => Ok(Found { route, part }),
            None if part.is_broken() && slug.is_none_or(|slug| *part.slug() == *slug) => Err(NoRoute::Broken),
            _ => Err(NoRoute::Unknown),
        }
    }

    /// The routes that a key may name: its projects in the order of their ids, the routes of each by name. Rules are not
    /// asked.
    pub fn routes_of<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = Found<'a>> {
        let parts = grant.scope.ids().iter().filter_map(|id| self.projects.get(id));
        let all = parts.flat_map(|part| part.routes().iter().map(move |route| Found { route, part }));
        all.filter(|found| grant.may_call(&found.route.full_name))
    }

    /// Those of [`Self::routes_of`] that rules let the key use from this address, for one endpoint at least.
    pub fn usable_routes<'a>(&'a self, grant: &'a Grant, address: Option<IpAddr>) -> impl Iterator<Item = Found<'a>> {
        self.routes_of(grant).filter(move |found| found.is_usable(grant, address))
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

    /// Into how many parts all grants fall, for [`Self::grants_of_part`].
    #[must_use]
    pub fn grant_parts(&self) -> usize {
        self.grants.shards()
    }

    /// The grants of one part, the disabled and expired ones included: to look at all of them without holding others up.
    pub fn grants_of_part(&self, part: usize) -> impl Iterator<Item = &Arc<Grant>> {
        self.grants.shard(part)
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

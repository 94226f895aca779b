//! The immutable compiled view that workers read.
//!
//! A snapshot is built whole by [`compile`] from checked configurations and keys, or not at all. Publishing it cannot
//! fail. A request loads it once, so no request ever sees two configurations.

mod compile;
mod grant;
mod handle;
mod route;

pub use compile::{ProjectSource, Refusal, Registries, Sources, compile};
pub use grant::Grant;
pub use handle::Handle;
pub use route::{HttpTarget, Reach, Route, Target, TargetTimeouts};

use std::{collections::HashMap, sync::Arc};

use crate::base::Digest;

/// Everything that decides on a request, as of one generation.
pub struct Snapshot {
    generation: u64,
    grants: HashMap<Digest, Arc<Grant>>,
    routes: HashMap<Box<str>, Arc<Route>>,
    /// The same routes by name, for listings.
    listed: Box<[Arc<Route>]>,
}

impl Snapshot {
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

    /// Finds the route of a `model` value: `project/route`, or a bare `route` in the key's only project.
    #[must_use]
    pub fn route(&self, grant: &Grant, model: &str) -> Option<&Arc<Route>> {
        let found = if model.contains('/') {
            self.routes.get(model)?
        } else {
            let full_name = format!("{}/{model}", grant.own_project()?);
            self.routes.get(full_name.as_str())?
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

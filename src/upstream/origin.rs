//! Providers' addresses in use, shared by all snapshots.
//!
//! Connections and resolved names belong to an origin, not to a snapshot, so a reload that changes nothing about an
//! address keeps them. Origins are never shared between projects: a pooled connection cannot carry one project's answer
//! to another (threat T-21).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{
    address::Addresses,
    egress::{BaseUrl, EgressError, Guard},
    pool::OriginId,
    resolve::Resolver,
};

/// Scheme, name and port of a provider, as one project uses it.
pub struct Origin {
    id: OriginId,
    url: BaseUrl,
    addresses: Arc<Addresses>,
}

impl Origin {
    /// Identifies its pool on each worker.
    #[must_use]
    pub fn id(&self) -> OriginId {
        self.id
    }

    /// The checked base URL.
    #[must_use]
    pub fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// The resolved and permitted addresses.
    #[must_use]
    pub fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }
}

/// Origins by project and base URL.
#[derive(Default)]
struct InUse {
    origins: HashMap<(Box<str>, BaseUrl), Weak<Origin>>,
    /// Number of origins at which those that nobody uses any more are thrown out.
    sweep_at: usize,
}

/// Smallest number of origins that is worth a sweep.
const SWEEP_MIN: usize = 64;

/// Makes origins and finds those that are in use. Used when compiling, never by a request.
pub struct Origins {
    guard: Arc<Guard>,
    resolver: Resolver,
    in_use: Mutex<InUse>,
    next: AtomicU32,
}

impl Origins {
    /// Starts without any origin.
    #[must_use]
    pub fn new(guard: Arc<Guard>, resolver: Resolver) -> Self {
        Self { guard, resolver, in_use: Mutex::default(), next: AtomicU32::new(0) }
    }

    /// What decides where connections may go.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Checks a base URL with the rules for the way out, without using it.
    ///
    /// # Errors
    /// The egress guard's reason.
    pub fn check(&self, url: &str) -> Result<(), EgressError> {
        self.guard.parse(url).map(drop)
    }

    /// Returns the origin of a base URL for a project, given by its id: slugs of two organizations may be the same.
    ///
    /// # Errors
    /// The egress guard's reason.
    pub fn track(&self, project: &str, url: &str) -> Result<Arc<Origin>, EgressError> {
        let url = self.guard.parse(url)?;
        let key = (Box::from(project), url);
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = in_use.origins.get(&key).and_then(Weak::upgrade) {
            return Ok(origin);
        }
        // Only when they have doubled: a sweep at each new origin would make a thousand projects a million looks.
        if in_use.origins.len() >= in_use.sweep_at.max(SWEEP_MIN) {
            in_use.origins.retain(|_, origin| origin.strong_count() > 0);
            in_use.sweep_at = in_use.origins.len() * 2;
        }
        let origin = Arc::new(Origin {
            id: OriginId(self.next.fetch_add(1, Ordering::Relaxed)),
            addresses: self.resolver.track(&key.1),
            url: key.1.clone(),
        });
        in_use.origins.insert(key, Arc::downgrade(&origin));
        Ok(origin)
    }

    /// Waits until the first lookup of an origin's name has ended. The caller bounds the time.
    pub async fn looked_up(&self, origin: &Origin) {
        self.resolver.first_lookups(&[Arc::clone(&origin.addresses)]).await;
    }

    /// The addresses of all origins in use, to be resolved before the first request.
    #[must_use]
    pub fn addresses(&self) -> Vec<Arc<Addresses>> {
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.origins.values().filter_map(Weak::upgrade).map(|origin| Arc::clone(&origin.addresses)).collect()
    }
}

//! Idle connections to providers, kept by one worker for reuse.
//!
//! Only connections whose exchange ended in order come here. The newest is taken first, so that a burst's extra
//! connections grow old and are closed.

use std::time::Duration;

use crate::{
    base::{FastMap, Instant, now},
    http::Upstream,
};

/// Bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Most idle connections of one origin and worker.
    pub idle_max: usize,
    /// Longest time a connection may lie idle.
    pub idle_timeout: Duration,
    /// Longest life of a connection, so that changed addresses are taken up.
    pub age_max: Duration,
}

/// Identifies the origin whose connections may serve each other's requests: same project, scheme, name, port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginId(pub u32);

/// A connection and its age.
pub struct Connection {
    /// The connection itself.
    pub upstream: Upstream,
    /// Whether it has served a request before.
    pub reused: bool,
    born: Instant,
    idle_since: Instant,
}

impl Connection {
    /// Takes over a fresh connection.
    #[must_use]
    pub fn new(upstream: Upstream) -> Self {
        let born = now();
        Self { upstream, reused: false, born, idle_since: born }
    }
}

/// The idle connections of one worker.
pub struct Pools {
    #[expect(
        clippy::vec_box,
        reason = "taken out and put back with each request, so a pointer is moved and not the connection"
    )]
    by_origin: FastMap<OriginId, Vec<Box<Connection>>>,
    limits: PoolLimits,
}

impl Pools {
    /// Creates empty pools.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        Self { by_origin: FastMap::default(), limits }
    }

    /// Takes the connection of an origin that was used last. The caller checks that it is not stale.
    pub fn take(&mut self, origin: OriginId) -> Option<Box<Connection>> {
        self.by_origin.get_mut(&origin)?.pop()
    }

    /// Keeps a connection whose exchange was complete by `at`, unless its pool is full.
    pub fn give(&mut self, origin: OriginId, mut connection: Box<Connection>, at: Instant) {
        connection.upstream.rest();
        connection.reused = true;
        connection.idle_since = at;
        let idle = self.by_origin.entry(origin).or_default();
        if idle.len() < self.limits.idle_max {
            idle.push(connection);
        }
    }

    /// Closes what has been idle or alive for too long; a worker calls it once a second.
    pub fn sweep(&mut self) {
        let (now, limits) = (now(), self.limits);
        self.by_origin.retain(|_, idle| {
            idle.retain(|connection| {
                now.saturating_duration_since(connection.idle_since) < limits.idle_timeout
                    && now.saturating_duration_since(connection.born) < limits.age_max
            });
            !idle.is_empty()
        });
    }

    /// Closes everything, for a drain.
    pub fn clear(&mut self) {
        self.by_origin.clear();
    }

    /// How many connections are idle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_origin.values().map(Vec::len).sum()
    }

    /// Whether no connection is idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty()
    }
}

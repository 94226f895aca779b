//! The addresses behind one upstream host, as workers see them.
//!
//! The resolver replaces the state, workers read it without a lock. An address leaves this type only after the egress
//! guard passed it at this very moment: forgetting the check before a connection is not possible.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;

use super::egress::{EgressError, Guard, Scheme};
use crate::base::{Instant, Swap, now};

/// Most addresses kept of one answer. All of a longer answer are checked.
pub(super) const ADDRESSES_MAX: usize = 32;

/// Why a name has no usable addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// The name does not exist.
    #[error("the name does not exist (NXDOMAIN)")]
    NotFound,
    /// The name exists and has neither an IPv4 nor an IPv6 address.
    #[error("the name has no address")]
    NoAddress,
    /// The name servers answered with an error such as SERVFAIL or REFUSED.
    #[error("the name server failed")]
    Server,
    /// No name server answered in time.
    #[error("no name server answered in time")]
    Timeout,
    /// No name server could be reached, or its answer could not be read.
    #[error("no name server could be reached")]
    Unreachable,
    /// An answer holds an address that the egress guard refuses. All of the name's addresses are refused then.
    #[error("refused: {0}")]
    Denied(EgressError),
}

/// What is known about a host now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The first lookup has not ended yet.
    Unresolved,
    /// The addresses may be used and are up to date.
    Fresh {
        /// End of the answer's life; `None` for an address that was written as such.
        until: Option<Instant>,
    },
    /// The addresses may be used although no newer answer came.
    Stale {
        /// After this they are refused.
        until: Instant,
        /// What the last lookup met; `None` if it has not ended yet.
        error: Option<ResolveError>,
    },
    /// There is no address.
    Failed(ResolveError),
}

/// The checked addresses of one upstream host and port; shared by all threads.
pub struct Addresses {
    guard: Arc<Guard>,
    scheme: Scheme,
    state: Swap<State>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Unresolved,
    Literal(SocketAddr),
    Known { addresses: Arc<[SocketAddr]>, fresh_until: Instant, stale_until: Instant, error: Option<ResolveError> },
    Failed(ResolveError),
}

impl Addresses {
    pub(super) fn new(guard: Arc<Guard>, scheme: Scheme, literal: Option<SocketAddr>) -> Self {
        let state = literal.map_or(State::Unresolved, State::Literal);
        Self { guard, scheme, state: Swap::new(state) }
    }

    /// Picks one address for a new connection; the same `turn` picks the same one while the answer stays the same.
    ///
    /// Count `turn` up for each connection to spread them, and for the next address after a failed one. `None` when there
    /// is none that may be connected to now; [`Addresses::status`] says why.
    pub fn pick(&self, turn: usize) -> Option<SocketAddr> {
        self.pick_at(turn, now())
    }

    fn pick_at(&self, turn: usize, at: Instant) -> Option<SocketAddr> {
        let picked = self.state.with(|state| match state {
            State::Literal(address) => Some(*address),
            State::Known { addresses, stale_until, .. } if at < *stale_until => {
                addresses.get(turn.checked_rem(addresses.len())?).copied()
            }
            _ => None,
        })?;
        // The address was checked when it was learned. Our own interfaces may have changed since then.
        self.guard.permit(self.scheme, picked).ok().map(|()| picked)
    }

    /// How many addresses there are to pick from, at most 32; zero when none may be used.
    #[must_use]
    pub fn count(&self) -> usize {
        let at = now();
        self.state.with(|state| match state {
            State::Literal(_) => 1,
            State::Known { addresses, stale_until, .. } if at < *stale_until => addresses.len(),
            _ => 0,
        })
    }

    /// Tells what is known about the host now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status_at(now())
    }

    fn status_at(&self, at: Instant) -> Status {
        self.state.with(|state| match *state {
            State::Unresolved => Status::Unresolved,
            State::Literal(_) => Status::Fresh { until: None },
            State::Known { fresh_until, .. } if at < fresh_until => Status::Fresh { until: Some(fresh_until) },
            State::Known { stale_until, error, .. } if at < stale_until => Status::Stale { until: stale_until, error },
            State::Known { error, .. } => Status::Failed(error.unwrap_or(ResolveError::Timeout)),
            State::Failed(error) => Status::Failed(error),
        })
    }

    pub(super) fn load(&self) -> Arc<State> {
        self.state.load()
    }

    pub(super) fn store(&self, state: State) {
        self.state.store(state);
    }
}

impl State {
    /// The state after an answer of which every address passed the guard.
    pub(super) fn known(ips: &[IpAddr], port: u16, at: Instant, life: Lives) -> Self {
        let addresses = ips.iter().take(ADDRESSES_MAX).map(|&ip| SocketAddr::new(ip, port)).collect();
        let fresh_until = at + life.fresh;
        Self::Known { addresses, fresh_until, stale_until: fresh_until + life.stale, error: None }
    }

    /// The state after a lookup that gave nothing usable.
    ///
    /// A name server in trouble leaves the last good answer in use until it is too old. A denied answer does not: the name
    /// now points where we must not go, and what it pointed to before is nobody's promise any more.
    pub(super) fn after(&self, failure: ResolveError, at: Instant) -> Self {
        match self {
            Self::Known { addresses, fresh_until, stale_until, .. }
                if at < *stale_until && !matches!(failure, ResolveError::Denied(_)) =>
            {
                Self::Known {
                    addresses: Arc::clone(addresses),
                    fresh_until: *fresh_until,
                    stale_until: *stale_until,
                    error: Some(failure),
                }
            }
            _ => Self::Failed(failure),
        }
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Known { addresses, .. } => addresses,
            _ => &[],
        }
    }
}

/// How long an answer is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lives {
    /// Until a newer answer is due.
    pub(super) fresh: Duration,
    /// How much longer while no newer answer can be had.
    pub(super) stale: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::egress::{Rules, UrlError};

    const LIVES: Lives = Lives { fresh: Duration::from_secs(60), stale: Duration::from_secs(300) };

    fn addresses(state: State) -> Addresses {
        let guard = Arc::new(Guard::new(Rules::default(), Vec::new()));
        let addresses = Addresses::new(guard, Scheme::Https, None);
        addresses.store(state);
        addresses
    }

    fn known(ips: &[&str], at: Instant) -> State {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        State::known(&ips, 443, at, LIVES)
    }

    #[test]
    fn turns_go_round_all_addresses() {
        let at = now();
        let addresses = addresses(known(&["1.1.1.1", "1.0.0.1", "2606:4700::1"], at));
        let picked: Vec<String> =
            [0, 1, 2, 3, usize::MAX].iter().map(|&turn| addresses.pick_at(turn, at).unwrap().to_string()).collect();
        assert_eq!(picked, ["1.1.1.1:443", "1.0.0.1:443", "[2606:4700::1]:443", "1.1.1.1:443", "1.1.1.1:443"]);
    }

    #[test]
    fn answer_ages_from_fresh_over_stale_to_failed() {
        let at = now();
        let after = |seconds| at + Duration::from_secs(seconds);
        let good = known(&["1.1.1.1"], at);
        let failing = good.after(ResolveError::Server, after(50));
        for (name, state, seconds, status, usable) in [
            ("new", &good, 0, Status::Fresh { until: Some(after(60)) }, true),
            ("last fresh", &good, 59, Status::Fresh { until: Some(after(60)) }, true),
            ("late", &good, 60, Status::Stale { until: after(360), error: None }, true),
            ("never refreshed", &good, 360, Status::Failed(ResolveError::Timeout), false),
            ("failing while fresh", &failing, 59, Status::Fresh { until: Some(after(60)) }, true),
            ("failing", &failing, 359, Status::Stale { until: after(360), error: Some(ResolveError::Server) }, true),
            ("failed for long", &failing, 360, Status::Failed(ResolveError::Server), false),
            ("unresolved", &State::Unresolved, 0, Status::Unresolved, false),
        ] {
            let addresses = addresses(state.clone());
            assert_eq!(addresses.status_at(after(seconds)), status, "{name}");
            assert_eq!(addresses.pick_at(0, after(seconds)).is_some(), usable, "{name}");
        }
    }

    #[test]
    fn failure_keeps_a_good_answer_and_denial_does_not() {
        let at = now();
        let late = at + Duration::from_secs(360);
        let good = known(&["1.1.1.1"], at);
        let denied = ResolveError::Denied(EgressError::Url(UrlError::HostName));
        for (name, before, failure, when, kept) in [
            ("NXDOMAIN", &good, ResolveError::NotFound, at, true),
            ("no address", &good, ResolveError::NoAddress, at, true),
            ("SERVFAIL", &good, ResolveError::Server, at, true),
            ("timeout", &good, ResolveError::Timeout, at, true),
            ("unreachable", &good, ResolveError::Unreachable, at, true),
            ("denied", &good, denied, at, false),
            ("too old", &good, ResolveError::Server, late, false),
            ("never known", &State::Unresolved, ResolveError::Server, at, false),
            ("denied before", &State::Failed(denied), ResolveError::Server, at, false),
        ] {
            let next = before.after(failure, when);
            assert_eq!(matches!(next, State::Known { .. }), kept, "{name}: {next:?}");
            // Failing again and again never lengthens the life of what is kept.
            assert_eq!(addresses(next.after(failure, when)).pick_at(0, late), None, "{name}");
        }
    }

    #[test]
    fn every_pick_asks_the_guard() {
        let at = now();
        assert_eq!(addresses(known(&["127.0.0.1"], at)).pick_at(0, at), None);
        assert_eq!(addresses(State::Literal("10.0.0.1:443".parse().unwrap())).pick_at(0, at), None);
    }

    #[test]
    fn long_answer_is_cut_to_its_bound() {
        let ips = vec!["1.1.1.1".parse().unwrap(); 500];
        assert_eq!(State::known(&ips, 443, now(), LIVES).addresses().len(), ADDRESSES_MAX);
    }
}

//! The egress guard: where this process may connect to.
//!
//! Every destination that a tenant can write passes here twice: as text when a configuration is checked, and as address
//! before each new connection. Deny is the default; an administrator's list is the only way to a private network, and to
//! plain HTTP. Nothing here resolves names: that is `resolve.rs`, which keeps what it learned only if all of it passes.

#[cfg(test)]
mod address_tests;
mod bound;
#[cfg(test)]
mod form_tests;
mod range;
#[cfg(test)]
mod tests;
mod url;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use smallvec::SmallVec;
use thiserror::Error;

use crate::base::{Cidr, Swap};

pub use bound::{BoundOrigin, BoundOriginError};
pub use url::{BaseUrl, Host, Scheme, URL_BYTES_MAX, UrlError};

/// Ports that need no administrator: HTTPS, HTTP, the range that model servers use, and Ollama's.
const PORTS_OPEN: [(u16, u16); 4] = [(443, 443), (80, 80), (8_000, 8_999), (11_434, 11_434)];

/// A set of ports: `any`, or numbers and ranges such as `443,8000-8999`; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(SmallVec<[(u16, u16); 2]>);

/// The text is not a set of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("ports must be `any`, or numbers 1 to 65535 and ranges such as `443,8000-8999`")]
pub struct PortsError;

impl Ports {
    /// Every port, 1 to 65535.
    #[must_use]
    pub fn any() -> Self {
        Self(smallvec::smallvec![(1, u16::MAX)])
    }

    /// One port.
    #[must_use]
    pub fn one(port: u16) -> Self {
        Self(smallvec::smallvec![(port, port)])
    }

    /// Tells whether `port` is in the set. Port 0 never is.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        port != 0 && within(&self.0, port)
    }
}

fn within(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|&(first, last)| first <= port && port <= last)
}

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "any" {
            return Ok(Self::any());
        }
        let number = |digits: &str| -> Result<u16, PortsError> {
            let digits = digits.trim();
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(PortsError);
            }
            digits.parse().ok().filter(|&p| p > 0).ok_or(PortsError)
        };
        let mut ranges = SmallVec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(PortsError);
            }
            ranges.push((first, last));
        }
        Ok(Self(ranges))
    }
}

/// One line of the administrator's list: these addresses on these ports may be reached, with `http` too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// The addresses.
    pub cidr: Cidr,
    /// The ports.
    pub ports: Ports,
}

/// What an administrator opened. The default opens nothing.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Private networks, and hosts that speak plain HTTP.
    pub allow: Vec<Allow>,
    /// Ports of public addresses beyond 443, 80, 8000-8999 and 11434.
    pub ports: Option<Ports>,
}

/// Decides where this process may connect to. Share it by `Arc`.
pub struct Guard {
    rules: Rules,
    /// What an administrator opened while the process runs.
    opened: Swap<Vec<Allow>>,
    own_listeners: Vec<SocketAddr>,
    local_addresses: LocalAddresses,
}

/// Names the addresses of this machine, for listeners on `0.0.0.0` and `[::]`. `None` if they cannot be read.
type LocalAddresses = fn() -> Option<Vec<IpAddr>>;

/// Why a destination is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EgressError {
    /// The text is not a URL of the one accepted form.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A port that nobody opened for this address.
    #[error("port {port} is not allowed; open are 443, 80, 8000-8999, 11434 and what an administrator listed")]
    Port {
        /// The port asked for.
        port: u16,
    },
    /// Plain HTTP to an address that no administrator listed.
    #[error("`http` needs an address and port that an administrator allowed; use `https`")]
    Plain,
    /// An address in a range that is denied by default.
    #[error("address {address} is not allowed: {range}")]
    Range {
        /// The address asked for; it may carry the denied one inside.
        address: IpAddr,
        /// What the range is, such as `loopback, 127.0.0.0/8`.
        range: &'static str,
    },
    /// One of this process's own listeners.
    #[error("address {address} is a listener of this gateway")]
    OwnListener {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The name has no address at all.
    #[error("the name has no address")]
    NoAddress,
}

impl Guard {
    /// Creates the guard from the administrator's rules and the addresses that this process listens on.
    ///
    /// A listener on `0.0.0.0` or `[::]` stands for every address of this machine with that port.
    #[must_use]
    pub fn new(rules: Rules, own_listeners: Vec<SocketAddr>) -> Self {
        Self { rules, opened: Swap::new(Vec::new()), own_listeners, local_addresses: interface_addresses }
    }

    /// Replaces what was opened beside the rules that the guard was made with. It counts from the next check on: for
    /// configurations that are compiled and for connections that are opened. Own listeners stay closed.
    pub fn open(&self, opened: Vec<Allow>) {
        self.opened.store(opened);
    }

    /// Parses the text of an upstream URL and refuses what can never pass.
    ///
    /// A host that is an address is checked at once. A name passes only as text here: its addresses are checked by
    /// [`Guard::permit_all`] each time they are learned and by [`Guard::permit`] at each connection.
    pub fn parse(&self, url: &str) -> Result<BaseUrl, EgressError> {
        let url = url::parse(url)?;
        if let Some(address) = url.literal() {
            self.permit(url.scheme(), SocketAddr::new(address, url.port()))?;
            return Ok(url);
        }
        let port = url.port();
        let listed = self.any_allowed(|allow| allow.ports.contains(port));
        if url.scheme() == Scheme::Http && !listed {
            return Err(EgressError::Plain);
        }
        if !listed && !self.port_open(port) {
            return Err(EgressError::Port { port });
        }
        Ok(url)
    }

    /// Tells whether a connection to exactly this address may be opened.
    pub fn permit(&self, scheme: Scheme, address: SocketAddr) -> Result<(), EgressError> {
        let (ip, port) = (address.ip(), address.port());
        let inner: SmallVec<[IpAddr; 4]> = match ip {
            IpAddr::V4(_) => SmallVec::new(),
            IpAddr::V6(v6) => range::embedded(v6).into_iter().map(IpAddr::V4).collect(),
        };
        for one in std::iter::once(ip).chain(inner.iter().copied()) {
            if self.is_own(SocketAddr::new(one, port)) {
                return Err(EgressError::OwnListener { address });
            }
        }
        let listed = self.listed(ip, port);
        for one in std::iter::once(ip).chain(inner) {
            match range::denied_range(one) {
                Some(range) if !self.listed(one, port) => {
                    return Err(EgressError::Range { address: ip, range });
                }
                _ => {}
            }
        }
        if listed {
            return Ok(());
        }
        if scheme == Scheme::Http {
            return Err(EgressError::Plain);
        }
        if !self.port_open(port) {
            return Err(EgressError::Port { port });
        }
        Ok(())
    }

    /// Tells whether every one of the addresses that `url`'s name has may be connected to. One that may not refuses all.
    pub fn permit_all(&self, url: &BaseUrl, addresses: &[IpAddr]) -> Result<(), EgressError> {
        if addresses.is_empty() {
            return Err(EgressError::NoAddress);
        }
        addresses.iter().try_for_each(|&ip| self.permit(url.scheme(), SocketAddr::new(ip, url.port())))
    }

    fn listed(&self, address: IpAddr, port: u16) -> bool {
        self.any_allowed(|allow| allow.cidr.contains(address) && allow.ports.contains(port))
    }

    fn any_allowed(&self, matches: impl Fn(&Allow) -> bool) -> bool {
        self.rules.allow.iter().any(&matches) || self.opened.with(|opened| opened.iter().any(&matches))
    }

    fn port_open(&self, port: u16) -> bool {
        let more = |ports: &Ports| ports.contains(port);
        within(&PORTS_OPEN, port) || self.rules.ports.as_ref().is_some_and(more)
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        self.own_listeners.iter().filter(|own| own.port() == address.port()).any(|own| {
            // The kernel reads a connection to the unspecified address as one to loopback.
            own.ip() == ip || ip.is_unspecified() || (own.ip().is_unspecified() && self.is_local(ip))
        })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        // Unknown means yes: a guard that cannot see must not open.
        address.is_loopback() || (self.local_addresses)().is_none_or(|addresses| addresses.contains(&address))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("rules", &self.rules)
            .field("own_listeners", &self.own_listeners)
            .finish_non_exhaustive()
    }
}

/// Reads the addresses of all interfaces now, because they come and go while the process runs.
fn interface_addresses() -> Option<Vec<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let mut addresses = Vec::new();
    for address in interfaces.filter_map(|interface| interface.address) {
        if let Some(v4) = address.as_sockaddr_in() {
            addresses.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            addresses.push(IpAddr::V6(v6.ip()));
        }
    }
    Some(addresses)
}

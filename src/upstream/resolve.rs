//! Keeps the addresses of all upstream hosts in use up to date.
//!
//! Runs on the admin thread's tokio; workers only read [`Addresses`]. This is the one file that names hickory. Its cache
//! is off, because it would hand out the old answer just when we look for a newer one. A name goes through the egress
//! guard as a whole: one refused address refuses all, so that no answer can mix a decoy with the address it is after.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr, UdpSocket},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{op::ResponseCode, rr::Name},
    system_conf::read_system_conf,
};
use tokio::{sync::Notify, task::JoinSet, time::sleep};

use super::{
    address::{Addresses, Lives, ResolveError, State},
    egress::{BaseUrl, Guard, Host, Scheme},
};
use crate::base::{Instant, now};

/// Most lookups on their way at once.
const LOOKUPS_MAX: usize = 64;
/// How often the system's list of name servers and hosts file are read again.
const SYSTEM_LIFE: Duration = Duration::from_secs(60);

/// What the resolver did, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A name has other addresses than before, and the egress guard passed all of them.
    Resolved {
        /// The name.
        host: Box<str>,
        /// Its addresses with the port of the upstream.
        addresses: Vec<SocketAddr>,
    },
    /// A lookup gave nothing usable.
    Failed {
        /// The name.
        host: Box<str>,
        /// What happened; [`ResolveError::Denied`] names the address.
        error: ResolveError,
        /// Whether older addresses stay in use.
        kept: bool,
        /// When the next lookup is due.
        retry_in: Duration,
    },
    /// Nobody uses the name any more.
    Forgotten {
        /// The name.
        host: Box<str>,
    },
    /// The system's name server configuration cannot be read; 127.0.0.1 is asked, as the C library does.
    SystemUnreadable,
}

/// Keeps addresses up to date. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    guard: Arc<Guard>,
    source: Source,
    timing: Timing,
    has_route: fn(SocketAddr) -> bool,
    observe: Box<dyn Fn(Event) + Send + Sync>,
    hosts: Mutex<Hosts>,
    added: Notify,
    changed: Notify,
}

#[derive(Default)]
struct Hosts {
    known: HashMap<Key, Weak<Addresses>>,
    new: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    scheme: Scheme,
    name: Box<str>,
    port: u16,
}

struct Entry {
    key: Key,
    addresses: Weak<Addresses>,
    failures: u32,
}

/// Where answers come from, and the library's resolver made from it.
struct Source {
    /// These name servers; the system's when there are none.
    servers: Vec<SocketAddr>,
    made: Mutex<Option<(Instant, TokioResolver)>>,
}

#[derive(Debug, Clone, Copy)]
struct Timing {
    ttl_min: Duration,
    ttl_max: Duration,
    stale: Duration,
    retry_min: Duration,
    retry_max: Duration,
    lookup_max: Duration,
}

/// Bounds of the time for which an answer is used, whatever its name server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlBounds {
    /// Shortest time.
    pub min: Duration,
    /// Longest time; counts as `min` when it is shorter.
    pub max: Duration,
}

const TIMING: Timing = Timing {
    ttl_min: Duration::from_secs(1),
    ttl_max: Duration::from_secs(300),
    stale: Duration::from_secs(300),
    retry_min: Duration::from_secs(1),
    retry_max: Duration::from_secs(30),
    lookup_max: Duration::from_secs(20),
};

struct Answer {
    ips: Vec<IpAddr>,
    ttl: Duration,
}

impl Resolver {
    /// Creates a resolver that asks these name servers; when none is given, the system's, with the system's search list.
    /// The hosts file comes first in either case.
    ///
    /// `observe` is called on the thread that runs [`Resolver::run`] and must not block.
    pub fn new(
        guard: Arc<Guard>,
        servers: Vec<SocketAddr>,
        ttl: TtlBounds,
        observe: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self {
        let mut inner = Inner::new(guard, servers, Box::new(observe));
        inner.timing = TIMING.bounded(ttl);
        Self(Arc::new(inner))
    }

    /// As [`Resolver::new`] without bounds on the time for which an answer is used.
    #[cfg(test)]
    pub fn with_name_servers(
        guard: Arc<Guard>,
        servers: Vec<SocketAddr>,
        observe: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner::new(guard, servers, Box::new(observe))))
    }

    /// Returns the addresses of an upstream's host, which stay up to date for as long as somebody holds them.
    ///
    /// May be called from any thread. The first lookup of a new name starts at once when [`Resolver::run`] runs.
    pub fn track(&self, url: &BaseUrl) -> Arc<Addresses> {
        let guard = Arc::clone(&self.0.guard);
        let name = match (url.host(), url.literal()) {
            (Host::Name(name), _) => name.clone(),
            (_, ip) => {
                let literal = ip.map(|ip| SocketAddr::new(ip, url.port()));
                return Arc::new(Addresses::new(guard, url.scheme(), literal));
            }
        };
        let key = Key { scheme: url.scheme(), name, port: url.port() };
        let mut hosts = self.0.hosts();
        if let Some(addresses) = hosts.known.get(&key).and_then(Weak::upgrade) {
            return addresses;
        }
        let addresses = Arc::new(Addresses::new(guard, url.scheme(), None));
        let weak = Arc::downgrade(&addresses);
        hosts.known.insert(key.clone(), Weak::clone(&weak));
        hosts.new.push(Entry { key, addresses: weak, failures: 0 });
        drop(hosts);
        self.0.added.notify_one();
        addresses
    }

    /// Waits until the first lookup of each of these has ended, well or badly. The caller bounds the time.
    pub async fn first_lookups(&self, all: &[Arc<Addresses>]) {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if all.iter().all(|addresses| *addresses.load() != State::Unresolved) {
                return;
            }
            changed.await;
        }
    }

    /// Looks names up again before their answers end, until `shutdown` ends.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut due: BTreeMap<(Instant, u64), Entry> = BTreeMap::new();
        let mut running = JoinSet::new();
        let mut serial = 0_u64;
        loop {
            let new = std::mem::take(&mut self.0.hosts().new);
            for entry in new {
                serial += 1;
                due.insert((now(), serial), entry);
            }
            while running.len() < LOOKUPS_MAX
                && let Some(first) = due.first_entry()
                && first.key().0 <= now()
            {
                running.spawn(Arc::clone(&self.0).refresh(first.remove()));
            }
            let next = due.first_key_value().map(|((at, _), _)| *at).filter(|_| running.len() < LOOKUPS_MAX);
            tokio::select! {
                () = &mut shutdown => return,
                () = self.0.added.notified() => {}
                Some(ended) = running.join_next() => {
                    if let Ok(Some((entry, wait))) = ended {
                        serial += 1;
                        due.insert((now() + wait, serial), entry);
                    }
                }
                () = wait_until(next) => {}
            }
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep(at.saturating_duration_since(now())).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    fn new(guard: Arc<Guard>, servers: Vec<SocketAddr>, observe: Box<dyn Fn(Event) + Send + Sync>) -> Self {
        Self {
            guard,
            source: Source { servers, made: Mutex::default() },
            timing: TIMING,
            has_route,
            observe,
            hosts: Mutex::default(),
            added: Notify::new(),
            changed: Notify::new(),
        }
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks one name up, publishes what came, and says when the next lookup is due. `None` when nobody uses the name.
    async fn refresh(self: Arc<Self>, mut entry: Entry) -> Option<(Entry, Duration)> {
        if entry.addresses.strong_count() == 0 {
            self.forget(&entry.key);
            return None;
        }
        let outcome = self.look_up(&entry.key).await;
        let Some(addresses) = entry.addresses.upgrade() else {
            self.forget(&entry.key);
            return None;
        };
        let host = entry.key.name.clone();
        let before = addresses.load();
        match outcome {
            Ok(answer) => {
                entry.failures = 0;
                let fresh = answer.ttl.clamp(self.timing.ttl_min, self.timing.ttl_max);
                let lives = Lives { fresh, stale: self.timing.stale };
                let state = State::known(&answer.ips, entry.key.port, now(), lives);
                if state.addresses() != before.addresses() {
                    (self.observe)(Event::Resolved { host, addresses: state.addresses().to_vec() });
                }
                addresses.store(state);
                self.changed.notify_waiters();
                Some((entry, early(fresh)))
            }
            Err(error) => {
                let wait = spread(self.timing.back_off(entry.failures));
                entry.failures = entry.failures.saturating_add(1);
                let state = before.after(error, now());
                let kept = !state.addresses().is_empty();
                addresses.store(state);
                self.changed.notify_waiters();
                (self.observe)(Event::Failed { host, error, kept, retry_in: wait });
                Some((entry, wait))
            }
        }
    }

    fn forget(&self, key: &Key) {
        let mut hosts = self.hosts();
        // Somebody may have asked for the name again in the meantime; that is a new entry under the same key.
        if hosts.known.get(key).is_some_and(|known| known.strong_count() == 0) {
            hosts.known.remove(key);
            drop(hosts);
            (self.observe)(Event::Forgotten { host: key.name.clone() });
        }
    }

    async fn look_up(&self, key: &Key) -> Result<Answer, ResolveError> {
        let lookup = self.ask(&key.name);
        let mut answer = match tokio::time::timeout(self.timing.lookup_max, lookup).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(ResolveError::Timeout),
        };
        if answer.ips.is_empty() {
            return Err(ResolveError::NoAddress);
        }
        for &ip in &answer.ips {
            self.guard.permit(key.scheme, SocketAddr::new(ip, key.port)).map_err(ResolveError::Denied)?;
        }
        // Most networks have no IPv6: without this, every other connection to a dual-stack name would fail first.
        let reachable = |ip: &IpAddr| (self.has_route)(SocketAddr::new(*ip, key.port));
        if answer.ips.iter().any(reachable) {
            answer.ips.retain(reachable);
        }
        Ok(answer)
    }

    async fn ask(&self, name: &str) -> Result<Answer, ResolveError> {
        let resolver = self.resolver()?;
        let name = Name::from_ascii(name).map_err(|_| ResolveError::NotFound)?;
        // A task of its own: should the library panic, this name fails and the others go on.
        let task = tokio::spawn(async move { resolver.lookup_ip(name).await });
        let lookup = task.await.map_err(|_| ResolveError::Unreachable)?.map_err(|error| reason(&error))?;
        // Told in the library's own kind of moment.
        let ttl = lookup.valid_until().saturating_duration_since(std::time::Instant::now());
        Ok(Answer { ips: lookup.iter().collect(), ttl })
    }

    fn resolver(&self) -> Result<TokioResolver, ResolveError> {
        let mut made = self.source.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, resolver)) = &*made
            && now() < *at + SYSTEM_LIFE
        {
            return Ok(resolver.clone());
        }
        let (config, options) = match self.source.servers.as_slice() {
            servers @ [_, ..] => {
                let servers = servers.iter().map(|&server| name_server(server)).collect();
                (ResolverConfig::from_name_servers(servers), ResolverOpts::default())
            }
            [] => read_system_conf().unwrap_or_else(|_| {
                (self.observe)(Event::SystemUnreadable);
                let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
                (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
            }),
        };
        let resolver = build(config, options).map_err(|_| ResolveError::Unreachable)?;
        *made = Some((now(), resolver.clone()));
        Ok(resolver)
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    config
}

fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, NetError> {
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // A server that answers for one family only must not hold the other's answer back for long.
    options.timeout = options.timeout.min(Duration::from_secs(3));
    options.attempts = options.attempts.min(2);
    options.try_tcp_on_error = true;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

fn reason(error: &NetError) -> ResolveError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => ResolveError::NotFound,
            ResponseCode::NoError => ResolveError::NoAddress,
            _ => ResolveError::Server,
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => ResolveError::NotFound,
        NetError::Dns(_) => ResolveError::Server,
        NetError::Timeout => ResolveError::Timeout,
        _ => ResolveError::Unreachable,
    }
}

/// Tells whether the kernel knows a way to an address. Connecting a datagram socket sends nothing.
fn has_route(address: SocketAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_ok())
}

impl Timing {
    fn bounded(self, ttl: TtlBounds) -> Self {
        // `clamp` panics when the bounds are crossed.
        Self { ttl_min: ttl.min, ttl_max: ttl.max.max(ttl.min), ..self }
    }

    /// Doubles from `retry_min` to `retry_max` with each failure in a row.
    fn back_off(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.retry_min.saturating_mul(factor).min(self.retry_max)
    }
}

/// 70 to 90 % of an answer's life, so that the next answer is there before this one ends.
fn early(life: Duration) -> Duration {
    life * fastrand::u32(70..=90) / 100
}

/// 80 to 120 % of a wait, so that many names do not come back in one moment.
fn spread(wait: Duration) -> Duration {
    wait * fastrand::u32(80..=120) / 100
}

#[cfg(test)]
mod tests;

//! Everything that two threads can touch is a field here.
//!
//! Workers read the snapshot and the settings, write their own counters and push records; the admin thread publishes,
//! sums and drains. No lock is taken on the way of a request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use crate::{
    base::Cidr,
    http::{DownstreamLimits, TlsConnector},
    limit::Meters,
    metrics::{Registry, Series},
    snapshot::{Handle, Snapshot},
    tokens::Counter,
    upstream::PoolLimits,
    usage::{PayloadLimits, PayloadRoom, Queue, RequestRows},
    wire,
};

/// Connections that may wait to be taken over by one worker.
const INBOX_MAX: usize = 1024;
/// Slots of the per-address counts; a power of two.
const ADDRESS_SLOTS: usize = 16 * 1024;

/// What the data path is bounded by. Fixed from start to end.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bounds of a client's connection.
    pub downstream: DownstreamLimits,
    /// Requests that one connection may carry.
    pub keepalive_requests: u32,
    /// Bounds of a JSON body.
    pub json: wire::Limits,
    /// Bounds of a stream.
    pub sse: wire::SseLimits,
    /// Largest answer that is no stream, in bytes.
    pub response_bytes_max: usize,
    /// Bounds of the pools of provider connections.
    pub pool: PoolLimits,
    /// Client connections of the whole process.
    pub connections_max: u32,
    /// Client connections from one address.
    pub connections_per_address_max: u32,
    /// Time that streams get to finish at a drain.
    pub drain_grace: Duration,
    /// Time that streams get to finish when too many later configurations of their project are in use.
    pub replaced_grace: Duration,
    /// Bounds of what is kept of prompts and answers.
    pub payloads: PayloadLimits,
    /// Which requests become rows of their own.
    pub rows: RequestRows,
}

/// State shared by the workers and the admin thread.
pub struct Shared {
    /// The current snapshot.
    pub snapshot: Handle,
    /// Finished requests on their way to the admin thread.
    pub queue: Arc<Queue>,
    /// Memory of prompts and answers that are kept.
    pub payloads: Arc<PayloadRoom>,
    /// All counters.
    pub registry: Arc<Registry>,
    /// The counters of limits.
    pub meters: Arc<Meters>,
    /// Rung by a worker whose request waits for a lease.
    pub ledger_bell: Notify,
    /// Counts the tokens of requests that are near a limit.
    pub counter: Counter,
    /// Counters of requests that reached no route.
    pub unrouted: Arc<Series>,
    /// One door a worker.
    pub doors: Box<[Door]>,
    /// Opens TLS to providers.
    pub tls: TlsConnector,
    /// Who is believed when it says whom it asks for.
    pub trusted_proxies: Box<[Cidr]>,
    /// The bounds.
    pub settings: Settings,
    /// Open client connections by hashed address. Two addresses may share a slot: the limit is then reached earlier.
    addresses: Box<[AtomicU32]>,
    draining: AtomicBool,
    stopping: AtomicBool,
    outdating: AtomicBool,
}

/// What [`Shared`] is made of.
pub struct Parts {
    /// The first snapshot.
    pub snapshot: Handle,
    /// The queue of records.
    pub queue: Arc<Queue>,
    /// All counters.
    pub registry: Arc<Registry>,
    /// The counters of limits.
    pub meters: Arc<Meters>,
    /// One door a worker.
    pub doors: Vec<Door>,
    /// Opens TLS to providers.
    pub tls: TlsConnector,
    /// Networks of the proxies in front of this process whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
}

/// What others may tell a worker.
pub struct Door {
    /// Open client connections of the worker, those in the inbox included.
    pub open: AtomicU32,
    /// Accepted connections handed to the worker.
    pub inbox: ArrayQueue<(std::net::TcpStream, SocketAddr)>,
    /// Written with one byte to make the worker look.
    pub bell: std::os::unix::net::UnixDatagram,
}

impl Door {
    /// Creates a door and the socket on which its worker hears the bell.
    ///
    /// # Errors
    /// The error of `socketpair`.
    pub fn new() -> std::io::Result<(Self, std::os::unix::net::UnixDatagram)> {
        let (bell, ear) = std::os::unix::net::UnixDatagram::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok((Self { open: AtomicU32::new(0), inbox: ArrayQueue::new(INBOX_MAX), bell }, ear))
    }

    /// Makes the worker look. A full socket means that it will look anyway.
    pub fn ring(&self) {
        let _ = self.bell.send(&[1]);
    }
}

impl Shared {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let addresses = (0..ADDRESS_SLOTS).map(|_| AtomicU32::new(0)).collect();
        Self {
            snapshot: parts.snapshot,
            queue: parts.queue,
            payloads: Arc::new(PayloadRoom::new(settings.payloads)),
            unrouted: parts.registry.series(Arc::default()),
            registry: parts.registry,
            meters: parts.meters,
            ledger_bell: Notify::new(),
            counter: Counter::default(),
            doors: parts.doors.into(),
            tls: parts.tls,
            trusted_proxies: parts.trusted_proxies.iter().map(|network| network.normalised()).collect(),
            settings,
            addresses,
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            outdating: AtomicBool::new(false),
        }
    }

    /// Client connections open now, over all workers.
    #[must_use]
    pub fn open_connections(&self) -> u32 {
        self.doors.iter().map(|door| door.open.load(Ordering::Relaxed)).sum()
    }

    /// Counts a connection of an address; false (and nothing counted) when it has too many.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> bool {
        let Some(slot) = self.slot(address) else {
            return true;
        };
        if slot.fetch_add(1, Ordering::Relaxed) < self.settings.connections_per_address_max {
            return true;
        }
        slot.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Ends what [`Self::enter`] counted.
    pub fn leave(&self, address: IpAddr) {
        if let Some(slot) = self.slot(address) {
            slot.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn slot(&self, address: IpAddr) -> Option<&AtomicU32> {
        let bits = match address {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            // The first 64 bits name a network; a host can use any of the rest.
            IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(0),
        };
        let hash = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.addresses.get(usize::try_from(hash).unwrap_or(0) % ADDRESS_SLOTS)
    }

    /// Makes `next` current and rings every worker, so that an idle one confirms it at once. Called by the admin thread
    /// alone; it cannot fail.
    pub fn publish(&self, next: Snapshot) {
        self.snapshot.publish(next);
        self.doors.iter().for_each(Door::ring);
    }

    /// Starts the drain: no new connections, no keep-alive, `/readyz` fails first.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.doors.iter().for_each(Door::ring);
    }

    /// Ends the grace time: whatever still runs is cut with an error.
    pub fn stop(&self) {
        self.draining.store(true, Ordering::Release);
        self.stopping.store(true, Ordering::Release);
        self.doors.iter().for_each(Door::ring);
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Says whether workers have to look for streams whose tenure is over.
    pub fn set_outdating(&self, outdating: bool) {
        self.outdating.store(outdating, Ordering::Release);
    }

    /// Whether there may be streams whose tenure is over. Workers ask once a second.
    #[must_use]
    pub fn is_outdating(&self) -> bool {
        self.outdating.load(Ordering::Acquire)
    }

    /// Whether the grace time is over.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::net::UnixDatagram;

    use crate::http::HeadLimits;

    use super::*;

    /// The shared state of a process with so many workers, and what they would hear.
    pub(crate) fn shared(workers: usize, first: Snapshot, registry: Arc<Registry>) -> (Arc<Shared>, Vec<UnixDatagram>) {
        shared_with(workers, first, (registry, Arc::new(Meters::in_memory()), Queue::new(8)))
    }

    /// The same with these counters and this queue.
    pub(crate) fn shared_with(
        workers: usize,
        first: Snapshot,
        (registry, meters, queue): (Arc<Registry>, Arc<Meters>, Queue),
    ) -> (Arc<Shared>, Vec<UnixDatagram>) {
        static ROOT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let root = || rcgen::generate_simple_self_signed(["root.test".to_owned()]).unwrap().cert.pem();
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, ROOT.get_or_init(root)).unwrap();
        let (doors, ears) = (0..workers).map(|_| Door::new().unwrap()).unzip();
        let parts = Parts {
            snapshot: Handle::new(first),
            queue: Arc::new(queue),
            registry,
            meters,
            doors,
            tls: TlsConnector::from_pem_file(&roots).unwrap(),
            trusted_proxies: Vec::new(),
        };
        (Arc::new(Shared::new(parts, settings())), ears)
    }

    fn settings() -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            downstream: DownstreamLimits {
                head: HeadLimits { bytes_max: 8_192, fields_max: 64 },
                head_timeout: second,
                idle_timeout: second,
                body_bytes_max: 1 << 20,
                form_bytes_max: 1 << 20,
                body_timeout: second,
                body_rate_min: 1,
                body_rate_grace: second,
                write_timeout: second,
            },
            keepalive_requests: 100,
            json: wire::Limits::default(),
            sse: wire::SseLimits::default(),
            response_bytes_max: 1 << 20,
            pool: PoolLimits { idle_max: 1, idle_timeout: second, age_max: second },
            connections_max: 100,
            connections_per_address_max: 100,
            drain_grace: second,
            replaced_grace: second,
            rows: RequestRows::All,
            payloads: PayloadLimits { bytes_max: 1 << 10, room_bytes_max: 1 << 20 },
        }
    }

    #[test]
    fn every_worker_hears_of_a_new_snapshot() {
        let first = || crate::snapshot::Edit::empty(crate::base::KeyHasher::Plain);
        let (shared, ears) = shared(2, first().finish(1), Arc::new(Registry::new(2)));
        let mut byte = [0u8; 8];
        assert!(ears.iter().all(|ear| ear.recv(&mut byte).is_err()), "nobody rang yet");
        shared.publish(first().finish(2));
        assert!(ears.iter().all(|ear| ear.recv(&mut byte).is_ok()));
        assert_eq!(shared.snapshot.load().generation(), 2);
    }
}

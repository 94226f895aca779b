//! Checked server settings and key entries.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{ByteSize, Cidr, Digest, Secret, UnixTime};

use super::problem::At;

/// Settings of one process: `millrace.yaml`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address of the data plane. Default `0.0.0.0:9000`.
    pub listen: SocketAddr,
    /// Address of the admin plane. Default `127.0.0.1:9001`.
    pub admin_listen: SocketAddr,
    /// Lets the admin plane listen on an address that is not loopback. Default `false`.
    pub admin_allow_remote: bool,
    /// Names accepted in `Host` by the admin plane besides its own addresses, in small letters. Default: none.
    pub admin_hosts: Vec<String>,
    /// Networks of the proxies in front of this process that are believed when they say whom they ask for. Default: none.
    pub trusted_proxies: Vec<Cidr>,
    /// Name of the organization that owns every project of this process. Default `default`.
    pub organization: String,
    /// Folder with one YAML file a project.
    pub projects_dir: Option<At<PathBuf>>,
    /// File with the API keys.
    pub keys_file: Option<At<PathBuf>>,
    /// File with prices of models, which win over those that are built in.
    pub prices_file: Option<At<PathBuf>>,
    /// Folder of the store, its master key and the sockets of the edge, made at start with mode 0700. Default
    /// `./millrace-data`.
    pub data_dir: PathBuf,
    /// Secrets that project files may name.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Threads and their driver.
    pub runtime: Runtime,
    /// Limits against clients and providers.
    pub limits: Limits,
    /// Connections to providers.
    pub upstream: Upstream,
    /// Where connections may go beyond the public internet.
    pub egress: Egress,
    /// Which authorities may vouch for providers.
    pub tls_roots: TlsRoots,
    /// TLS and HTTP/2 for clients, if they are offered.
    pub edge: Option<Edge>,
    /// What is logged.
    pub log: Log,
    /// What is stored of requests.
    pub usage: Usage,
    /// The mail server of alerts, if there is one.
    pub mail: Option<MailServer>,
    /// Longest time that open requests get after a stop signal. Default 300 s.
    pub drain_grace: Duration,
    /// Longest time that streams get when too many later configurations of their project are in use. Default 300 s.
    pub replaced_grace: Duration,
}

/// Two listeners that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenerError {
    /// The admin plane would be reached by other machines.
    #[error("the admin plane listens on loopback only, not on {0}")]
    RemoteAdmin(SocketAddr),
    /// One port for both planes.
    #[error("`listen` is {listen} and `admin_listen` is {admin_listen}: one port cannot serve both")]
    SamePort {
        /// The data plane.
        listen: SocketAddr,
        /// The admin plane.
        admin_listen: SocketAddr,
    },
}

impl Server {
    /// Checks the two listeners against each other and the admin plane against the world.
    ///
    /// To be called again when a flag or a variable replaced one of them.
    ///
    /// # Errors
    /// [`ListenerError`] names the addresses.
    pub fn check_listeners(&self) -> Result<(), ListenerError> {
        let (listen, admin_listen) = (self.listen, self.admin_listen);
        if !admin_listen.ip().is_loopback() && !self.admin_allow_remote {
            return Err(ListenerError::RemoteAdmin(admin_listen));
        }
        let any = listen.ip().is_unspecified() || admin_listen.ip().is_unspecified();
        let same_address = any || listen.ip() == admin_listen.ip();
        // Port 0 is a new one each time.
        if same_address && listen.port() == admin_listen.port() && listen.port() != 0 {
            return Err(ListenerError::SamePort { listen, admin_listen });
        }
        Ok(())
    }

    /// Makes relative paths relative to the folder of the settings file.
    pub fn resolve_paths(&mut self, folder: &Path) {
        let join = |path: &mut PathBuf| *path = folder.join(&*path);
        join(&mut self.data_dir);
        for path in [&mut self.projects_dir, &mut self.keys_file, &mut self.prices_file].into_iter().flatten() {
            join(&mut path.value);
        }
        for source in self.secrets.values_mut() {
            if let SecretSource::File(path) = source {
                join(&mut path.value);
            }
        }
        if let TlsRoots::File(path) = &mut self.tls_roots {
            join(&mut path.value);
        }
        for pair in self.edge.iter_mut().flat_map(|edge| &mut edge.certificates) {
            join(&mut pair.cert.value);
            join(&mut pair.key.value);
        }
    }
}

/// The mail server of alerts.
#[derive(Debug, Clone)]
pub struct MailServer {
    /// Its address, which may hold a password.
    pub smtp_url: Secret,
    /// The sender.
    pub from: String,
}

/// TLS and HTTP/2 for clients.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Address that clients call. Default `0.0.0.0:9443`.
    pub listen: SocketAddr,
    /// One or more; the first is for clients that ask for no known name.
    pub certificates: Vec<EdgeCertificate>,
    /// Threads, 1 to 64. Default 1.
    pub threads: u16,
    /// Longest time of a handshake of TLS, 100 ms to 60 s. Default 5 s.
    pub handshake_timeout: Duration,
}

/// A certificate of the edge.
#[derive(Debug, Clone)]
pub struct EdgeCertificate {
    /// PEM file of the certificate and its chain.
    pub cert: At<PathBuf>,
    /// PEM file of the key.
    pub key: At<PathBuf>,
}

/// Where the text of a secret comes from.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// From the environment, already read.
    Value(Secret),
    /// From a file, to be read at start.
    File(At<PathBuf>),
}

/// Threads and their driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// Number of workers, 1 to 256. Absent: as many as the process may use processors, less one for the admin thread
    /// when these are more than two.
    pub workers: Option<u16>,
    /// Whether workers are pinned to cores. Default `auto`.
    pub pin: Pin,
    /// How sockets are waited for. Default `auto`.
    pub driver: Driver,
}

/// Whether workers are pinned to cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pin {
    /// Pinned when there are two workers or more, and a core for each. A core that refuses is no error.
    #[default]
    Auto,
    /// Pinned, or the start fails.
    On,
    /// Not pinned.
    Off,
}

/// How sockets are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// epoll, which needs less processor time a request in our own measurements.
    #[default]
    Auto,
    /// `io_uring`, or the start fails.
    IoUring,
    /// epoll.
    Epoll,
}

/// Limits against clients and providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections. Absent: half the file limit less 500, at most 10,000.
    pub max_connections: Option<u32>,
    /// Open client connections of one address. Default 1,000.
    pub max_connections_per_address: u32,
    /// Bytes of one request head. Default 32 KiB, at most 64 KiB.
    pub header_bytes: ByteSize,
    /// Header lines of one request. Default 100, at most 128.
    pub header_count: u16,
    /// Time for a whole request head. Default 10 s.
    pub header_timeout: Duration,
    /// Bytes of one request body. Default 10 MiB, at most 64 MiB.
    pub body_bytes: ByteSize,
    /// Bytes of one form with audio. Default 25 MiB, at most 100 MiB.
    pub audio_bytes: ByteSize,
    /// Time for a whole request body. Default 30 s.
    pub body_timeout: Duration,
    /// Slowest accepted body, in bytes a second after 5 s; 0 accepts any rate. Default 16 KiB.
    pub body_rate_min_bytes: ByteSize,
    /// Longest time in which a client takes no byte. Default 30 s, at most 300 s.
    pub write_timeout: Duration,
    /// Idle time after which a client connection is closed. Default 60 s.
    pub keepalive_timeout: Duration,
    /// Requests of one client connection. Default 1,000.
    pub keepalive_requests: u32,
    /// Bytes of one plain response of a provider. Default 32 MiB, at most 128 MiB.
    pub response_bytes: ByteSize,
    /// Nesting of one JSON body. Default 64, at most 128.
    pub json_depth: u16,
    /// Bytes of one event of a stream. Default 1 MiB, at most 16 MiB.
    pub sse_event_bytes: ByteSize,
    /// Bytes of one stream. Default 64 MiB.
    pub stream_bytes: ByteSize,
    /// Reads of the admin API a minute and caller. Default 100.
    pub admin_reads_per_minute: u32,
    /// Changes by the admin API a minute and caller. Default 30.
    pub admin_writes_per_minute: u32,
}

/// Connections to providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Idle connections kept per target and worker. Default 64.
    pub pool_idle_max: u32,
    /// Idle time after which a kept connection is closed. Default 55 s.
    pub idle_timeout: Duration,
    /// Age after which a connection takes no new request. Default 10 minutes.
    pub max_age: Duration,
    /// Shortest time for which a resolved address is used. Default 1 s.
    pub dns_ttl_min: Duration,
    /// Longest time for which a resolved address is used. Default 5 minutes.
    pub dns_ttl_max: Duration,
    /// Name servers that are asked; those of the system when empty. At most 8.
    pub dns_servers: Vec<SocketAddr>,
}

/// Where connections may go beyond the public internet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Egress {
    /// Networks that would be refused otherwise, also over plain `http`.
    pub allow: Vec<EgressAllow>,
    /// Ports besides 443, 80, 8000 to 8999 and 11434.
    pub ports: Vec<u16>,
}

/// One allowed network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressAllow {
    /// The network.
    pub network: Cidr,
    /// Ports allowed in it. Empty: every port.
    pub ports: Vec<u16>,
}

/// Which authorities may vouch for providers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TlsRoots {
    /// The operating system's.
    #[default]
    System,
    /// The PEM certificates of a file.
    File(At<PathBuf>),
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// One line a request. Default `true`.
    pub access: bool,
    /// Least severe level of the application log. Default `info`.
    pub level: LogLevel,
}

/// What is stored of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Which requests are stored one by one. Default `sampled`.
    pub request_rows: StoredRows,
    /// Percent of the requests without an error that `sampled` stores. Default 5.
    pub sample_percent: u8,
    /// Most bytes kept of a request, and as many of its answer, where `log_payloads` is on. Default 64 KiB.
    pub payload_bytes: ByteSize,
    /// Most bytes of all payloads together that are not stored yet. Default 32 MiB.
    pub payload_queue_bytes: ByteSize,
}

/// Which requests are stored one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredRows {
    /// Those that failed or were refused.
    Errors,
    /// A share of the others beside them.
    Sampled,
    /// All.
    All,
}

/// Levels of the application log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need a person soon.
    Warn,
    /// What an operator wants to know later.
    #[default]
    Info,
    /// Everything.
    Debug,
}

/// One entry of the keys file: who may call what. The key itself is not in it.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// Name in logs and reports, unique. `millrace key new` takes the public part of the key.
    pub id: At<String>,
    /// Digest of the key, unique.
    pub digest: Digest,
    /// What the key is for.
    pub description: Option<String>,
    /// Slugs of the projects it may call. With exactly one, a bare route name is looked up in it.
    pub projects: Vec<At<String>>,
    /// `project/route` it may call. Absent: every route of its projects.
    pub routes: Option<Vec<At<String>>>,
    /// Whether it works at all. Default `true`.
    pub enabled: bool,
    /// When it stops to work.
    pub expires: Option<UnixTime>,
}

//! What the edge is to be.

use std::{net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};

use super::certificates::Certificates;

/// What the edge is to be.
pub struct Plan {
    /// Where clients connect; does not block.
    pub listener: TcpListener,
    /// The socket of each worker.
    pub sockets: Vec<PathBuf>,
    /// What is shown to clients.
    pub certificates: Arc<Certificates>,
    /// Threads for TLS and HTTP/2.
    pub threads: usize,
    /// Bounds of its connections.
    pub limits: Limits,
    /// Becomes true when the drain begins.
    pub drain: watch::Receiver<bool>,
    /// Told, or dropped, when no client is left.
    pub ended: oneshot::Sender<()>,
}

/// Bounds of the connections of clients.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections in all.
    pub connections_max: u32,
    /// Connections of one address.
    pub connections_per_address_max: u32,
    /// Longest time of a handshake of TLS, and again of the first bytes of HTTP/2.
    pub handshake_timeout: Duration,
    /// Longest time in which a client takes no byte.
    pub write_timeout: Duration,
    /// Longest time without a stream of HTTP/2. Of HTTP/1.1 the worker decides.
    pub idle_timeout: Duration,
    /// Longest time in which a worker sends no byte: more than any of its own deadlines.
    pub worker_silence_max: Duration,
}

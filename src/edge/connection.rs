//! One client of the edge: handshake, then its protocol.

use std::{io, net::SocketAddr, os::fd::AsRawFd as _, path::PathBuf, sync::Arc};

use pingora_core::{
    listeners::tls::Acceptor as TlsAcceptor,
    protocols::{ALPN, GetSocketDigest as _, SocketDigest, Ssl as _, Stream, l4::stream::Stream as Transport},
};
use tokio::{net::TcpStream, sync::watch, time::timeout};

use crate::http::Preamble;

use super::{
    certificates::{Certificates, tls_settings},
    downgrade::{self, Downgrade},
    hop::Hop,
    plan::Limits,
    streams,
    tunnel::tunnel,
};

/// What every connection needs.
pub(super) struct Acceptor {
    tls: TlsAcceptor,
    hop: Arc<Hop>,
    downgrade: Arc<Downgrade>,
    limits: Limits,
    drain: watch::Receiver<bool>,
}

/// An accepted connection.
pub(super) struct Client {
    /// Its socket.
    pub stream: TcpStream,
    /// Its address.
    pub peer: SocketAddr,
}

impl Acceptor {
    /// Prepares TLS and the proxy.
    ///
    /// # Errors
    /// When the library refuses the settings of TLS.
    pub(super) fn new(
        certificates: Arc<Certificates>,
        sockets: Vec<PathBuf>,
        limits: Limits,
        drain: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let settings = tls_settings(certificates).map_err(io::Error::other)?;
        let hop = Hop::new(sockets);
        Ok(Self {
            tls: TlsAcceptor::from_server_config(Arc::new(settings)),
            downgrade: downgrade::new(Arc::clone(&hop), limits),
            hop,
            limits,
            drain,
        })
    }

    /// Serves a client until it has gone. What it breaks is its own business: nothing is reported.
    pub(super) async fn serve(&self, client: Client) {
        let Ok(local) = client.stream.local_addr() else { return };
        let _ = client.stream.set_nodelay(true);
        let descriptor = client.stream.as_raw_fd();
        let mut transport = Transport::from(client.stream);
        transport.set_socket_digest(SocketDigest::from_raw_fd(descriptor));
        let Ok(Ok(stream)) = timeout(self.limits.handshake_timeout, self.tls.tls_handshake(transport)).await else {
            return;
        };
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            let stream: Stream = Box::new(stream);
            streams::serve(&self.downgrade, stream, self.limits, &self.drain).await;
            return;
        }
        let tls_version = stream.get_ssl_digest().map_or_else(String::new, |facts| facts.version.to_string());
        let preamble = Preamble { client: client.peer, local, tls_version, alpn: "http/1.1".to_owned() };
        // Without a worker there is nobody to answer for: the process is ending, or beyond its limits.
        if let Ok(worker) = self.hop.connect(&preamble).await {
            tunnel(stream, worker, self.limits.write_timeout).await;
        }
    }
}

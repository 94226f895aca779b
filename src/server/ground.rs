//! What is taken from the machine before any thread runs.
//!
//! Everything here can fail for reasons that an operator must hear at once: a port that is taken, too few files.

use std::net::{SocketAddr, TcpListener};

use crate::{
    config::Server,
    worker::{Pinning, bind_all},
};

use super::{
    error::ServerError,
    settings::{check_file_limit, pins},
};

/// Listeners, processors and limits.
pub(super) struct Ground {
    /// Client connections that the file limit allows.
    pub connections_max: u32,
    /// The processor of each worker.
    pub pins: Vec<Pinning>,
    /// The listener of each worker.
    pub listeners: Vec<TcpListener>,
    /// The listener of the admin plane.
    pub admin_listener: TcpListener,
    /// Where the data plane listens.
    pub data_address: SocketAddr,
    /// Where the admin plane listens.
    pub admin_address: SocketAddr,
}

impl Ground {
    /// Raises the file limit and binds every address.
    ///
    /// # Errors
    /// What the machine refuses, with the setting that asked for it.
    pub(super) fn prepare(server: &Server) -> Result<Self, ServerError> {
        let connections_max = check_file_limit(server)?;
        let pins = pins(server)?;
        let listeners = bind_all(server.listen, pins.len()).map_err(ServerError::io("cannot listen on `listen`"))?;
        let bound = TcpListener::bind(server.admin_listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        let admin_listener = bound.map_err(ServerError::io("cannot listen on `admin_listen`"))?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(ServerError::io("no local address"));
        let first = listeners.first().ok_or_else(|| ServerError::Limits("no worker".to_owned()))?;
        let (data_address, admin_address) = (address(first)?, address(&admin_listener)?);
        Ok(Self { connections_max, pins, listeners, admin_listener, data_address, admin_address })
    }
}

//! An address that answers nothing.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// An address whose SYNs the kernel drops: its listener has no room and nobody accepts.
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    listener: Socket,
    _fillers: Vec<Socket>,
}

impl BlackHole {
    pub(crate) fn dig() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        for _ in 0..16 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let connected = filler.connect_timeout(&address.into(), Duration::from_secs(1));
            let is_full = connected.is_err();
            fillers.push(filler);
            if is_full {
                return Self { address, listener, _fillers: fillers };
            }
        }
        panic!("16 connections fit into a queue of none");
    }

    /// Lets everybody in again.
    pub(crate) fn fill_in(self) -> TcpListener {
        self.listener.listen(64).unwrap();
        self.listener.into()
    }
}

//! Opens connections from an address of the run's own.
//!
//! A closed connection keeps its pair of ports for a minute. From one address there are 28,000 of them, which a few
//! runs of 9,000 connections use up; all of 127.0.0.0/8 is this machine, so each run takes another address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use monoio::net::TcpStream;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::plan::Plan;

/// Returns an address of 127.0.0.0/8 that follows from the number of this process.
pub(crate) fn source_of_this_run() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // Never 127.0.0.x, where servers listen; never a last byte of 0 or 255.
    Ipv4Addr::new(127, 64 | (high & 63), middle, low.clamp(1, 254))
}

/// Connects from the run's address, without delay of small writes.
///
/// # Errors
/// What the kernel says, the refusal of the server included.
pub(crate) async fn connect(plan: &Plan) -> io::Result<TcpStream> {
    let addr = plan.target.addr;
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if addr.is_ipv4() {
        // Ports of closed connections are taken again.
        socket.set_reuse_address(true)?;
        let source = SocketAddr::new(IpAddr::V4(plan.source), 0);
        socket.bind(&SockAddr::from(source))?;
    }
    let pending = match socket.connect(&SockAddr::from(addr)) {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => true,
        Err(error) => return Err(error),
    };
    let stream = TcpStream::from_std(socket.into())?;
    if pending {
        stream.writable(false).await?;
        // Says whether it is connected; the reason of a refusal matters to nobody here.
        stream.peer_addr()?;
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_is_loopback_and_no_server_s() {
        let source = source_of_this_run();
        assert!(source.is_loopback());
        assert_ne!(source.octets()[1], 0);
    }
}

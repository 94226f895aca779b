//! A socket read and written only when it is ready.
//!
//! The runtime tells readiness, the bytes move by plain `recv` and `send` with `MSG_DONTWAIT`. So the kernel never holds
//! a buffer of ours, a wait can be dropped at any point without losing bytes, and a waiting connection owns no buffer:
//! 10,000 idle streams cost their sockets and little more. It works alike on epoll and on io_uring.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockaddrStorage, recv, send, sendmsg},
};
use socket2::{Domain, Protocol, Type};

use super::runtime::{Registered, is_epoll};

/// A connected socket: TCP with `TCP_NODELAY`, or a Unix socket.
pub struct Socket {
    way: Way,
    fd: RawFd,
    /// The last read filled all the room it was given: more is likely to be there, so that no wait is needed.
    brimful: Cell<bool>,
}

/// Who tells when it is ready.
enum Way {
    Epoll(Registered),
    IoUring(monoio::net::TcpStream),
}

impl Socket {
    /// Takes over a connected stream and switches Nagle's algorithm off.
    ///
    /// # Errors
    /// The error of `setsockopt`: the peer may be gone already. The error of the runtime.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        match stream.set_nodelay(true) {
            // A Unix socket knows neither Nagle's algorithm nor the switch.
            Err(error) if error.raw_os_error() != Some(Errno::EOPNOTSUPP as i32) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Self::waiting(stream)
    }

    /// Takes over any descriptor, only to wait for it: a listener or a datagram socket in a stream's clothes. Who waits
    /// tells by [`Self::found_nothing`] when it has taken all.
    ///
    /// # Errors
    /// The error of the runtime.
    pub fn waiting(descriptor: impl Into<OwnedFd>) -> io::Result<Self> {
        let descriptor = descriptor.into();
        let fd = descriptor.as_raw_fd();
        let way = if is_epoll() {
            Way::Epoll(Registered::new(descriptor)?)
        } else {
            Way::IoUring(monoio::net::TcpStream::from_std(TcpStream::from(descriptor))?)
        };
        Ok(Self { way, fd, brimful: Cell::new(false) })
    }

    /// Connects to an address. The caller bounds the time.
    ///
    /// # Errors
    /// The error of `connect`.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        if !is_epoll() {
            let stream = monoio::net::TcpStream::connect_addr(address).await?;
            stream.set_nodelay(true)?;
            let fd = stream.as_raw_fd();
            return Ok(Self { way: Way::IoUring(stream), fd, brimful: Cell::new(false) });
        }
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = socket2::Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let fd = socket.as_raw_fd();
        let registered = Registered::new(socket.into())?;
        // The outcome is told as readiness to write, also that of an attempt that failed.
        poll_fn(|context| registered.poll_writable(context)).await;
        match socket2::SockRef::from(&registered).take_error()? {
            None => Ok(Self { way: Way::Epoll(registered), fd, brimful: Cell::new(false) }),
            Some(error) => Err(error),
        }
    }

    /// Tells the runtime that nothing is left to be taken, so that the next wait is for something new.
    pub fn found_nothing(&self) {
        if let Way::Epoll(registered) = &self.way {
            registered.read_all();
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there yet. `Ok(0)` is the end.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(self.fd, into, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                other => {
                    self.learn(other, into.len());
                    return other.map_err(io::Error::from);
                }
            }
        }
    }

    /// Keeps what a read into `room` bytes tells of the next one.
    #[inline]
    fn learn(&self, outcome: nix::Result<usize>, room: usize) {
        self.brimful.set(outcome == Ok(room));
        if let Way::Epoll(registered) = &self.way {
            match outcome {
                Ok(0) if room > 0 => registered.read_end(),
                Ok(count) if count == room => {}
                Ok(_) | Err(Errno::EAGAIN) => registered.read_all(),
                // The connection is broken: every call will say so.
                Err(_) => registered.read_end(),
            }
        }
    }

    /// Tells how many bytes are there to be read, one at most, and leaves them there. `Ok(0)` is the end.
    ///
    /// # Errors
    /// As [`Socket::try_read`].
    pub fn try_peek(&self) -> io::Result<usize> {
        let mut probe = [0; 1];
        loop {
            match recv(self.fd, &mut probe, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK) {
                Err(Errno::EINTR) => {}
                other => {
                    if other == Err(Errno::EAGAIN) {
                        self.found_nothing();
                    }
                    return other.map_err(io::Error::from);
                }
            }
        }
    }

    /// Writes as much as the kernel takes.
    ///
    /// # Errors
    /// `WouldBlock` when its buffer is full.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match send(self.fd, bytes, flags) {
                Err(Errno::EINTR) => {}
                other => return self.wrote(other),
            }
        }
    }

    /// Writes several slices with one system call, as much as the kernel takes.
    ///
    /// # Errors
    /// `WouldBlock` when its buffer is full.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match sendmsg::<SockaddrStorage>(self.fd, slices, &[], flags, None) {
                Err(Errno::EINTR) => {}
                other => return self.wrote(other),
            }
        }
    }

    #[inline]
    fn wrote(&self, outcome: nix::Result<usize>) -> io::Result<usize> {
        if outcome == Err(Errno::EAGAIN)
            && let Way::Epoll(registered) = &self.way
        {
            registered.written_full();
        }
        outcome.map_err(io::Error::from)
    }

    /// Waits until a read is worth trying: bytes, the end or an error are there, or are likely to be.
    ///
    /// # Errors
    /// The runtime's error.
    pub async fn readable(&self) -> io::Result<()> {
        if self.brimful.get() {
            return Ok(());
        }
        match &self.way {
            Way::Epoll(registered) => {
                poll_fn(|context| registered.poll_readable(context)).await;
                Ok(())
            }
            Way::IoUring(stream) => stream.readable(false).await,
        }
    }

    /// Waits until a write would take at least one byte.
    ///
    /// # Errors
    /// The runtime's error.
    pub async fn writable(&self) -> io::Result<()> {
        match &self.way {
            Way::Epoll(registered) => {
                poll_fn(|context| registered.poll_writable(context)).await;
                Ok(())
            }
            Way::IoUring(stream) => stream.writable(false).await,
        }
    }

    /// Tells whether bytes, the end or an error wait to be read. On a pooled connection each of them means: destroy it.
    ///
    /// The kernel is asked: what is known from the last wait may be a turn of all tasks old, and bytes that came meanwhile
    /// would be taken for the answer to the next request.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !matches!(self.try_peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer is known to take nothing any more. A Unix socket tells a peer that closed from one that only sends
    /// no more; TCP knows only after a reset.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        // Writing nothing moves nothing, but fails as a write would.
        self.try_write(&[]).is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    }

    /// Ends our sending direction; the peer reads the end after what was written.
    pub fn shutdown_write(&self) {
        // An error means that the peer is gone, which is what the caller wants anyway.
        let _ = nix::sys::socket::shutdown(self.fd, nix::sys::socket::Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        io::Write as _,
        net::{Shutdown, TcpListener},
        pin::pin,
        task::Poll,
        time::Duration,
    };

    use crate::http::runtime::{block_on, sleep, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn pair() -> (Socket, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        (Socket::new(stream).unwrap(), peer)
    }

    /// Polls a future once, without waiting.
    async fn poll_now<F: Future>(future: F) -> Poll<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
    }

    /// Lets the runtime look at its sockets.
    async fn look() {
        sleep(Duration::from_millis(1)).await;
    }

    #[test]
    fn readiness_that_was_used_up_does_not_end_the_next_wait() {
        block_on(async {
            let (socket, mut peer) = pair();
            for _ in 0..3 {
                assert!(!socket.is_readable());
                peer.write_all(b"x").unwrap();
                assert!(socket.is_readable(), "before any wait");
                timeout(LONG, socket.readable()).await.unwrap().unwrap();
                assert!(socket.is_readable());
                assert_eq!(socket.try_read(&mut [0; 8]).unwrap(), 1);
                assert!(poll_now(socket.readable()).await.is_pending());
                look().await;
                assert!(poll_now(socket.readable()).await.is_pending());
            }
            assert_eq!(socket.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        })
        .unwrap();
    }

    #[test]
    fn read_that_filled_its_room_is_followed_by_another() {
        block_on(async {
            let (socket, mut peer) = pair();
            peer.write_all(b"abcd").unwrap();
            timeout(LONG, socket.readable()).await.unwrap().unwrap();
            assert_eq!(socket.try_read(&mut [0; 4]).unwrap(), 4);
            assert!(poll_now(socket.readable()).await.is_ready(), "more may be there");
            assert!(!socket.is_readable(), "the kernel knows");
            assert_eq!(socket.try_read(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(poll_now(socket.readable()).await.is_pending());
            peer.shutdown(Shutdown::Write).unwrap();
            timeout(LONG, socket.readable()).await.unwrap().unwrap();
            assert!(socket.is_readable(), "the end");
        })
        .unwrap();
    }

    #[test]
    fn end_that_comes_with_the_last_bytes_is_not_forgotten() {
        block_on(async {
            let (socket, mut peer) = pair();
            peer.write_all(b"last").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            look().await;
            for expected in [4, 0, 0] {
                timeout(LONG, socket.readable()).await.unwrap().unwrap();
                assert_eq!(socket.try_read(&mut [0; 8]).unwrap(), expected);
            }
            // The other direction is still open.
            assert_eq!(socket.try_write(b"answer").unwrap(), 6);
        })
        .unwrap();
    }

    #[test]
    fn full_direction_is_waited_for_until_the_peer_takes_something() {
        block_on(async {
            let (socket, peer) = pair();
            // The kernel may find room of its own accord, as it enlarges the peer's buffer; it does so a few times.
            loop {
                while socket.try_write(&[0; 65536]).is_ok() {}
                assert!(poll_now(socket.writable()).await.is_pending());
                look().await;
                if poll_now(socket.writable()).await.is_pending() {
                    break;
                }
            }
            let reader = std::thread::spawn(move || io::copy(&mut &peer, &mut io::sink()).unwrap());
            timeout(LONG, socket.writable()).await.unwrap().unwrap();
            assert!(socket.try_write(b"x").is_ok());
            drop(socket);
            assert!(reader.join().unwrap() > 65536);
        })
        .unwrap();
    }

    #[test]
    fn connect_tells_a_refusal() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let socket = timeout(LONG, Socket::connect(address)).await.unwrap().unwrap();
            assert_eq!(socket.try_write(b"x").unwrap(), 1);
            drop((socket, listener));
            let refused = timeout(LONG, Socket::connect(address)).await.unwrap();
            assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
        })
        .unwrap();
    }
}

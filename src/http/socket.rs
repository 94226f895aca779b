//! A socket read and written only when it is ready.
//!
//! Readiness comes from monoio, the bytes move by plain `recv` and `send` with `MSG_DONTWAIT`. So the kernel never holds
//! a buffer of ours, a wait can be dropped at any point without losing bytes, and a waiting connection owns no buffer:
//! 10,000 idle streams cost their sockets and little more. It works alike on epoll and on io_uring.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsRawFd, RawFd},
    pin::pin,
    task::Poll,
};

use monoio::net::TcpStream;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockaddrStorage, recv, send, sendmsg},
};

thread_local! {
    static EPOLL: Cell<bool> = const { Cell::new(true) };
}

/// Tells this thread's sockets which driver runs them; called once when a worker starts.
pub fn set_epoll(epoll: bool) {
    EPOLL.with(|cell| cell.set(epoll));
}

/// A connected socket: TCP with `TCP_NODELAY`, or a Unix socket.
pub struct Socket {
    stream: TcpStream,
    fd: RawFd,
    /// Whether monoio remembers no readiness to read, as of our last look.
    unready: Cell<bool>,
    /// The last read filled all the room it was given: more is likely to be there, so that no wait is needed.
    brimful: Cell<bool>,
}

impl Socket {
    /// Takes over a connected stream and switches Nagle's algorithm off.
    ///
    /// # Errors
    /// The error of `setsockopt`: the peer may be gone already.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        match stream.set_nodelay(true) {
            // A Unix socket knows neither Nagle's algorithm nor the switch.
            Err(error) if error.raw_os_error() != Some(Errno::EOPNOTSUPP as i32) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let fd = stream.as_raw_fd();
        Ok(Self { stream, fd, unready: Cell::new(false), brimful: Cell::new(false) })
    }

    /// Takes over any descriptor, only to wait for it: a listener or a datagram socket in a stream's clothes.
    #[must_use]
    pub fn waiting(stream: TcpStream) -> Self {
        let fd = stream.as_raw_fd();
        Self { stream, fd, unready: Cell::new(false), brimful: Cell::new(false) }
    }

    /// Connects to an address. The caller bounds the time.
    ///
    /// # Errors
    /// The error of `connect`.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_addr(address).await?)
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
                    self.brimful.set(other == Ok(into.len()));
                    return other.map_err(io::Error::from);
                }
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
                other => return other.map_err(io::Error::from),
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
                other => return other.map_err(io::Error::from),
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
                other => return other.map_err(io::Error::from),
            }
        }
    }

    /// Waits until a read is worth trying: bytes, the end or an error are there, or are likely to be.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn readable(&self) -> io::Result<()> {
        if self.brimful.get() {
            return Ok(());
        }
        if !EPOLL.with(Cell::get) {
            return self.stream.readable(false).await;
        }
        // monoio keeps the last readiness of an epoll socket, which our own `recv` does not clear. The strict form asks
        // the kernel and clears it; after that the relaxed form needs no further system call. Neither form has to live
        // longer than its poll: the waker stays with the driver.
        poll_fn(|context| {
            let form = pin!(self.stream.readable(self.unready.get()));
            let polled = form.poll(context);
            self.unready.set(polled.is_pending());
            polled
        })
        .await
    }

    /// As [`Self::readable`], but ends with the first wake of the task, whatever it was for: a read tells soon enough.
    ///
    /// Saves a question to the driver for each event of a stream. The caller must not set its deadline anew before it
    /// waits again, for the wake may have been the deadline's.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn stirred(&self) -> io::Result<()> {
        if self.brimful.get() || !EPOLL.with(Cell::get) {
            return self.readable().await;
        }
        let mut has_waited = false;
        poll_fn(|context| {
            if has_waited {
                self.unready.set(false);
                return Poll::Ready(Ok(()));
            }
            has_waited = true;
            let form = pin!(self.stream.readable(self.unready.get()));
            let polled = form.poll(context);
            self.unready.set(polled.is_pending());
            polled
        })
        .await
    }

    /// Waits until a write would take at least one byte.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn writable(&self) -> io::Result<()> {
        if EPOLL.with(Cell::get) {
            if let Poll::Ready(ready) = poll_now(self.stream.writable(false)).await {
                return ready;
            }
            return self.stream.writable(true).await;
        }
        self.stream.writable(false).await
    }

    /// Tells whether bytes, the end or an error wait to be read. On a pooled connection each of them means: destroy it.
    pub async fn is_readable(&self) -> bool {
        if EPOLL.with(Cell::get) {
            let readable = poll_now(self.stream.readable(false)).await.is_ready();
            self.unready.set(!readable);
            return readable;
        }
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

/// Polls a future once, without waiting.
async fn poll_now<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener, time::Duration};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build().unwrap();
        runtime.block_on(test);
    }

    fn pair() -> (Socket, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Socket::new(TcpStream::from_std(stream).unwrap()).unwrap(), peer)
    }

    /// Lets the driver look at its sockets.
    async fn look() {
        monoio::time::sleep(Duration::from_millis(1)).await;
    }

    #[test]
    fn readiness_that_was_used_up_does_not_end_the_next_wait() {
        run(async {
            let (socket, mut peer) = pair();
            for _ in 0..3 {
                assert!(!socket.is_readable().await);
                peer.write_all(b"x").unwrap();
                look().await;
                socket.stirred().await.unwrap();
                assert_eq!(socket.try_read(&mut [0; 8]).unwrap(), 1);
                assert!(poll_now(socket.stirred()).await.is_pending());
                assert!(poll_now(socket.readable()).await.is_pending());
                peer.write_all(b"x").unwrap();
                look().await;
                socket.readable().await.unwrap();
                assert_eq!(socket.try_read(&mut [0; 8]).unwrap(), 1);
                assert!(poll_now(socket.readable()).await.is_pending());
            }
        });
    }

    #[test]
    fn read_that_filled_its_room_is_followed_by_another() {
        run(async {
            let (socket, mut peer) = pair();
            peer.write_all(b"abcd").unwrap();
            socket.readable().await.unwrap();
            assert_eq!(socket.try_read(&mut [0; 4]).unwrap(), 4);
            assert!(poll_now(socket.readable()).await.is_ready(), "more may be there");
            assert_eq!(socket.try_read(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(poll_now(socket.readable()).await.is_pending());
        });
    }
}

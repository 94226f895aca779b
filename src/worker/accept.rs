//! Taking connections, and giving some to a less loaded worker.
//!
//! With few clients the kernel may put all connections on one worker's socket. A connection is handed over when the
//! difference to the least loaded worker is [`SPREAD_MIN`] or more.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    pin::pin,
    rc::Rc,
    sync::atomic::Ordering,
    time::Duration,
};

use crate::{
    base::yield_now,
    http::{Deadline, Socket, sleep, spawn},
    proxy::Context,
};

use super::connection;

/// Difference in open connections from which on one is handed over.
const SPREAD_MIN: u32 = 2;
/// Connections taken in a row before others get a turn.
pub(super) const BATCH_MAX: usize = 64;
/// First and longest pause after a failed accept.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(5);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Accepts until the drain begins.
///
/// # Errors
/// The error of registering the listener with the driver.
pub(super) async fn run(context: Rc<Context>, listener: TcpListener) -> io::Result<()> {
    // The same listening socket twice: one descriptor to wait with, one to accept with. Accepting through the standard
    // library gives streams that can still be handed to another worker.
    let waiting = watch(listener.try_clone()?)?;
    let deadline = Deadline::new();
    deadline.set_idle(true);
    let mut pause = PAUSE_MIN;
    while !context.shared.is_draining() {
        let Ok(ready) = deadline.guard(pin!(waiting.readable())).await else {
            continue;
        };
        ready?;
        for _ in 0..BATCH_MAX {
            match listener.accept() {
                Ok((stream, peer)) => {
                    pause = PAUSE_MIN;
                    context.block.accepted.inc();
                    admit(&context, stream, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    waiting.found_nothing();
                    break;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    // No descriptors or no memory: the connections at work go on, and ending they free some.
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    break;
                }
            }
        }
        yield_now().await;
    }
    Ok(())
}

/// Takes over what other workers accepted, and what the admin thread has to say, each time the bell rings.
pub(super) async fn answer_bell(context: Rc<Context>, ear: UnixDatagram) -> io::Result<()> {
    let waiting = watch(ear.try_clone()?)?;
    let mut byte = [0u8; 64];
    loop {
        waiting.readable().await?;
        while ear.recv(&mut byte).is_ok() {}
        waiting.found_nothing();
        context.confirm_snapshot();
        let Some(door) = context.shared.doors.get(context.worker) else {
            return Ok(());
        };
        while let Some((stream, peer)) = door.inbox.pop() {
            start(&context, stream, peer);
        }
        if context.shared.is_stopping() {
            crate::http::interrupt_all();
        } else if context.shared.is_draining() {
            context.pools.borrow_mut().clear();
            crate::http::interrupt_idle();
        }
    }
}

/// Waits for readiness of any descriptor: the driver does not care what kind of socket it is.
pub(super) fn watch(descriptor: impl Into<OwnedFd>) -> io::Result<Socket> {
    Socket::waiting(descriptor)
}

/// The connection was reset before it was accepted, or its network failed (accept(2) lists these).
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
    )
}

/// Counts a connection against the limits and gives it to a worker; one too many is closed at once.
pub(super) fn admit(context: &Rc<Context>, stream: TcpStream, peer: SocketAddr) {
    let shared = &context.shared;
    if shared.open_connections() >= shared.settings.connections_max || !shared.enter(peer.ip()) {
        context.block.refused_connections.inc();
        return;
    }
    let Some(own) = shared.doors.get(context.worker) else {
        return;
    };
    let least = shared.doors.iter().enumerate().min_by_key(|(_, door)| door.open.load(Ordering::Relaxed));
    if let Some((index, door)) = least
        && index != context.worker
        && own.open.load(Ordering::Relaxed) + 1 >= door.open.load(Ordering::Relaxed) + SPREAD_MIN
    {
        door.open.fetch_add(1, Ordering::Relaxed);
        match door.inbox.push((stream, peer)) {
            Ok(()) => {
                context.block.handed_over.inc();
                door.ring();
                return;
            }
            Err((stream, peer)) => {
                door.open.fetch_sub(1, Ordering::Relaxed);
                own.open.fetch_add(1, Ordering::Relaxed);
                return start(context, stream, peer);
            }
        }
    }
    own.open.fetch_add(1, Ordering::Relaxed);
    start(context, stream, peer);
}

/// Starts the task of a counted connection.
fn start(context: &Rc<Context>, stream: TcpStream, peer: SocketAddr) {
    let counted = Counted { context: Rc::clone(context), address: peer.ip() };
    context.block.connections.inc();
    let Ok(socket) = Socket::new(stream) else {
        return;
    };
    spawn(connection::run(counted, socket, peer));
}

/// A connection that counts against the limits until it is dropped.
pub(super) struct Counted {
    /// State of the worker.
    pub context: Rc<Context>,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.context.shared.leave(self.address);
        self.context.block.connections.dec();
        if let Some(door) = self.context.shared.doors.get(self.context.worker) {
            door.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

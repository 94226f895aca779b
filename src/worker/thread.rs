//! Starting a worker's thread: pinning, driver, listener.

use std::{
    io,
    net::SocketAddr,
    os::unix::net::{UnixDatagram, UnixListener},
    rc::Rc,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    base::{
        log::{Level, Value, emit},
        now,
    },
    http::{block_on, block_on_io_uring, has_io_uring, spawn as start},
    proxy::Context,
    shared::Shared,
};

use super::{accept, accept_edge, duties};

/// Connections that may wait in the kernel for one worker.
const BACKLOG: i32 = 4096;

/// How sockets are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// epoll, on every kernel and in every container.
    Epoll,
    /// `io_uring`, or the worker does not start.
    IoUring,
}

/// Where a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinning {
    /// Wherever the kernel puts it.
    None,
    /// On this processor if it may.
    Try(usize),
    /// On this processor, or the worker does not start.
    Must(usize),
}

/// What one worker is to be.
pub struct Plan {
    /// Its number, from 0.
    pub index: usize,
    /// The processor it is pinned to, if it is.
    pub pinning: Pinning,
    /// How it waits.
    pub driver: Driver,
    /// Its listening socket.
    pub listener: std::net::TcpListener,
    /// Where the edge connects to it, if there is an edge.
    pub edge_listener: Option<UnixListener>,
    /// Where it hears the bell of its door.
    pub ear: UnixDatagram,
}

/// Binds one listener a worker to the same address. Port 0 is chosen by the kernel for the first and taken by the rest.
///
/// # Errors
/// The error of `bind` or `listen`.
pub fn bind_all(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let listener = bind(address)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts a worker and waits until it is ready. The thread ends when the drain is over.
///
/// `farewell` is dropped when the thread ends, by a panic too: that is how others hear of it without asking.
///
/// # Errors
/// The error of starting a thread, and whatever keeps the worker from being what its plan says.
pub fn spawn(plan: Plan, shared: Arc<Shared>, farewell: impl Send + 'static) -> io::Result<JoinHandle<io::Result<()>>> {
    let (report, reported) = sync_channel(1);
    let name = format!("worker-{}", plan.index);
    let thread = Builder::new().name(name).spawn(move || {
        let _farewell = farewell;
        run(plan, shared, &report)
    })?;
    if reported.recv() == Ok(Ready) {
        return Ok(thread);
    }
    // It ended before it was ready, and its result says why.
    match thread.join() {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Err(io::Error::other("the worker ended while it started")),
    }
}

/// What a worker reports once.
#[derive(Debug, PartialEq, Eq)]
struct Ready;

fn run(plan: Plan, shared: Arc<Shared>, report: &SyncSender<Ready>) -> io::Result<()> {
    pin(plan.pinning)?;
    match plan.driver {
        Driver::IoUring => {
            require_io_uring(has_io_uring())?;
            block_on_io_uring(work(plan, shared, report))?
        }
        Driver::Epoll => block_on(work(plan, shared, report))?,
    }
}

/// Pins the calling thread.
fn pin(pinning: Pinning) -> io::Result<()> {
    let set_affinity = |processor| {
        let mut set = CpuSet::new();
        set.set(processor).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
    };
    match pinning {
        Pinning::None => Ok(()),
        Pinning::Try(processor) => {
            // A container may not own this processor: then the worker runs wherever it may.
            let _ = set_affinity(processor);
            Ok(())
        }
        Pinning::Must(processor) => set_affinity(processor).map_err(|error| {
            io::Error::other(format!("`runtime.pin: on`: processor {processor} refuses a worker: {error}"))
        }),
    }
}

/// Without this, the runtime would quietly take epoll.
fn require_io_uring(available: bool) -> io::Result<()> {
    if available {
        return Ok(());
    }
    Err(io::Error::other(
        "`runtime.driver: io_uring`: this kernel or container does not offer it; use `auto` or `epoll`",
    ))
}

async fn work(plan: Plan, shared: Arc<Shared>, report: &SyncSender<Ready>) -> io::Result<()> {
    let Some(block) = shared.registry.worker(plan.index) else {
        return Err(io::Error::other("no metrics block for this worker"));
    };
    let context = Rc::new(Context::new(plan.index, shared, block));
    let (accepting, hearing) = (Rc::clone(&context), Rc::clone(&context));
    start(async move {
        let ended = accept::run(Rc::clone(&accepting), plan.listener).await;
        drain_after(ended, &accepting, "a worker cannot accept connections any more");
    });
    start(async move {
        let ended = accept::answer_bell(Rc::clone(&hearing), plan.ear).await;
        drain_after(ended, &hearing, "a worker cannot be reached any more");
    });
    if let Some(listener) = plan.edge_listener {
        let accepting = Rc::clone(&context);
        start(async move {
            let ended = accept_edge::run(Rc::clone(&accepting), listener).await;
            drain_after(ended, &accepting, "a worker cannot accept connections of the edge any more");
        });
    }
    // Its block is as old as the process, which may have started for long: nobody may take it for one that stands still.
    context.block.beat(now(), Duration::ZERO);
    // The starting thread waits for this and cannot have gone.
    let _ = report.send(Ready);
    duties::run(context).await;
    Ok(())
}

/// A worker that lost its listener or its bell would be half-alive: the process drains and ends instead.
fn drain_after(ended: io::Result<()>, context: &Context, what: &'static str) {
    if let Err(error) = ended {
        let text = error.to_string();
        emit(Level::Error, what, &[("error", Value::Text(&text))]);
        context.shared.drain();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demanded_processor_must_exist() {
        let absent = CpuSet::count();
        for (name, pinning, starts) in [
            ("free", Pinning::None, true),
            ("tried", Pinning::Try(absent), true),
            ("demanded", Pinning::Must(absent), false),
        ] {
            assert_eq!(pin(pinning).is_ok(), starts, "{name}");
        }
    }

    #[test]
    fn missing_io_uring_is_an_error_that_says_what_to_do() {
        assert!(require_io_uring(true).is_ok());
        assert!(require_io_uring(false).unwrap_err().to_string().contains("use `auto` or `epoll`"));
    }
}

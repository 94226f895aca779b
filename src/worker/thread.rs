//! Starting a worker's thread: pinning, driver, listener.

use std::{
    io,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    rc::Rc,
    sync::Arc,
    thread::{Builder, JoinHandle},
};

use monoio::{FusionDriver, LegacyDriver, RuntimeBuilder};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{http::set_epoll, proxy::Context, shared::Shared};

use super::{accept, duties};

/// Connections that may wait in the kernel for one worker.
const BACKLOG: i32 = 4096;

/// How sockets are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// epoll, on every kernel and in every container.
    Epoll,
    /// `io_uring`, where the kernel has it; else epoll.
    IoUring,
}

/// What one worker is to be.
pub struct Plan {
    /// Its number, from 0.
    pub index: usize,
    /// The processor it is pinned to, if it is.
    pub pin_to: Option<usize>,
    /// How it waits.
    pub driver: Driver,
    /// Its listening socket.
    pub listener: std::net::TcpListener,
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

/// Starts a worker. The thread ends when the drain is over.
///
/// # Errors
/// The error of starting a thread.
pub fn spawn(plan: Plan, shared: Arc<Shared>) -> io::Result<JoinHandle<io::Result<()>>> {
    Builder::new().name(format!("worker-{}", plan.index)).spawn(move || run(plan, shared))
}

fn run(plan: Plan, shared: Arc<Shared>) -> io::Result<()> {
    if let Some(processor) = plan.pin_to {
        let mut set = CpuSet::new();
        // A container may not own this processor: then the worker runs wherever it may.
        let _ = set.set(processor).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    }
    if plan.driver == Driver::IoUring && monoio::utils::detect_uring() {
        set_epoll(false);
        let mut runtime = RuntimeBuilder::<FusionDriver>::new().enable_timer().build()?;
        return runtime.block_on(work(plan, shared));
    }
    set_epoll(true);
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    runtime.block_on(work(plan, shared))
}

async fn work(plan: Plan, shared: Arc<Shared>) -> io::Result<()> {
    let Some(block) = shared.registry.worker(plan.index) else {
        return Err(io::Error::other("no metrics block for this worker"));
    };
    let context = Rc::new(Context::new(plan.index, shared, block));
    monoio::spawn(accept::run(Rc::clone(&context), plan.listener));
    monoio::spawn(accept::answer_bell(Rc::clone(&context), plan.ear));
    duties::run(context).await;
    Ok(())
}

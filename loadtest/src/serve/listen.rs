//! Starts the workers: sockets, threads, accept loops.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use monoio::net::{TcpListener, TcpStream};
use monoio::time::{Instant, TimeDriver};
use monoio::{Buildable, Driver, FusionDriver, IoUringDriver, LegacyDriver, RuntimeBuilder};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use super::admin::{Shared, reply};
use super::connection::{Connection, NoRequest};
use super::plan::{After, Handler, Plan, Seat, Step};
use super::play::{End, Outcome, now_us, play};
use super::request::Request;
use super::truth::{BODY_BYTES_LOGGED, Line, Truth, sha256_hex};

/// Options of every command that serves.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ListenArgs {
    /// Address to listen on; port 0 lets the kernel choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Threads that serve, each with its own listening socket.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// CPUs to pin the threads to, such as `0` or `0,1`; threads take them in turn.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pin: Vec<usize>,
    /// How the kernel is asked for I/O.
    #[arg(long, value_enum, default_value_t = IoDriver::Auto)]
    pub(crate) driver: IoDriver,
    /// Where to log what was received and sent: a file, or the word `memory` for `GET /__truth` only.
    #[arg(long)]
    pub(crate) truth: Option<PathBuf>,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// The I/O drivers of monoio.
#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum IoDriver {
    /// io_uring if the kernel allows it, else epoll.
    Auto,
    Epoll,
    #[value(name = "io_uring")]
    IoUring,
}

/// A server that runs until its process ends.
pub(crate) struct Started {
    /// The address, with the port that the kernel chose.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

/// Binds all sockets and starts all threads. Once it returns, connections are accepted.
pub(crate) fn start<H: Handler>(args: &ListenArgs, handler: H) -> anyhow::Result<Started> {
    raise_descriptor_limit();
    let truth = args.truth.as_deref().map(Truth::open).transpose()?;
    let shared = Arc::new(Shared { truth, ..Shared::default() });
    let handler = Arc::new(handler);
    let first = bind(args.listen)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..args.workers {
        sockets.push(bind(address)?);
    }
    for (number, socket) in sockets.into_iter().enumerate() {
        let worker = Worker { number, seed: args.seed, shared: Arc::clone(&shared), handler: Arc::clone(&handler) };
        let cpu = args.pin.get(number % args.pin.len().max(1)).copied();
        let driver = args.driver;
        let thread = std::thread::Builder::new().name(format!("serve-{number}"));
        thread.spawn(move || {
            if let Err(error) = run_worker(worker, socket, driver, cpu) {
                eprintln!("worker {number} cannot serve: {error:#}");
                std::process::exit(1);
            }
        })?;
    }
    let flushing = Arc::clone(&shared);
    std::thread::Builder::new().name("truth".to_owned()).spawn(move || flush_forever(&flushing))?;
    Ok(Started { address, shared })
}

/// Starts a server on a free port that keeps a truth log in memory, and lives as long as the test process.
#[cfg(test)]
pub(crate) fn for_tests<H: Handler>(handler: H) -> SocketAddr {
    for_tests_on(handler, IoDriver::Epoll)
}

/// The same with a driver.
#[cfg(test)]
pub(crate) fn for_tests_on<H: Handler>(handler: H, driver: IoDriver) -> SocketAddr {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let args = ListenArgs { listen, workers: 1, pin: Vec::new(), driver, truth: Some("memory".into()), seed: 1 };
    start(&args, handler).unwrap().address
}

/// Starts a server, prints its address, waits for SIGINT or SIGTERM and writes the rest of the truth log.
pub(crate) fn wait_for_signal(
    args: &ListenArgs,
    start: impl FnOnce() -> anyhow::Result<Started>,
) -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    // Threads inherit the mask, so the signals reach only the wait below.
    signals.thread_block().context("cannot block signals")?;
    let started = start()?;
    println!("listening on {}", started.address);
    signals.wait().context("cannot wait for signals")?;
    if let (Some(truth), Some(path)) = (&started.shared.truth, &args.truth) {
        truth.flush().with_context(|| format!("cannot write truth log {}", path.display()))?;
    }
    Ok(())
}

fn bind(address: SocketAddr) -> anyhow::Result<StdListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).with_context(|| format!("cannot listen on {address}"))?;
    socket.listen(4_096)?;
    Ok(socket.into())
}

/// Each connection takes two descriptors, so the soft limit is raised to the hard one.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        eprintln!("descriptor limit stays at {soft}: {error}");
    }
}

fn flush_forever(shared: &Shared) {
    while let Some(truth) = &shared.truth {
        std::thread::sleep(Duration::from_millis(200));
        if let Err(error) = truth.flush() {
            eprintln!("cannot write truth log: {error}");
        }
    }
}

fn run_worker<H: Handler>(
    worker: Worker<H>,
    socket: StdListener,
    driver: IoDriver,
    cpu: Option<usize>,
) -> anyhow::Result<()> {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu).with_context(|| format!("no CPU {cpu}"))?;
        sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot pin to CPU {cpu}"))?;
    }
    match driver {
        IoDriver::Auto => {
            let mut runtime = RuntimeBuilder::<FusionDriver>::new().enable_timer().build()?;
            runtime.block_on(worker.accept(socket))
        }
        IoDriver::Epoll => run_on::<LegacyDriver, H>(worker, socket),
        IoDriver::IoUring => run_on::<IoUringDriver, H>(worker, socket),
    }
}

fn run_on<D, H: Handler>(worker: Worker<H>, socket: StdListener) -> anyhow::Result<()>
where
    D: Driver + Buildable + 'static,
    TimeDriver<D>: Driver + Buildable,
{
    let mut runtime = TimeDriver::<D>::build(RuntimeBuilder::<TimeDriver<D>>::new())?;
    runtime.block_on(worker.accept(socket))
}

struct Worker<H> {
    number: usize,
    seed: u64,
    shared: Arc<Shared>,
    handler: Arc<H>,
}

impl<H> Clone for Worker<H> {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            seed: self.seed,
            shared: Arc::clone(&self.shared),
            handler: Arc::clone(&self.handler),
        }
    }
}

impl<H: Handler> Worker<H> {
    async fn accept(self, socket: StdListener) -> anyhow::Result<()> {
        let ready = TcpListener::from_std(socket.try_clone()?)?;
        loop {
            ready.readable(false).await?;
            match socket.accept() {
                Ok((accepted, peer)) => {
                    if let Err(error) = self.clone().spawn(accepted, peer) {
                        eprintln!("cannot serve {peer}: {error}");
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    eprintln!("cannot accept: {error}");
                    monoio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    fn spawn(self, accepted: std::net::TcpStream, peer: SocketAddr) -> std::io::Result<()> {
        accepted.set_nodelay(true)?;
        accepted.set_nonblocking(monoio::utils::is_legacy())?;
        let socket = accepted.try_clone()?;
        let connection = Connection::new(TcpStream::from_std(accepted)?, socket);
        let number = self.shared.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        let random = fastrand::Rng::with_seed(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number);
        let seat = Seat { connection: number, request: 0, random };
        monoio::spawn(async move {
            let shared = Arc::clone(&self.shared);
            self.serve(connection, seat, peer).await;
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }

    async fn serve(self, mut connection: Connection, mut seat: Seat, peer: SocketAddr) {
        loop {
            let request = match connection.next_request().await {
                Ok(request) => request,
                Err(NoRequest::Gone) => return,
                Err(NoRequest::Malformed(reason)) => {
                    self.refuse(&mut connection, &seat, peer, &reason).await;
                    return;
                }
            };
            let received = Received { at: Instant::now(), us: now_us(), bytes_out: connection.bytes_out() };
            seat.request += 1;
            let own = self.shared.plan(&request);
            let is_own = own.is_some() || request.path().starts_with("/__");
            let mut plan = own.unwrap_or_else(|| self.handler.plan(&request, &mut seat));
            let after = if request.keeps_alive() { plan.after.clone() } else { After::Close };
            let steps = std::mem::take(&mut plan.steps);
            let outcome = play(&mut connection, steps, &mut seat.random).await;
            if !is_own {
                self.shared.requests.fetch_add(1, Ordering::Relaxed);
                self.log(&request, &plan, &outcome, (&seat, &received, peer, connection.bytes_out()));
            }
            connection.recycle(request);
            if outcome.end != End::Complete || !go_on(&mut connection, after, &mut seat).await {
                return;
            }
        }
    }

    async fn refuse(&self, connection: &mut Connection, seat: &Seat, peer: SocketAddr, reason: &str) {
        let plan = reply(400, "text/plain", format!("refused: {reason}\n").as_bytes());
        let mut random = seat.random.clone();
        play(connection, plan.steps, &mut random).await;
        let Some(truth) = &self.shared.truth else {
            return;
        };
        truth.add(&Line {
            peer: &peer.to_string(),
            status: 400,
            end: "refused",
            reason: Some(reason),
            received_us: now_us(),
            ..self.line(seat)
        });
    }

    fn log(
        &self,
        request: &Request,
        plan: &Plan,
        outcome: &Outcome,
        (seat, received, peer, bytes_out): (&Seat, &Received, SocketAddr, u64),
    ) {
        let Some(truth) = &self.shared.truth else {
            return;
        };
        let headers = request.headers();
        let find = |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        let request_id = find("x-request-id").or_else(|| find("x-millrace-request-id"));
        let body = request.body();
        let since = |at: Instant| u64::try_from(at.duration_since(received.at).as_micros()).unwrap_or(u64::MAX);
        truth.add(&Line {
            peer: &peer.to_string(),
            request_id: request_id.map(|(_, value)| value.as_str()),
            method: request.method(),
            path: request.path(),
            headers: &headers,
            body_bytes: body.len(),
            body_sha256: sha256_hex(body),
            body: std::str::from_utf8(body).ok().filter(|text| text.len() <= BODY_BYTES_LOGGED),
            model: plan.model.as_deref(),
            stream: plan.stream,
            received_us: received.us,
            status: plan.status,
            events: outcome.events,
            bytes_out: bytes_out - received.bytes_out,
            input_tokens: plan.usage.map(|(input, _)| input),
            output_tokens: plan.usage.map(|(_, output)| output),
            end: outcome.end.as_str(),
            end_us: since(Instant::now()),
            client_gone_us: outcome.gone_at.map(since),
            ..self.line(seat)
        });
    }

    fn line(&self, seat: &Seat) -> Line<'static> {
        Line {
            connection: seat.connection,
            request: seat.request,
            worker: self.number,
            peer: "",
            request_id: None,
            method: "",
            path: "",
            headers: &[],
            body_bytes: 0,
            body_sha256: String::new(),
            body: None,
            model: None,
            stream: false,
            received_us: 0,
            status: 0,
            events: 0,
            bytes_out: 0,
            input_tokens: None,
            output_tokens: None,
            end: "",
            reason: None,
            end_us: 0,
            client_gone_us: None,
        }
    }
}

struct Received {
    at: Instant,
    us: u64,
    bytes_out: u64,
}

/// Does to the connection what the plan wants after the answer. Returns whether it serves on.
async fn go_on(connection: &mut Connection, after: After, seat: &mut Seat) -> bool {
    match after {
        After::KeepAlive => true,
        After::Close => {
            connection.shutdown().await;
            false
        }
        After::CloseOnReuse { reset } => {
            if connection.wait_readable().await.is_ok() && reset {
                connection.reset().await;
            }
            false
        }
        After::CloseLater { wait, reset } => {
            let due = Instant::now() + wait;
            if connection.wait_until(due).await.is_ok() && reset {
                connection.reset().await;
            }
            false
        }
        After::SayLater { wait, bytes } => {
            let steps = vec![Step::Wait(wait), Step::write(bytes)];
            play(connection, steps, &mut seat.random).await.end == End::Complete
        }
    }
}

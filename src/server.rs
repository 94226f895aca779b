//! Start order and drain order of the process.
//!
//! Reads like a table of contents: listeners, guard, first configuration, names, workers, admin thread; and back.

mod error;
mod settings;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, watch},
};

use crate::{
    admin::{AccessLog, AdminState, Check, Output, Pump, Readiness, pump, serve},
    base::log::{Level, Value, emit, set_level},
    config::Server,
    control::{Demo, FileSet, Publisher, first},
    metrics::Registry,
    shared::{Door, Parts, Shared},
    snapshot::{Handle, Refusal, Registries, Snapshot},
    upstream::{Guard, Origins, ResolveEvent, Resolver, Rules},
    usage::Queue,
    worker::{Plan, bind_all, spawn},
};

pub use self::error::ServerError;
pub use self::settings::{egress_rules, ttl_bounds};

use self::settings::{
    check_file_limit, connector, data_path_settings, demo_rules, driver, log_level, make_data_dir, pins,
    prepare_process,
};

/// Records that may wait for the admin thread: a tenth of a second of full load.
const QUEUE_ROWS: usize = 8 * 1024;
/// How long the start waits for the names of providers. What is not known by then is looked up while serving.
const NAMES_WAIT: Duration = Duration::from_secs(3);
/// How often files are looked at for changes, and workers for their end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is to run.
pub struct Launch {
    /// The settings of the process.
    pub server: Server,
    /// What it serves.
    pub source: Source,
    /// Called once with the addresses of the data plane and the admin plane, when requests are answered.
    pub ready: Box<dyn FnOnce(SocketAddr, SocketAddr)>,
}

/// Where projects and keys come from.
pub enum Source {
    /// The files that the settings name.
    Files,
    /// The built-in demo.
    Demo(Demo),
}

/// Runs until a signal ends it.
///
/// # Errors
/// [`ServerError`].
pub fn run(launch: Launch) -> Result<(), ServerError> {
    prepare_process();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServerError::Io("cannot start the admin thread", error))?;
    runtime.block_on(run_admin(launch))
}

async fn run_admin(launch: Launch) -> Result<(), ServerError> {
    let Launch { server, source, ready } = launch;
    set_level(log_level(&server, |name| std::env::var(name).ok())?);
    let connections_max = check_file_limit(&server)?;
    let pins = pins(&server)?;
    let io_error = |what| move |error| ServerError::Io(what, error);
    let listeners = bind_all(server.listen, pins.len()).map_err(io_error("cannot listen on `listen`"))?;
    let admin_listener = TcpListener::bind(server.admin_listen).map_err(io_error("cannot listen on `admin_listen`"))?;
    let address = |listener: &TcpListener| listener.local_addr().map_err(io_error("no local address"));
    let data_address = address(listeners.first().ok_or_else(|| ServerError::Limits("no worker".to_owned()))?)?;
    let admin_address = address(&admin_listener)?;

    let guard = Arc::new(Guard::new(rules_of(&server, &source)?, vec![data_address, admin_address]));
    let resolver =
        Resolver::new(Arc::clone(&guard), server.upstream.dns_servers.clone(), ttl_bounds(&server), log_resolution);
    let registries = Registries {
        metrics: Arc::new(Registry::new(pins.len())),
        origins: Arc::new(Origins::new(guard, resolver.clone())),
    };
    let files = FileSet::new(&server);
    let snapshot = first_snapshot(&source, &files, &registries)?;
    if matches!(source, Source::Files) {
        make_data_dir(&server.data_dir);
    }
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(resolver.clone().run(until(stopped.clone())));
    // If the names take longer, the workers start all the same and their first requests may fail.
    let _ = tokio::time::timeout(NAMES_WAIT, resolver.first_lookups(&registries.origins.addresses())).await;

    let queue = Arc::new(Queue::new(QUEUE_ROWS));
    let settings = data_path_settings(&server, connections_max);
    let made = pins.iter().map(|_| Door::new()).collect::<io::Result<Vec<_>>>();
    let (doors, ears): (_, Vec<_>) = made.map_err(io_error("cannot make a worker's door"))?.into_iter().unzip();
    let parts = Parts {
        snapshot: Handle::new(snapshot),
        queue: Arc::clone(&queue),
        registry: Arc::clone(&registries.metrics),
        doors,
        tls: connector(&server)?,
    };
    let shared = Arc::new(Shared::new(parts, settings));
    let seats = listeners.into_iter().zip(ears).zip(pins).enumerate();
    let started = seats.map(|(index, ((listener, ear), pinning))| {
        let plan = Plan { index, pinning, driver: driver(&server), listener, ear };
        spawn(plan, Arc::clone(&shared)).map_err(io_error("cannot start a worker"))
    });
    let mut workers = started.collect::<Result<Vec<_>, _>>()?;

    let output = Arc::new(Output::stdout().map_err(io_error("cannot write to standard output"))?);
    let access_log = if server.log.access { AccessLog::On } else { AccessLog::Off };
    let pumping = Pump {
        queue: Arc::clone(&queue),
        output: Arc::clone(&output),
        access_log,
        key_use: None,
        wake: Arc::new(Notify::new()),
    };
    let pumped = tokio::spawn(pump(pumping, stopped.clone()));
    let state = AdminState {
        registry: Arc::clone(&registries.metrics),
        queue,
        output,
        readiness: readiness(Arc::clone(&shared)),
        hosts: server.admin_hosts.clone(),
        api: None,
    };
    admin_listener.set_nonblocking(true).map_err(io_error("cannot listen on `admin_listen`"))?;
    let admin_listener =
        tokio::net::TcpListener::from_std(admin_listener).map_err(io_error("cannot listen on `admin_listen`"))?;
    tokio::spawn(serve(admin_listener, state, stopped));
    // Before anybody is told that we run: a signal that comes at once must drain, not kill.
    let signals = listen_for_signals()?;
    ready(data_address, admin_address);

    let publisher = Publisher::new(Arc::clone(&shared), registries);
    let files = matches!(source, Source::Files).then_some(files);
    let ended = attend((&shared, &publisher), files, &mut workers, signals).await;
    // The rows of the last requests are in the queue: the pump empties it before it ends.
    let _ = stop.send(true);
    let _ = pumped.await;
    ended
}

fn rules_of(server: &Server, source: &Source) -> Result<Rules, ServerError> {
    let mut rules = egress_rules(server)?;
    if let Source::Demo(demo) = source {
        rules.allow.extend(demo_rules(demo)?);
    }
    Ok(rules)
}

fn first_snapshot(source: &Source, files: &FileSet, registries: &Registries) -> Result<Snapshot, ServerError> {
    let sources = match source {
        Source::Demo(demo) => demo.sources().map_err(ServerError::Config)?,
        Source::Files => {
            let loaded = files.load().map_err(ServerError::Config)?;
            log_warnings(&loaded.warnings);
            loaded.sources
        }
    };
    first(sources, registries).map_err(ServerError::Config)
}

/// SIGTERM, SIGINT and SIGHUP.
fn listen_for_signals() -> Result<[Signal; 3], ServerError> {
    let listen = |kind| signal(kind).map_err(|error| ServerError::Io("cannot listen for signals", error));
    Ok([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?])
}

/// Signals, changed files and dead workers, until the drain is complete.
async fn attend(
    (shared, publisher): (&Arc<Shared>, &Publisher),
    files: Option<FileSet>,
    workers: &mut Vec<JoinHandle<io::Result<()>>>,
    [mut terminate, mut interrupt, mut hangup]: [Signal; 3],
) -> Result<(), ServerError> {
    let mut stamp = files.as_ref().map(FileSet::stamp);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => {
                shared.stop();
                break;
            }
            _ = hangup.recv() => {
                if let Some(files) = &files {
                    stamp = Some(files.stamp());
                    reload(files, publisher);
                }
            }
            _ = look.tick() => {
                if workers.iter().any(JoinHandle::is_finished) {
                    emit(Level::Error, "a worker ended unexpectedly; draining the others", &[]);
                    shared.drain();
                    drain(shared, workers, (&mut terminate, &mut interrupt)).await;
                    return Err(ServerError::WorkerDied);
                }
                if let Some(files) = &files {
                    let seen = files.stamp();
                    if stamp.as_ref() != Some(&seen) {
                        stamp = Some(seen);
                        reload(files, publisher);
                    }
                }
            }
        }
    }
    emit(Level::Info, "draining", &[("grace_s", Value::Uint(shared.settings.drain_grace.as_secs()))]);
    shared.drain();
    drain(shared, workers, (&mut terminate, &mut interrupt)).await;
    Ok(())
}

/// Waits for the workers: they end when their last connection does, or after the grace time.
async fn drain(
    shared: &Arc<Shared>,
    workers: &mut Vec<JoinHandle<io::Result<()>>>,
    (terminate, interrupt): (&mut Signal, &mut Signal),
) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let grace = tokio::time::sleep(shared.settings.drain_grace);
    tokio::pin!(grace);
    while workers.iter().any(|worker| !worker.is_finished()) {
        tokio::select! {
            _ = look.tick() => {}
            _ = terminate.recv() => shared.stop(),
            _ = interrupt.recv() => shared.stop(),
            () = &mut grace, if !shared.is_stopping() => {
                emit(Level::Warn, "the grace time is over; open streams are cut", &[]);
                shared.stop();
            }
        }
    }
    for worker in workers.drain(..) {
        match worker.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let text = error.to_string();
                emit(Level::Error, "a worker failed", &[("error", Value::Text(&text))]);
            }
            Err(_) => emit(Level::Error, "a worker panicked", &[]),
        }
    }
}

/// All or nothing: a bad file changes nothing and is reported.
fn reload(files: &FileSet, publisher: &Publisher) {
    match files.load() {
        Ok(loaded) => {
            log_warnings(&loaded.warnings);
            // A refusal has been reported by the publisher.
            let _ = publisher.replace(loaded.sources);
        }
        Err(refusals) => publisher.refuse(&refusals),
    }
}

fn log_warnings(warnings: &[Refusal]) {
    for warning in warnings {
        let text = warning.problem.render(&warning.file);
        emit(Level::Warn, "configuration warning", &[("problem", Value::Text(&text))]);
    }
}

fn log_resolution(event: ResolveEvent) {
    match event {
        ResolveEvent::Resolved { host, addresses } => {
            let text = format!("{addresses:?}");
            let fields = [("host", Value::Text(&host)), ("addresses", Value::Text(&text))];
            emit(Level::Info, "provider name resolved", &fields);
        }
        ResolveEvent::Failed { host, error, kept, retry_in } => {
            let text = error.to_string();
            let fields = [
                ("host", Value::Text(&host)),
                ("error", Value::Text(&text)),
                ("older_addresses_kept", Value::Flag(kept)),
                ("retry_in_s", Value::Uint(retry_in.as_secs())),
            ];
            emit(Level::Warn, "provider name not resolved", &fields);
        }
        ResolveEvent::Forgotten { host } => {
            emit(Level::Debug, "provider name forgotten", &[("host", Value::Text(&host))])
        }
        ResolveEvent::SystemUnreadable => emit(Level::Warn, "the system's resolver settings cannot be read", &[]),
    }
}

fn readiness(shared: Arc<Shared>) -> Box<dyn Fn() -> Readiness + Send + Sync> {
    Box::new(move || {
        let published = shared.snapshot.load().generation();
        let mut checks: Vec<Check> = shared
            .registry
            .workers()
            .iter()
            .enumerate()
            .map(|(index, block)| {
                let holds = block.generation.get();
                let message = format!("holds generation {holds} of {published}");
                Check { name: format!("worker {index}"), ok: holds > 0, message }
            })
            .collect();
        let draining = shared.is_draining();
        let message = if draining { "draining" } else { "" }.to_owned();
        checks.push(Check { name: "process".to_owned(), ok: !draining, message });
        Readiness { ready: checks.iter().all(|check| check.ok), checks }
    })
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender has gone, which ends the process as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

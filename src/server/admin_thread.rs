//! The admin thread: starts the rest, attends, ends it.
//!
//! A part of the chassis with a runtime of one thread. The resolver, the pump of records, the admin listener, signals and
//! every change of the configuration run here, so none of them needs a lock against another.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora_core::{
    server::{ListenFds, ShutdownWatch},
    services::{ServiceReadyNotifier, ServiceWithDependents},
};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    admin::{AccessLog, AdminState, Api, Check, Output, Pump, RateLimits, Readiness, pump, serve},
    config::Server,
    control::{
        Control, Keeper, Publisher, finish_reprices, keep_credentials, keep_key_use, keep_payloads, keep_sealed,
        watch_alerts,
    },
    limit::Meters,
    metrics::Registry,
    shared::{Door, Parts, Shared},
    snapshot::{Handle, Registries},
    upstream::{Guard, Origins, Resolver},
    usage::Queue,
    worker::Plan,
};

use super::{
    Launch, Listening,
    attend::{Attended, Signals, attend},
    book::{Bookkeeping, open_book},
    chassis::Verdict,
    crew::Orders,
    edge::{EdgeControl, EdgeHandle},
    error::ServerError,
    ground::Ground,
    resolution_log::log_resolution,
    settings::{connector, data_path_settings, driver, mail, ttl_bounds},
    source::Opened,
};

/// How long the start waits for the names of providers. What is not known by then is looked up while serving.
const NAMES_WAIT: Duration = Duration::from_secs(3);

/// The part of the chassis that runs the control plane.
pub(super) struct AdminThread {
    duty: Option<Duty>,
    verdict: Option<oneshot::Sender<Verdict>>,
}

/// What the admin thread is given.
struct Duty {
    launch: Launch,
    ground: Ground,
    edge: Option<EdgeHandle>,
    orders: oneshot::Sender<Orders>,
}

impl AdminThread {
    /// Makes the part, and the place where the end of the process is told.
    pub(super) fn new(
        launch: Launch,
        ground: Ground,
        edge: Option<EdgeHandle>,
        orders: oneshot::Sender<Orders>,
    ) -> (Self, oneshot::Receiver<Verdict>) {
        let (sender, verdict) = oneshot::channel();
        (Self { duty: Some(Duty { launch, ground, edge, orders }), verdict: Some(sender) }, verdict)
    }
}

#[async_trait]
impl ServiceWithDependents for AdminThread {
    async fn start_service(
        &mut self,
        _inherited: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        let (Some(duty), Some(told)) = (self.duty.take(), self.verdict.take()) else { return };
        // The receiver is the main thread, which waits for nothing else.
        let _ = told.send(run(duty, ready).await);
    }

    fn name(&self) -> &str {
        "admin"
    }
}

/// From the guard to the last log line.
async fn run(duty: Duty, ready: ServiceReadyNotifier) -> Verdict {
    let Duty { launch: Launch { server, source, ready: say_ready }, mut ground, mut edge, orders } = duty;
    let listening = Listening {
        data: ground.data_address,
        admin: ground.admin_address,
        edge: edge.as_ref().map(|edge| edge.address),
    };
    let (stop, stopped) = watch::channel(false);

    let guard = Arc::new(Guard::new(source.rules(&server)?, own_addresses(listening)));
    let resolver =
        Resolver::new(Arc::clone(&guard), server.upstream.dns_servers.clone(), ttl_bounds(&server), log_resolution);
    let origins = Arc::new(Origins::new(guard, resolver.clone()));
    let meters = Arc::new(if source.is_kept() { Meters::with_ledger() } else { Meters::in_memory() });
    let registries = Registries { meters, ..Registries::new(Arc::new(Registry::new(ground.pins.len())), origins) };
    let Opened { snapshot, follow, kept, files } = source.open(&server, &registries).await?;
    let ledger = open_book(kept.as_ref(), &registries.meters, files.as_ref()).await?;
    tokio::spawn(resolver.clone().run(until(stopped.clone())));
    // If the names take longer, the workers start all the same and their first requests may fail.
    let _ = tokio::time::timeout(NAMES_WAIT, resolver.first_lookups(&registries.origins.addresses())).await;

    let queue = Arc::new(Queue::default());
    let (doors, plans) = plan(&server, &mut ground, edge.as_mut())?;
    let parts = Parts {
        snapshot: Handle::new(snapshot),
        queue: Arc::clone(&queue),
        registry: Arc::clone(&registries.metrics),
        meters: Arc::clone(&registries.meters),
        doors,
        tls: connector(&server)?,
        trusted_proxies: server.trusted_proxies.clone(),
    };
    let shared = Arc::new(Shared::new(parts, data_path_settings(&server, ground.connections_max)));
    let (order, mut roster) = Orders::new(Arc::clone(&shared), plans);
    // A crew that has gone is heard of through the roster.
    let _ = orders.send(order);
    ready.notify_ready();
    roster.started().await?;

    let publisher = Arc::new(Publisher::new(Arc::clone(&shared), registries.clone()));
    let api =
        kept.map(|kept| kept.api(Arc::clone(&publisher), files, rate_limits(&server), mail(&server)?)).transpose()?;
    let output = Arc::new(Output::stdout().map_err(ServerError::io("cannot write to standard output"))?);
    // Files have no place for it.
    let keeper = api.as_ref().map(|api| Arc::clone(&api.control)).filter(|control| control.files().is_none());
    if let Some(api) = &api {
        tokio::spawn(keep_sealed(Arc::clone(&api.control), stopped.clone()));
    }
    let noted_by = NotedBy { keys: keeper.as_ref(), book: ledger.as_ref(), api: api.as_ref() };
    let pumped = start_pump(&server, (&queue, &output), noted_by, stopped.clone());
    let book = Bookkeeping::start(&shared, ledger.as_ref(), stopped.clone());
    let state = AdminState {
        meters: Arc::clone(&registries.meters),
        keeper: ledger,
        registry: Arc::clone(&registries.metrics),
        queue,
        output,
        readiness: readiness(Arc::clone(&shared)),
        hosts: server.admin_hosts.clone(),
        api,
    };
    let admin_listener = tokio::net::TcpListener::from_std(ground.admin_listener)
        .map_err(ServerError::io("cannot listen on `admin_listen`"))?;
    tokio::spawn(serve(admin_listener, state, stopped));
    let signals = Signals::listen()?;
    say_ready(listening);

    let control = edge.map(EdgeControl::new);
    let verdict = attend(&shared, &publisher, Attended { follow, roster, signals, edge: control }).await;
    // The rows of the last requests are in the queue: the pump empties it before it ends.
    let _ = stop.send(true);
    let _ = pumped.await;
    book.close().await;
    if let Some(control) = keeper {
        write_rest(&control).await;
    }
    verdict
}

/// Writes what is still in memory; no request comes any more.
async fn write_rest(control: &Control) {
    control.close_payloads().await;
    control.write_key_use().await;
    control.write_credential_use().await;
}

/// Where no project may send a request: to ourselves.
fn own_addresses(listening: Listening) -> Vec<SocketAddr> {
    [Some(listening.data), Some(listening.admin), listening.edge].into_iter().flatten().collect()
}

fn rate_limits(server: &Server) -> RateLimits {
    RateLimits {
        reads_per_minute: server.limits.admin_reads_per_minute,
        writes_per_minute: server.limits.admin_writes_per_minute,
    }
}

/// A door and a plan for each worker.
fn plan(
    server: &Server,
    ground: &mut Ground,
    edge: Option<&mut EdgeHandle>,
) -> Result<(Vec<Door>, Vec<Plan>), ServerError> {
    let made = ground.pins.iter().map(|_| Door::new()).collect::<io::Result<Vec<_>>>();
    let (doors, ears): (Vec<_>, Vec<_>) =
        made.map_err(ServerError::io("cannot make a worker's door"))?.into_iter().unzip();
    let mut edge_listeners =
        edge.map(|edge| std::mem::take(&mut edge.worker_listeners)).unwrap_or_default().into_iter();
    let seats = std::mem::take(&mut ground.listeners).into_iter().zip(ears).zip(ground.pins.iter().copied());
    let plans = seats.enumerate().map(|(index, ((listener, ear), pinning))| Plan {
        index,
        pinning,
        driver: driver(server),
        listener,
        edge_listener: edge_listeners.next(),
        ear,
    });
    Ok((doors, plans.collect()))
}

/// Who takes note of requests.
struct NotedBy<'a> {
    /// Of the last use of keys.
    keys: Option<&'a Arc<Control>>,
    /// Of what was used.
    book: Option<&'a Arc<Keeper>>,
    /// Of all of them, for those who follow them.
    api: Option<&'a Arc<Api>>,
}

/// Starts the pump, and what stores the last use of keys if there is somebody who keeps it.
fn start_pump(
    server: &Server,
    (queue, output): (&Arc<Queue>, &Arc<Output>),
    noted_by: NotedBy<'_>,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let NotedBy { keys: keeps, book: ledger, api } = noted_by;
    let access_log = if server.log.access { AccessLog::On } else { AccessLog::Off };
    if let Some(control) = keeps {
        tokio::spawn(keep_key_use(Arc::clone(control), stopped.clone()));
        tokio::spawn(keep_credentials(Arc::clone(control), stopped.clone()));
        tokio::spawn(finish_reprices(Arc::clone(control), stopped.clone()));
        tokio::spawn(keep_payloads(Arc::clone(control), stopped.clone()));
        if let Some(ledger) = ledger {
            tokio::spawn(watch_alerts(Arc::clone(control), Arc::clone(ledger), stopped.clone()));
        }
    }
    let pumping = Pump {
        queue: Arc::clone(queue),
        output: Arc::clone(output),
        access_log,
        key_use: keeps.map(|control| Arc::clone(control.key_use())),
        keeper: ledger.cloned(),
        said: api.map(|api| Arc::clone(&api.control)),
        wake: Arc::new(Notify::new()),
    };
    tokio::spawn(pump(pumping, stopped))
}

/// Ready when every worker holds a configuration and nobody has asked for a stop.
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

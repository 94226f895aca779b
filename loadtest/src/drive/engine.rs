//! Runs a plan: connects all, starts the clock, waits.
//!
//! Every wait has its bound.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::connection::{Connection, Shared};
use super::pace::Pace;
use super::plan::{Mode, Plan};
use super::report::Report;
use super::request;
use super::tally::{Fault, Tally};
use super::timer::Timer;

/// Connections that are opened at the same time: below the accept queue of any server.
const OPENING_MAX: usize = 64;
/// Time that opening all connections may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);
/// Descriptors beside the connections.
const DESCRIPTORS_SPARE: u64 = 64;

/// Runs one plan on this thread.
///
/// # Errors
/// A plan out of bounds, too few descriptors, or a server that does not accept the connections.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Report> {
    plan.check()?;
    raise_descriptors(plan.connections)?;
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build()?;
    runtime.block_on(run_plan(plan.clone()))
}

async fn run_plan(plan: Plan) -> anyhow::Result<Report> {
    let shared = Rc::new(Shared {
        request: Rc::new(request::build(&plan.target, &plan.ask)?),
        pace: RefCell::new(Pace::new(plan.shape, plan.requests_max, plan.duration)),
        tally: RefCell::new(Tally::new()?),
        timer: Timer::start()?,
        start: Cell::new(Instant::now()),
        in_flight: Cell::new(0),
        plan,
    });
    let connections = monoio::time::timeout(CONNECT_TIME_MAX, connect_all(&shared))
        .await
        .context("opening all connections took over a minute")??;
    shared.start.set(Instant::now());
    if shared.plan.mode == Mode::Hold {
        hold(&shared, connections).await;
    } else {
        load(&shared, connections).await;
    }
    Ok(Report::of(&shared))
}

async fn connect_all(shared: &Rc<Shared>) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(shared.plan.connections);
    while connections.len() < shared.plan.connections {
        let batch = OPENING_MAX.min(shared.plan.connections - connections.len());
        let tasks: Vec<_> = (0..batch)
            .map(|_| {
                let mut connection = Connection::new(Rc::clone(shared));
                monoio::spawn(async move { connection.connect().await.map(|()| connection) })
            })
            .collect();
        for task in tasks {
            let Ok(connection) = task.await else {
                bail!("connection {} to {} was refused", connections.len() + 1, shared.plan.target.addr);
            };
            connections.push(connection);
        }
    }
    Ok(connections)
}

async fn load(shared: &Rc<Shared>, connections: Vec<Connection>) {
    let step = shared.plan.ramp.div_f64(f64::from(u32::try_from(connections.len()).unwrap_or(1)));
    let mut first_after = Duration::ZERO;
    let mut tasks = Vec::with_capacity(connections.len());
    for connection in connections {
        tasks.push(monoio::spawn(connection.run(first_after)));
        first_after += step;
    }
    let all = async {
        for task in tasks {
            task.await;
        }
    };
    let limit = shared.plan.duration + shared.plan.grace;
    if monoio::time::timeout(limit, all).await.is_err() {
        let mut tally = shared.tally.borrow_mut();
        for _ in 0..shared.in_flight.get() {
            tally.fault(Fault::Unfinished);
        }
    }
}

/// Opens streams in batches, each after the first event of the last batch, and keeps them.
async fn hold(shared: &Rc<Shared>, connections: Vec<Connection>) {
    let wanted = u64::try_from(connections.len()).unwrap_or(u64::MAX);
    let mut opened = 0;
    for connection in connections {
        monoio::spawn(connection.hold());
        opened += 1;
        if opened % OPENING_MAX == 0 && !wait_held(shared, u64::try_from(opened).unwrap_or(0)).await {
            break;
        }
    }
    wait_held(shared, wanted).await;
    eprintln!("holding {} streams", shared.tally.borrow().held);
    monoio::time::sleep(shared.plan.duration).await;
    let mut tally = shared.tally.borrow_mut();
    tally.ok = tally.held;
    let missing = wanted.saturating_sub(tally.held + tally.fault_count());
    for _ in 0..missing {
        tally.fault(Fault::Unfinished);
    }
    eprintln!("closing {} streams", tally.held);
}

/// Waits until this many streams gave an event or failed, at most the grace time; says whether they did.
async fn wait_held(shared: &Shared, wanted: u64) -> bool {
    let deadline = Instant::now() + shared.plan.grace;
    while Instant::now() < deadline {
        let settled = {
            let tally = shared.tally.borrow();
            tally.held + tally.fault_count()
        };
        if settled >= wanted {
            return true;
        }
        monoio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

fn raise_descriptors(connections: usize) -> anyhow::Result<()> {
    let wanted = u64::try_from(connections)? + DESCRIPTORS_SPARE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted {
        bail!("{connections} connections need {wanted} descriptors, the limit is {hard}; raise `ulimit -n`");
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    Ok(())
}

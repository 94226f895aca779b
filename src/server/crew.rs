//! Starts the workers and hears when one ends.
//!
//! The crew has a thread of its own in the chassis. It gets its orders from the admin thread once, and reports back; what a
//! worker's end means, the admin thread decides.

use std::{io, sync::Arc, thread::JoinHandle};

use async_trait::async_trait;
use pingora_core::{
    server::{ListenFds, ShutdownWatch},
    services::{ServiceReadyNotifier, ServiceWithDependents},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    base::log::{Level, Value, emit},
    shared::Shared,
    worker::{Plan, spawn},
};

use super::error::ServerError;

/// Makes a crew and the way to give it its orders.
pub(super) fn new() -> (Crew, oneshot::Sender<Orders>) {
    let (sender, orders) = oneshot::channel();
    (Crew { orders: Some(orders) }, sender)
}

/// The part of the chassis that starts the workers.
pub(super) struct Crew {
    orders: Option<oneshot::Receiver<Orders>>,
}

/// Which workers to start.
pub(super) struct Orders {
    shared: Arc<Shared>,
    plans: Vec<Plan>,
    started: oneshot::Sender<Result<(), ServerError>>,
    left: watch::Sender<usize>,
}

/// What the admin thread hears of the workers.
pub(super) struct Roster {
    started: Option<oneshot::Receiver<Result<(), ServerError>>>,
    left: watch::Receiver<usize>,
    count: usize,
}

impl Orders {
    /// Makes orders, and the place where their outcome is heard.
    pub(super) fn new(shared: Arc<Shared>, plans: Vec<Plan>) -> (Self, Roster) {
        let count = plans.len();
        let (started, has_started) = oneshot::channel();
        let (left, are_left) = watch::channel(count);
        (Self { shared, plans, started, left }, Roster { started: Some(has_started), left: are_left, count })
    }
}

impl Roster {
    /// Waits until every worker serves.
    ///
    /// # Errors
    /// Why one does not.
    pub(super) async fn started(&mut self) -> Result<(), ServerError> {
        let Some(started) = self.started.take() else {
            return Ok(());
        };
        started.await.unwrap_or(Err(ServerError::WorkerDied))
    }

    /// Waits until a worker has ended. A crew that has gone counts as one.
    pub(super) async fn one_ended(&mut self) {
        let _ = self.left.wait_for(|left| *left < self.count).await;
    }

    /// Waits until no worker is left but so many that will never end.
    pub(super) async fn ended_but(&mut self, blocked: usize) {
        let _ = self.left.wait_for(|left| *left <= blocked).await;
    }
}

#[async_trait]
impl ServiceWithDependents for Crew {
    async fn start_service(
        &mut self,
        _inherited: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        let Some(orders) = self.orders.take() else { return };
        // Without orders the start has failed, and the admin thread says why.
        if let Ok(orders) = orders.await {
            carry_out(orders, ready).await;
        }
    }

    fn name(&self) -> &str {
        "crew"
    }
}

async fn carry_out(orders: Orders, ready: ServiceReadyNotifier) {
    let Orders { shared, plans, started, left } = orders;
    let (ended, mut endings) = mpsc::unbounded_channel();
    let spawned = plans.into_iter().map(|plan| {
        spawn(plan, Arc::clone(&shared), Farewell(ended.clone())).map_err(ServerError::io("cannot start a worker"))
    });
    let workers = match spawned.collect::<Result<Vec<_>, _>>() {
        Ok(workers) => workers,
        Err(error) => {
            // Those that run already are told to end; the process does not wait for them.
            shared.stop();
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(()));
    ready.notify_ready();
    for remaining in (0..workers.len()).rev() {
        // The sender of this function is alive, so there is always an end to come.
        let _ = endings.recv().await;
        if remaining > 0 {
            let _ = left.send(remaining);
        }
    }
    workers.into_iter().for_each(report);
    let _ = left.send(0);
}

/// Tells the crew that a worker's thread ends, however it ends.
struct Farewell(mpsc::UnboundedSender<()>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

fn report(worker: JoinHandle<io::Result<()>>) {
    match worker.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let text = error.to_string();
            emit(Level::Error, "a worker failed", &[("error", Value::Text(&text))]);
        }
        Err(_) => emit(Level::Error, "a worker panicked", &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // F-31: what the process waits for, to drain the others and end.
    #[tokio::test]
    async fn roster_hears_the_first_end_and_the_last() {
        let (left, are_left) = watch::channel(2);
        let mut roster = Roster { started: None, left: are_left, count: 2 };
        assert!(tokio::time::timeout(std::time::Duration::ZERO, roster.one_ended()).await.is_err());
        left.send(1).unwrap();
        roster.one_ended().await;
        assert!(tokio::time::timeout(std::time::Duration::ZERO, roster.ended_but(0)).await.is_err());
        roster.ended_but(1).await;
        left.send(0).unwrap();
        roster.ended_but(0).await;
    }

    #[tokio::test]
    async fn crew_that_has_gone_leaves_nobody_waiting() {
        let (left, are_left) = watch::channel(1);
        let (started, has_started) = oneshot::channel();
        let mut roster = Roster { started: Some(has_started), left: are_left, count: 1 };
        drop((left, started));
        assert!(matches!(roster.started().await, Err(ServerError::WorkerDied)));
        roster.one_ended().await;
        roster.ended_but(0).await;
    }
}

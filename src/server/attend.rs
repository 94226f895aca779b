//! Signals, changes and dead workers, until all has drained.

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    base::{
        log::{Level, Value, emit},
        now,
    },
    control::Publisher,
    shared::Shared,
};

use super::{
    chassis::Verdict,
    crew::Roster,
    edge::EdgeControl,
    error::ServerError,
    heartbeats::{Heartbeats, LOOK_EVERY},
    source::Follow,
};

/// How long workers may take to end once all connections were told to: two seconds for their last words, and some more.
const STOP_MAX: Duration = Duration::from_secs(8);

/// The signals that mean something to the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on: a signal that comes at once must drain, not kill.
    pub(super) fn listen() -> Result<Self, ServerError> {
        let listen = |kind| signal(kind).map_err(ServerError::io("cannot listen for signals"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal to stop: the first drains, the next cuts.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Whom and what the admin thread attends to.
pub(super) struct Attended {
    /// Changes of the configuration.
    pub follow: Follow,
    /// The workers.
    pub roster: Roster,
    /// The signals.
    pub signals: Signals,
    /// The edge, if there is one.
    pub edge: Option<EdgeControl>,
}

/// Attends to the process from its first request to its last.
///
/// # Errors
/// [`ServerError::WorkerDied`] when a worker ended although nobody asked it to, [`ServerError::WorkerBlocked`] when one stands
/// still or has not confirmed a change in time; the others have drained then.
pub(super) async fn attend(shared: &Arc<Shared>, publisher: &Publisher, attended: Attended) -> Verdict {
    let Attended { mut follow, mut roster, mut signals, mut edge } = attended;
    let mut heartbeats = Heartbeats::new(now());
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let verdict = loop {
        tokio::select! {
            _ = signals.terminate.recv() => break Ok(()),
            _ = signals.interrupt.recv() => {
                shared.stop();
                break Ok(());
            }
            _ = signals.hangup.recv() => {
                follow.reload(publisher);
                if let Some(edge) = &mut edge {
                    edge.reload();
                }
            }
            () = follow.changed() => follow.reload(publisher),
            Some(edge) = changed(&mut edge) => edge.reload(),
            () = roster.one_ended() => {
                emit(Level::Error, "a worker ended unexpectedly; draining the others", &[]);
                break Err(ServerError::WorkerDied);
            }
            late = publisher.given_up() => break Err(ServerError::WorkerBlocked(late)),
            _ = look.tick() => {
                publisher.age_streams();
                let missing = heartbeats.missing(now(), shared.registry.workers());
                if !missing.is_empty() {
                    emit(Level::Error, "a worker stands still for 10 s; draining the others", &[]);
                    break Err(ServerError::WorkerBlocked(missing));
                }
            }
        }
    };
    if verdict.is_ok() {
        emit(Level::Info, "draining", &[("grace_s", Value::Uint(shared.settings.drain_grace.as_secs()))]);
    }
    // The edge first: it still needs workers for what it has taken.
    if let Some(edge) = &edge {
        edge.drain();
    }
    shared.drain();
    let blocked = if let Err(ServerError::WorkerBlocked(workers)) = &verdict { workers.len() } else { 0 };
    drain(shared, (roster, blocked), signals).await;
    if let Some(edge) = edge {
        edge.ended().await;
    }
    verdict
}

/// Waits for other certificates; without an edge there are none to wait for.
async fn changed(edge: &mut Option<EdgeControl>) -> Option<&mut EdgeControl> {
    let edge = edge.as_mut()?;
    edge.changed().await;
    Some(edge)
}

/// Waits for the workers: they end when their last connection does, or after the grace time. So many of them never end.
async fn drain(shared: &Shared, (mut roster, blocked): (Roster, usize), mut signals: Signals) {
    let wait = if shared.is_stopping() { STOP_MAX } else { shared.settings.drain_grace };
    let over = sleep(wait);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = roster.ended_but(blocked) => return,
            () = signals.stop() => {
                shared.stop();
                over.as_mut().reset(Instant::now() + STOP_MAX);
            }
            () = &mut over => {
                if shared.is_stopping() {
                    emit(Level::Error, "a worker does not end; the process ends without it", &[]);
                    return;
                }
                emit(Level::Warn, "the grace time is over; open streams are cut", &[]);
                shared.stop();
                over.as_mut().reset(Instant::now() + STOP_MAX);
            }
        }
    }
}

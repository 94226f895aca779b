//! Signals, changes and dead workers, until all has drained.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    base::log::{Level, Value, emit},
    control::Publisher,
    shared::Shared,
};

use super::{chassis::Verdict, crew::Roster, edge::EdgeControl, error::ServerError, source::Follow};

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
/// [`ServerError::WorkerDied`] when a worker ended although nobody asked it to; the others have drained then.
pub(super) async fn attend(shared: &Arc<Shared>, publisher: &Publisher, attended: Attended) -> Verdict {
    let Attended { mut follow, mut roster, mut signals, mut edge } = attended;
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
    drain(shared, roster, signals).await;
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

/// Waits for the workers: they end when their last connection does, or after the grace time.
async fn drain(shared: &Shared, mut roster: Roster, mut signals: Signals) {
    let grace = tokio::time::sleep(shared.settings.drain_grace);
    tokio::pin!(grace);
    loop {
        tokio::select! {
            () = roster.all_ended() => return,
            () = signals.stop() => shared.stop(),
            () = &mut grace, if !shared.is_stopping() => {
                emit(Level::Warn, "the grace time is over; open streams are cut", &[]);
                shared.stop();
            }
        }
    }
}

//! Signals, changes and dead workers, until all has drained.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    base::log::{Level, Value, emit},
    control::Publisher,
    shared::Shared,
};

use super::{chassis::Verdict, crew::Roster, error::ServerError, source::Follow};

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

/// Attends to the process from its first request to its last.
///
/// # Errors
/// [`ServerError::WorkerDied`] when a worker ended although nobody asked it to; the others have drained then.
pub(super) async fn attend(
    shared: &Arc<Shared>,
    publisher: &Publisher,
    mut follow: Follow,
    mut roster: Roster,
    mut signals: Signals,
) -> Verdict {
    let verdict = loop {
        tokio::select! {
            _ = signals.terminate.recv() => break Ok(()),
            _ = signals.interrupt.recv() => {
                shared.stop();
                break Ok(());
            }
            _ = signals.hangup.recv() => follow.reload(publisher),
            () = follow.changed() => follow.reload(publisher),
            () = roster.one_ended() => {
                emit(Level::Error, "a worker ended unexpectedly; draining the others", &[]);
                break Err(ServerError::WorkerDied);
            }
        }
    };
    if verdict.is_ok() {
        emit(Level::Info, "draining", &[("grace_s", Value::Uint(shared.settings.drain_grace.as_secs()))]);
    }
    shared.drain();
    drain(shared, roster, signals).await;
    verdict
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

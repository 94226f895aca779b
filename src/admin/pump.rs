//! Takes usage records and log lines from their queues to the output.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use super::output::{Batch, Output};
use crate::base::log;
use crate::usage::{Queue, append_line};

/// How often the queues are emptied.
const PERIOD: Duration = Duration::from_millis(20);
/// Lines of each kind in one batch at most; then the admin thread does something else.
const BATCH_LINES_MAX: usize = 512;
/// How long the last batch may take to be written.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Whether each request is written as a line. Records are taken from their queue either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// A line a request.
    On,
    /// No lines.
    Off,
}

/// What is pumped, and where to.
pub struct Pump {
    /// Records of the workers.
    pub queue: Arc<Queue>,
    /// Where the lines go.
    pub output: Arc<Output>,
    /// Whether requests are logged.
    pub access_log: AccessLog,
    /// Makes the pump run before its next turn, which is due within 20 ms.
    pub wake: Arc<Notify>,
}

/// Empties the queues every 20 ms, and when woken, until `shutdown` says so; then empties them once more and closes the output.
///
/// Tell it to stop when the workers have stopped: what they send later is lost.
pub async fn pump(pump: Pump, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = pump.wake.notified() => {}
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
        while pump.move_batch() {
            yield_now().await;
        }
    }
    while pump.move_batch() {}
    let output = Arc::clone(&pump.output);
    // The wait is for a thread, so it must not hold up the runtime.
    let _ = tokio::task::spawn_blocking(move || output.close(CLOSE_WAIT_MAX)).await;
}

impl Pump {
    /// Moves one batch; true when there may be more.
    fn move_batch(&self) -> bool {
        let mut batch = Batch::default();
        let app_lines = log::drain(BATCH_LINES_MAX, &mut batch.bytes);
        let rows = self.queue.drain(BATCH_LINES_MAX, |record| {
            if self.access_log == AccessLog::On {
                append_line(&record, &mut batch.bytes);
                batch.access_lines += 1;
            }
        });
        batch.app_lines = u64::try_from(app_lines).unwrap_or(u64::MAX);
        if !batch.bytes.is_empty() {
            self.output.offer(batch);
        }
        app_lines == BATCH_LINES_MAX || rows == BATCH_LINES_MAX
    }
}

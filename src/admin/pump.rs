//! Moves usage records and log lines to the output.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::output::{Batch, Output};
use crate::base::{Idle, Rest, log};
use crate::control::{Control, Keeper, KeyUse};
use crate::usage::{Queue, append_line};

/// How often the queues are emptied.
const PERIOD: Duration = Duration::from_millis(20);
/// Lines of each kind in one batch at most; then the admin thread does something else.
const BATCH_LINES_MAX: usize = 512;
/// In records: half a second without one, after enough of them for it to be worth it to give back what they took.
const IDLE: Idle = Idle { quiet_max: 0, turns: 25, done_min: 256 };
/// How long the last lines may take to reach the output, and then to be written.
const FLUSH_MAX: Duration = Duration::from_secs(2);

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
    /// Where the last use of each key is noted; none where nothing is stored.
    pub key_use: Option<Arc<KeyUse>>,
    /// Stores what was used; none where nothing is stored.
    pub keeper: Option<Arc<Keeper>>,
    /// Shows requests to those who follow them, and keeps what they said; none where nothing is stored.
    pub said: Option<Arc<Control>>,
    /// Makes the pump run before its next turn, which is due within 20 ms.
    pub wake: Arc<Notify>,
}

/// Empties the queues every 20 ms, and when woken, until `shutdown` says so; then empties them once more and closes the output.
///
/// Tell it to stop when the workers have stopped: what they send later is lost.
pub async fn pump(pump: Pump, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rest = Rest::new(IDLE);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = pump.wake.notified() => {}
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
        // Once even if nothing waits: the application log then reports what it held back.
        let mut moved = pump.move_batch();
        while pump.movable() > 0 {
            yield_now().await;
            moved += pump.move_batch();
        }
        rest.turn(u64::try_from(moved).unwrap_or(u64::MAX), || ());
    }
    if timeout(FLUSH_MAX, pump.flush()).await.is_err() {
        log::emit(log::Level::Warn, "log lines were lost at shutdown", &[]);
    }
    let output = Arc::clone(&pump.output);
    // The wait is for a thread, so it must not hold up the runtime.
    let _ = tokio::task::spawn_blocking(move || output.close(FLUSH_MAX)).await;
}

impl Pump {
    fn depth(&self) -> usize {
        self.queue.depth() + log::depth()
    }

    /// What can be moved now: records stay in their queue, and that slows admission, while the store takes nothing.
    fn movable(&self) -> usize {
        let records = if self.has_room() { self.queue.depth() } else { 0 };
        records + log::depth()
    }

    fn has_room(&self) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| keeper.has_room())
    }

    /// Moves one batch and returns how many records it had; loses its lines rather than wait for the output, since the rows
    /// behind it matter more.
    fn move_batch(&self) -> usize {
        let (batch, records) = self.take_batch();
        if !batch.bytes.is_empty()
            && let Err(batch) = self.output.offer(batch)
        {
            self.output.lose(&batch);
        }
        records
    }

    /// Moves everything, waiting for the output where it is full.
    async fn flush(&self) {
        while self.depth() > 0 {
            if self.movable() == 0 {
                sleep(PERIOD).await;
                continue;
            }
            let (mut batch, _) = self.take_batch();
            while let Err(refused) = self.output.offer(batch) {
                batch = refused;
                sleep(PERIOD).await;
            }
        }
    }

    fn take_batch(&self) -> (Batch, usize) {
        let mut batch = Batch::default();
        let app_lines = log::drain(BATCH_LINES_MAX, &mut batch.bytes);
        batch.app_lines = u64::try_from(app_lines).unwrap_or(u64::MAX);
        let records_max = if self.has_room() { BATCH_LINES_MAX } else { 0 };
        let records = self.queue.drain(records_max, |record| {
            if let (Some(key_use), Some(key)) = (&self.key_use, &record.caller) {
                key_use.note(&key.key_id, record.at);
            }
            if self.access_log == AccessLog::On {
                append_line(&record, &mut batch.bytes);
                batch.access_lines += 1;
            }
            if let Some(control) = &self.said {
                control.tails().note(&record);
                control.payloads().note(&record);
            }
            if let Some(keeper) = &self.keeper {
                keeper.note(record);
            }
        });
        (batch, records)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader, pipe};

    use tokio::runtime::Builder;

    use super::*;
    use crate::base::{RequestId, UnixTime};
    use crate::usage::Record;

    fn record(id: u128) -> Record {
        let at = UnixTime(Duration::from_secs(1_700_000_000));
        Record { status: 200, duration: Duration::from_millis(1), ..Record::begun(at, RequestId::made(id), "chat") }
    }

    fn piped(rows: u128, access_log: AccessLog) -> (Pump, PipeReader) {
        let queue = Arc::new(Queue::default());
        for id in 0..rows {
            assert!(queue.try_send(record(id)));
        }
        let (reader, writer) = pipe().unwrap();
        let pump = Pump {
            queue,
            output: Arc::new(Output::start(writer).unwrap()),
            access_log,
            key_use: None,
            keeper: None,
            said: None,
            wake: Arc::new(Notify::new()),
        };
        (pump, reader)
    }

    /// Request ids of the access lines, read until the pipe is closed.
    fn read_ids(reader: PipeReader) -> Vec<String> {
        BufReader::new(reader)
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap())
            .filter(|line| line["stream"] == "access")
            .map(|line| line["request_id"].as_str().unwrap().to_owned())
            .collect()
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let bounded = async { tokio::time::timeout(Duration::from_secs(20), test).await };
        runtime.block_on(bounded).unwrap()
    }

    #[test]
    fn rows_leave_as_lines_in_order_while_the_pump_runs() {
        run(async {
            let (parts, reader) = piped(2_000, AccessLog::On);
            let queue = Arc::clone(&parts.queue);
            let (stop, stopped) = watch::channel(false);
            let task = tokio::spawn(pump(parts, stopped));
            let read = tokio::task::spawn_blocking(|| read_ids(reader));
            while queue.depth() > 0 {
                tokio::task::yield_now().await;
            }
            stop.send(true).unwrap();
            task.await.unwrap();
            let ids = read.await.unwrap();
            let want: Vec<String> = (0..2_000).map(|id| RequestId::made(id).as_str().to_owned()).collect();
            assert_eq!(ids, want);
        });
    }

    #[test]
    fn all_rows_are_flushed_at_shutdown_although_the_output_is_full() {
        let rows = 60_000;
        let (parts, reader) = piped(rows, AccessLog::On);
        let (_stop, stopped) = watch::channel(true);
        let reading = std::thread::spawn(|| read_ids(reader));
        run(pump(parts, stopped));
        assert_eq!(reading.join().unwrap().len(), usize::try_from(rows).unwrap());
    }

    #[test]
    fn switched_off_log_still_empties_the_queue() {
        let (parts, reader) = piped(100, AccessLog::Off);
        let queue = Arc::clone(&parts.queue);
        let (_stop, stopped) = watch::channel(true);
        run(pump(parts, stopped));
        assert_eq!(queue.depth(), 0);
        assert!(read_ids(reader).is_empty());
    }

    #[test]
    fn stuck_reader_loses_lines_and_not_the_admin_thread() {
        run(async {
            let (parts, reader) = piped(0, AccessLog::On);
            let (queue, output) = (Arc::clone(&parts.queue), Arc::clone(&parts.output));
            let (_stop, stopped) = watch::channel(false);
            let wake = Arc::clone(&parts.wake);
            let task = tokio::spawn(pump(parts, stopped));
            while output.access_lines_dropped() == 0 {
                for id in 0..4_096 {
                    assert!(queue.try_send(record(id)));
                }
                wake.notify_one();
                while queue.depth() > 0 {
                    tokio::task::yield_now().await;
                }
            }
            task.abort();
            drop(reader);
        });
    }
}

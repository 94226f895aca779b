//! The thread that writes log lines out.
//!
//! A pipe that nobody reads blocks whoever writes to it, for ever. That may happen to this thread; the admin thread only
//! offers batches to it and counts those that do not fit.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Batches that wait at most for the writing thread.
const BATCHES_MAX: usize = 32;
/// Pause before a write that would block is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Takes batches of log lines and writes each with one call, without making its caller wait.
pub struct Output {
    sender: Mutex<Option<SyncSender<Batch>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<Lost>,
}

/// Whole lines, each with its line feed.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) access_lines: u64,
    pub(super) app_lines: u64,
}

#[derive(Default)]
struct Lost {
    access_lines: AtomicU64,
    app_lines: AtomicU64,
}

impl Output {
    /// Starts the writing thread on the process' standard output.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated or the thread not be started.
    pub fn stdout() -> io::Result<Self> {
        let descriptor = io::stdout().as_fd().try_clone_to_owned()?;
        Self::start(File::from(descriptor))
    }

    /// Starts the writing thread on `sink`, which should not buffer.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(BATCHES_MAX);
        let lost = Arc::new(Lost::default());
        let of_thread = Arc::clone(&lost);
        let thread = thread::Builder::new()
            .name("millrace-log".into())
            .spawn(move || write_batches(&receiver, sink, &of_thread))?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            lost,
        })
    }

    /// Lines of the access log that could not be written so far.
    #[must_use]
    pub fn access_lines_dropped(&self) -> u64 {
        self.lost.access_lines.load(Relaxed)
    }

    /// Lines of the application log that could not be written so far.
    #[must_use]
    pub fn app_lines_dropped(&self) -> u64 {
        self.lost.app_lines.load(Relaxed)
    }

    /// Hands a batch to the writing thread; it is counted as lost if too many wait.
    pub(super) fn offer(&self, batch: Batch) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match sender.as_ref().map(|sender| sender.try_send(batch)) {
            Some(Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch))) => batch,
            Some(Ok(())) | None => return,
        };
        self.lost.count(&refused);
    }

    /// Lets the writing thread finish and says whether it has; a thread stuck in a write is given up after `wait_max`.
    ///
    /// Nothing is written after this. Waits on the calling thread.
    pub fn close(&self, wait_max: Duration) -> bool {
        drop(
            self.sender
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(thread) = thread else {
            return true;
        };
        let mut waited = Duration::ZERO;
        while !thread.is_finished() {
            if waited >= wait_max {
                return false;
            }
            thread::sleep(RETRY_PAUSE);
            waited += RETRY_PAUSE;
        }
        thread.join().is_ok()
    }
}

impl Lost {
    fn count(&self, batch: &Batch) {
        self.access_lines.fetch_add(batch.access_lines, Relaxed);
        self.app_lines.fetch_add(batch.app_lines, Relaxed);
    }
}

fn write_batches(receiver: &Receiver<Batch>, mut sink: impl Write, lost: &Lost) {
    while let Ok(batch) = receiver.recv() {
        if write_whole(&mut sink, &batch.bytes).is_err() {
            // A reader that has gone does not come back, but a full disk may: later batches are tried again.
            lost.count(&batch);
        }
    }
}

/// As `write_all`, but waits where a non-blocking descriptor has no room.
fn write_whole(sink: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_PAUSE),
            Err(error) => return Err(error),
        }
    }
    sink.flush()
}

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
        Ok(Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), lost })
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

    /// Hands a batch to the writing thread; gives it back if too many wait or the output is closed.
    pub(super) fn offer(&self, batch: Batch) -> Result<(), Batch> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else {
            return Err(batch);
        };
        sender.try_send(batch).map_err(|refused| match refused {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })
    }

    /// Counts the lines of a batch as lost.
    pub(super) fn lose(&self, batch: &Batch) {
        self.lost.count(batch);
    }

    /// Lets the writing thread finish and says whether it has; a thread stuck in a write is given up after `wait_max`.
    ///
    /// Nothing is written after this. Waits on the calling thread.
    pub fn close(&self, wait_max: Duration) -> bool {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Reports each write.
    struct Writes(Sender<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Gives these answers one after the other, then takes everything.
    struct Script(Vec<io::Result<usize>>, Vec<u8>);

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = if self.0.is_empty() { bytes.len() } else { self.0.remove(0)? };
            self.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batch(text: &str) -> Batch {
        Batch { bytes: text.into(), access_lines: 1, app_lines: 2 }
    }

    #[test]
    fn each_batch_is_one_write_in_order() {
        let (sender, receiver) = channel();
        let output = Output::start(Writes(sender)).unwrap();
        output.offer(batch("a\nb\n")).unwrap();
        output.offer(batch("c\n")).unwrap();
        assert!(output.close(Duration::from_secs(5)));
        let writes: Vec<Vec<u8>> = receiver.iter().collect();
        assert_eq!(writes, [b"a\nb\n".to_vec(), b"c\n".to_vec()]);
    }

    #[test]
    fn short_and_blocked_writes_are_continued() {
        let script = vec![Ok(1), Err(ErrorKind::WouldBlock.into()), Err(ErrorKind::Interrupted.into()), Ok(2)];
        let mut sink = Script(script, Vec::new());
        write_whole(&mut sink, b"abcdef").unwrap();
        assert_eq!(sink.1, b"abcdef");
    }

    #[test]
    fn closed_pipe_is_counted_and_blocks_nobody() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = Output::start(writer).unwrap();
        for _ in 0..3 {
            output.offer(batch("x\n")).unwrap();
        }
        assert!(output.close(Duration::from_secs(5)));
        assert_eq!(output.access_lines_dropped(), 3);
        assert_eq!(output.app_lines_dropped(), 6);
    }

    #[test]
    fn pipe_that_nobody_reads_does_not_block_the_caller() {
        let (reader, writer) = io::pipe().unwrap();
        let output = Output::start(writer).unwrap();
        let large = "x".repeat(1 << 20);
        // One batch is being written and the channel is full of others.
        let refused = (0..BATCHES_MAX + 8).filter(|_| output.offer(batch(&large)).is_err()).count();
        assert!((7..=8).contains(&refused), "{refused}");
        assert!(!output.close(Duration::from_millis(20)), "not stuck");
        drop(reader);
    }

    #[test]
    fn closed_output_gives_batches_back() {
        let output = Output::start(io::sink()).unwrap();
        assert!(output.close(Duration::from_secs(5)));
        assert!(output.offer(batch("x\n")).is_err());
        assert!(output.close(Duration::ZERO), "closing twice is harmless");
    }
}

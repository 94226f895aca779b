//! The thread that counts.
//!
//! It starts with the first body that is to be counted. Whoever waits for a count looks again and again and gives up when it
//! takes too long: the thread skips what nobody waits for.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    task::Poll,
    thread,
    time::Duration,
};

use super::{bound::bound, encoding::Encoding, table::Table};

/// Bodies that may wait to be counted.
const JOBS_MAX: usize = 64;
/// Longest body that is counted, in bytes: the worst text of this length takes about half a second.
const BODY_BYTES_MAX: usize = 2 << 20;
/// Bytes of all bodies that wait.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// After so long without a count the tables are let go.
const TABLES_KEPT: Duration = Duration::from_secs(600);

const OPEN: u64 = u64::MAX;
const NONE: u64 = u64::MAX - 1;

/// Counts tokens on a thread of its own.
#[derive(Default)]
pub struct Counter {
    jobs: OnceLock<Option<SyncSender<Job>>>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// A count on its way.
#[derive(Debug)]
pub struct Counting(Arc<AtomicU64>);

impl Counting {
    /// The most input tokens that the provider can bill for the body, once that is known; none when it has no such bound.
    pub fn bound(&self) -> Poll<Option<u64>> {
        match self.0.load(Ordering::Acquire) {
            OPEN => Poll::Pending,
            NONE => Poll::Ready(None),
            tokens => Poll::Ready(Some(tokens)),
        }
    }
}

struct Job {
    encoding: Encoding,
    body: Box<[u8]>,
    result: Arc<AtomicU64>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// Whatever becomes of a job: its room is free again and nobody waits for it for ever.
impl Drop for Job {
    fn drop(&mut self) {
        self.waiting_bytes.fetch_sub(self.body.len(), Ordering::Relaxed);
        let _ = self.result.compare_exchange(OPEN, NONE, Ordering::AcqRel, Ordering::Relaxed);
    }
}

impl Counter {
    /// Starts to count a body, which is copied. None when it is too long or too much waits already; never waits itself.
    #[must_use]
    pub fn start(&self, encoding: Encoding, body: &[u8]) -> Option<Counting> {
        if body.len() > BODY_BYTES_MAX {
            return None;
        }
        let jobs = self.jobs.get_or_init(start_thread).as_ref()?;
        let waiting = self.waiting_bytes.fetch_add(body.len(), Ordering::Relaxed);
        if waiting.saturating_add(body.len()) > WAITING_BYTES_MAX {
            self.waiting_bytes.fetch_sub(body.len(), Ordering::Relaxed);
            return None;
        }
        let result = Arc::new(AtomicU64::new(OPEN));
        let waiting_bytes = Arc::clone(&self.waiting_bytes);
        let job = Job { encoding, body: body.into(), result: Arc::clone(&result), waiting_bytes };
        jobs.try_send(job).ok()?;
        Some(Counting(result))
    }
}

fn start_thread() -> Option<SyncSender<Job>> {
    let (sender, receiver) = sync_channel(JOBS_MAX);
    let started = thread::Builder::new().name("millrace-tokens".into()).spawn(move || count_all(&receiver));
    started.ok().map(|_| sender)
}

/// Tables that are built, of [`Encoding`]s in their order.
#[derive(Default)]
struct Tables {
    cl100k: Option<Table>,
    o200k: Option<Table>,
}

impl Tables {
    fn get(&mut self, encoding: Encoding) -> Option<&Table> {
        let place = match encoding {
            Encoding::Cl100k => &mut self.cl100k,
            Encoding::O200k => &mut self.o200k,
        };
        if place.is_none() {
            *place = Table::build(encoding);
        }
        place.as_ref()
    }
}

fn count_all(jobs: &Receiver<Job>) {
    leave_the_worker();
    let mut tables = Tables::default();
    loop {
        let job = match jobs.recv_timeout(TABLES_KEPT) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                tables = Tables::default();
                match jobs.recv() {
                    Ok(job) => job,
                    Err(_) => return,
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let is_awaited = Arc::strong_count(&job.result) > 1;
        if is_awaited {
            let counted = catch_unwind(AssertUnwindSafe(|| {
                let table = tables.get(job.encoding)?;
                bound(&job.body, |text| table.count(text))
            }));
            let tokens = counted.ok().flatten().filter(|tokens| *tokens < NONE);
            job.result.store(tokens.unwrap_or(NONE), Ordering::Release);
        }
    }
}

/// A thread begins on the processor of the one that starts it, which is a worker: it may run where the process may.
fn leave_the_worker() {
    let process = nix::sched::sched_getaffinity(nix::unistd::Pid::this());
    if let Ok(allowed) = process {
        // Without it the count shares the worker's processor: slower, and nothing else.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &allowed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn wait(counting: &Counting) -> Option<u64> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match counting.bound() {
                Poll::Ready(bound) => return bound,
                Poll::Pending => assert!(Instant::now() < until, "no count"),
            }
            thread::yield_now();
        }
    }

    #[test]
    fn bodies_are_counted_and_what_has_no_bound_says_so() {
        let counter = Counter::default();
        let body = format!(r#"{{"model":"m","input":"{}"}}"#, "hello world ".repeat(500));
        let counted = wait(&counter.start(Encoding::Cl100k, body.as_bytes()).unwrap()).unwrap();
        assert!((1_000..2_000).contains(&counted), "{counted} of {} bytes", body.len());
        assert_eq!(wait(&counter.start(Encoding::Cl100k, b"no JSON").unwrap()), None);
        assert_eq!(counter.waiting_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn too_much_is_not_taken() {
        let counter = Counter::default();
        assert!(counter.start(Encoding::Cl100k, &vec![b' '; BODY_BYTES_MAX + 1]).is_none());
        assert!(counter.jobs.get().is_none(), "no thread for nothing");
        counter.waiting_bytes.store(WAITING_BYTES_MAX, Ordering::Relaxed);
        assert!(counter.start(Encoding::Cl100k, b"{}").is_none());
        assert_eq!(counter.waiting_bytes.load(Ordering::Relaxed), WAITING_BYTES_MAX);
    }

    #[test]
    fn a_full_queue_takes_no_more_and_a_closed_one_leaves_nobody_waiting() {
        let (sender, receiver) = sync_channel(1);
        let counter = Counter { jobs: OnceLock::from(Some(sender)), ..Counter::default() };
        let first = counter.start(Encoding::Cl100k, b"{}").unwrap();
        assert!(counter.start(Encoding::Cl100k, b"{}").is_none());
        assert_eq!(counter.waiting_bytes.load(Ordering::Relaxed), 2);
        assert!(first.bound().is_pending());
        drop(receiver);
        assert_eq!(first.bound(), Poll::Ready(None));
        assert_eq!(counter.waiting_bytes.load(Ordering::Relaxed), 0);
    }
}

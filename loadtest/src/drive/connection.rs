//! One connection: sends requests, reads answers, checks them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::TcpStream;

use super::answer::Answer;
use super::dial;
use super::events::Scanner;
use super::pace::{Pace, Ticket};
use super::plan::{Mode, Plan};
use super::tally::{Fault, Tally, record};
use super::timer::Timer;

/// Most bytes of a JSON answer that are kept to look at.
const KEPT_BYTES_MAX: usize = 4096;
/// Wait after a failed request, so that a dead server does not turn the run into a busy loop.
const FAULT_PAUSE: Duration = Duration::from_millis(10);

/// What all connections of a run share; one thread, so no locks.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) request: Rc<Vec<u8>>,
    pub(crate) pace: RefCell<Pace>,
    pub(crate) tally: RefCell<Tally>,
    pub(crate) timer: Rc<Timer>,
    /// Start of the run; latencies of an open loop count from it.
    pub(crate) start: Cell<Instant>,
    /// Requests sent and not answered.
    pub(crate) in_flight: Cell<u64>,
}

/// One connection with its buffers, which last for the whole run.
pub(crate) struct Connection {
    shared: Rc<Shared>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    answer: Answer,
    check: Check,
}

/// What is known of the answer so far.
struct Check {
    mode: Mode,
    scanner: Scanner,
    kept: Vec<u8>,
    late_events: u64,
    last_event: Option<Instant>,
}

impl Connection {
    /// Makes a connection that is not connected yet.
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        let mode = shared.plan.mode;
        let buffer = Vec::with_capacity(shared.plan.read_bytes());
        Self {
            shared,
            stream: None,
            buffer,
            answer: Answer::new(),
            check: Check {
                mode,
                scanner: Scanner::default(),
                kept: Vec::with_capacity(KEPT_BYTES_MAX),
                late_events: 0,
                last_event: None,
            },
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Fault::Connect`] when the server does not accept.
    pub(crate) async fn connect(&mut self) -> Result<(), Fault> {
        let stream = dial::connect(&self.shared.plan).await.map_err(|_| Fault::Connect)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends requests until the pace ends. `first_after` delays the first of a closed loop.
    pub(crate) async fn run(mut self, first_after: Duration) {
        let shared = Rc::clone(&self.shared);
        let start = shared.start.get();
        if !first_after.is_zero() {
            shared.timer.until(start + first_after).await;
        }
        loop {
            let ticket = shared.pace.borrow_mut().take(start.elapsed());
            let intended = match ticket {
                None => return,
                Some(Ticket::Now) => Instant::now(),
                Some(Ticket::At(at)) => {
                    let at = start + at;
                    shared.timer.until(at).await;
                    record(&mut shared.tally.borrow_mut().lag, at.elapsed());
                    at
                }
            };
            shared.in_flight.set(shared.in_flight.get() + 1);
            let outcome = self.exchange(intended).await;
            shared.in_flight.set(shared.in_flight.get() - 1);
            self.settle(outcome, intended);
            if !self.answer.keeps_alive() {
                self.stream = None;
            }
            if outcome.is_err() {
                monoio::time::sleep(FAULT_PAUSE).await;
            }
        }
    }

    /// Opens one stream and reads it until it ends or the run drops the task.
    pub(crate) async fn hold(mut self) {
        let shared = Rc::clone(&self.shared);
        let outcome = self.exchange(Instant::now()).await;
        let mut tally = shared.tally.borrow_mut();
        if self.check.scanner.events() > 0 {
            tally.held = tally.held.saturating_sub(1);
        }
        // A held stream is never to end by itself.
        tally.fault(outcome.err().unwrap_or(Fault::Truncated));
    }

    fn settle(&mut self, outcome: Result<(), Fault>, intended: Instant) {
        let mut tally = self.shared.tally.borrow_mut();
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                tally.ok += 1;
                record(&mut tally.latency, now.saturating_duration_since(intended));
                tally.last_answer = Some(now);
            }
            Err(fault) => {
                tally.fault(fault);
                if fault == Fault::Status {
                    tally.status(self.answer.status());
                }
                if matches!(fault, Fault::Status | Fault::Mismatch) {
                    tally.keep_sample(&self.check.kept);
                }
            }
        }
    }

    /// Sends the request and reads the answer to its end.
    async fn exchange(&mut self, intended: Instant) -> Result<(), Fault> {
        self.answer.reset();
        self.check.reset();
        if self.stream.is_none() {
            self.shared.tally.borrow_mut().reconnects += 1;
            self.connect().await?;
        }
        let Some(stream) = self.stream.as_mut() else {
            return Err(Fault::Connect);
        };
        let (written, _) = stream.write_all(Rc::clone(&self.shared.request)).await;
        written.map_err(|_| Fault::Reset)?;
        while !self.answer.is_complete() {
            let (read, buffer) = stream.read(std::mem::take(&mut self.buffer)).await;
            self.buffer = buffer;
            let bytes = match read {
                Ok(0) => {
                    self.answer.close()?;
                    break;
                }
                Ok(length) => self.buffer.get(..length).unwrap_or_default(),
                Err(_) if self.answer.status() == 0 => return Err(Fault::Reset),
                Err(_) => return Err(Fault::Truncated),
            };
            let now = Instant::now();
            let mut tally = self.shared.tally.borrow_mut();
            let check = &mut self.check;
            self.answer.feed(bytes, &mut |part| check.see(part, now, intended, &mut tally))?;
        }
        if self.answer.status() != 200 {
            return Err(Fault::Status);
        }
        self.check.verdict(&self.shared.plan)
    }
}

impl Check {
    fn reset(&mut self) {
        self.scanner = Scanner::default();
        self.kept.clear();
        self.late_events = 0;
        self.last_event = None;
    }

    fn see(&mut self, part: &[u8], now: Instant, intended: Instant, tally: &mut Tally) {
        tally.body_bytes += u64::try_from(part.len()).unwrap_or(0);
        let room = KEPT_BYTES_MAX - self.kept.len();
        self.kept.extend_from_slice(part.get(..room).unwrap_or(part));
        if self.mode == Mode::Json {
            return;
        }
        let seen = self.scanner.feed(part);
        self.late_events += seen.late;
        tally.events += seen.events;
        for _ in 0..seen.events {
            match self.last_event {
                Some(last) => record(&mut tally.gap, now.saturating_duration_since(last)),
                None => {
                    record(&mut tally.first_event, now.saturating_duration_since(intended));
                    if self.mode == Mode::Hold {
                        tally.held += 1;
                    }
                }
            }
            self.last_event = Some(now);
        }
    }

    fn verdict(&self, plan: &Plan) -> Result<(), Fault> {
        let right = match self.mode {
            Mode::Json => plan.expect.is_empty() || memchr::memmem::find(&self.kept, plan.expect.as_bytes()).is_some(),
            Mode::Stream | Mode::Hold => {
                self.scanner.is_done()
                    && self.late_events == 0
                    && plan.events.is_none_or(|events| events == self.scanner.events())
            }
        };
        if right { Ok(()) } else { Err(Fault::Mismatch) }
    }
}

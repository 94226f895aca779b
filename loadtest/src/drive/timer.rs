//! Wakes tasks to the microsecond.
//!
//! The runtime's own timer ticks in milliseconds, which is longer than the latencies measured here. This one is a
//! timerfd, waited for like a socket: no spinning, for the mock provider often shares the core.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::Future;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use monoio::net::UnixStream;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// One timerfd and the tasks that wait for it.
pub(crate) struct Timer {
    fd: TimerFd,
    waiting: RefCell<BinaryHeap<Entry>>,
}

struct Entry {
    at: Instant,
    waker: Waker,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl Timer {
    /// Starts the timer on the runtime of this thread.
    ///
    /// # Errors
    /// The kernel has no file descriptor left.
    pub(crate) fn start() -> anyhow::Result<Rc<Self>> {
        let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // The runtime waits for readiness of any descriptor; a Unix stream is the type that takes one safely.
        let descriptor = fd.as_fd().try_clone_to_owned()?;
        let readiness = UnixStream::from_std(descriptor.into())?;
        let timer = Rc::new(Self { fd, waiting: RefCell::new(BinaryHeap::new()) });
        let running = Rc::clone(&timer);
        monoio::spawn(async move {
            while readiness.readable(false).await.is_ok() {
                running.expire();
            }
        });
        Ok(timer)
    }

    /// Waits until `at`; returns at once when that is over.
    pub(crate) fn until(&self, at: Instant) -> Until<'_> {
        Until { timer: self, at, waits: false }
    }

    fn expire(&self) {
        // Takes the expiry; there may be none when the timer was set again meanwhile.
        let _none_yet = self.fd.wait();
        let now = Instant::now();
        let mut waiting = self.waiting.borrow_mut();
        while let Some(next) = waiting.peek() {
            if next.at > now {
                self.arm(next.at);
                return;
            }
            if let Some(due) = waiting.pop() {
                due.waker.wake();
            }
        }
    }

    fn arm(&self, at: Instant) {
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        // A valid time and an own descriptor: this cannot fail.
        let _armed = self.fd.set(Expiration::OneShot(TimeSpec::from_duration(left)), TimerSetTimeFlags::empty());
    }
}

/// Waits for one moment.
pub(crate) struct Until<'a> {
    timer: &'a Timer,
    at: Instant,
    waits: bool,
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        if !self.waits {
            self.waits = true;
            let mut waiting = self.timer.waiting.borrow_mut();
            let earliest = waiting.peek().is_none_or(|next| self.at < next.at);
            waiting.push(Entry { at: self.at, waker: context.waker().clone() });
            if earliest {
                self.timer.arm(self.at);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_wake_in_order_and_never_early() {
        let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().unwrap();
        runtime.block_on(async {
            let timer = Timer::start().unwrap();
            let start = Instant::now();
            let woken = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = [3_000_u64, 1_000, 2_000, 0]
                .into_iter()
                .map(|after_us| {
                    let (timer, woken) = (Rc::clone(&timer), Rc::clone(&woken));
                    monoio::spawn(async move {
                        let at = start + Duration::from_micros(after_us);
                        timer.until(at).await;
                        assert!(Instant::now() >= at);
                        woken.borrow_mut().push(after_us);
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            assert_eq!(*woken.borrow(), [0, 1_000, 2_000, 3_000]);
        });
    }
}

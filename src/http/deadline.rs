//! One coarse deadline a connection, swept by its worker.
//!
//! A timer per wait would be inserted and removed several times a request. Instead each connection has one cell that
//! says when its present wait ends, and the worker looks through all cells every [`TICK`]. Setting a deadline is one
//! store. Deadlines fire up to two ticks late, never early.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use crate::base::{Instant, Tenure, now};

/// How often a worker looks for deadlines that have passed.
pub const TICK: Duration = Duration::from_millis(50);

const NEVER: u64 = u64::MAX;

/// The wait was ended by its deadline, or because the worker is draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired;

/// The deadline of one connection.
pub struct Deadline(Handle);

/// Waits under a connection's deadline without borrowing the connection.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

struct Inner {
    index: Cell<usize>,
    at_ms: Cell<u64>,
    fired: Cell<bool>,
    idle: Cell<bool>,
    tenure: RefCell<Option<Arc<Tenure>>>,
    waker: RefCell<Option<Waker>>,
}

struct Clock {
    started: Instant,
    now_ms: u64,
    all: Vec<Rc<Inner>>,
}

thread_local! {
    static CLOCK: RefCell<Clock> = RefCell::new(Clock { started: now(), now_ms: 0, all: Vec::new() });
}

/// Wakes every connection whose deadline has passed. The worker calls it once a tick.
pub fn sweep() {
    CLOCK.with_borrow_mut(|clock| {
        let elapsed = now().saturating_duration_since(clock.started);
        clock.now_ms = u64::try_from(elapsed.as_millis()).unwrap_or(NEVER - 1);
        for inner in &clock.all {
            if inner.at_ms.get() <= clock.now_ms {
                inner.fire();
            }
        }
    });
}

/// Ends the wait of every connection between two requests, for a drain.
pub fn interrupt_idle() {
    CLOCK.with_borrow(|clock| {
        for inner in clock.all.iter().filter(|inner| inner.idle.get()) {
            inner.fire();
        }
    });
}

/// Ends the wait of every connection, whatever it does: the drain's grace time is over.
pub fn interrupt_all() {
    CLOCK.with_borrow(|clock| clock.all.iter().for_each(|inner| inner.fire()));
}

/// Ends the wait of every connection that serves by a configuration whose tenure is over.
pub fn interrupt_over() {
    let is_over = |inner: &Inner| inner.tenure.borrow().as_ref().is_some_and(|tenure| tenure.is_over());
    CLOCK.with_borrow(|clock| clock.all.iter().filter(|inner| is_over(inner)).for_each(|inner| inner.fire()));
}

impl Inner {
    fn fire(&self) {
        self.at_ms.set(NEVER);
        self.fired.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self::new()
    }
}

impl Deadline {
    /// Registers a deadline that never passes until it is set.
    #[must_use]
    pub fn new() -> Self {
        CLOCK.with_borrow_mut(|clock| {
            let inner = Rc::new(Inner {
                index: Cell::new(clock.all.len()),
                at_ms: Cell::new(NEVER),
                fired: Cell::new(false),
                idle: Cell::new(false),
                tenure: RefCell::new(None),
                waker: RefCell::new(None),
            });
            clock.all.push(Rc::clone(&inner));
            Self(Handle(inner))
        })
    }

    /// Lets the waits that follow end after `wait` from now.
    pub fn set(&self, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(NEVER / 2);
        let now_ms = CLOCK.with_borrow(|clock| clock.now_ms);
        // The coarse clock may lag by one tick: add it, so that no deadline fires early.
        let tick_ms = u64::try_from(TICK.as_millis()).unwrap_or(0);
        self.0.0.at_ms.set(now_ms.saturating_add(wait_ms).saturating_add(tick_ms));
        self.0.0.fired.set(false);
    }

    /// Marks whether the connection stands between two requests, where a drain may end it.
    pub fn set_idle(&self, idle: bool) {
        self.0.0.idle.set(idle);
    }

    /// Binds the waits that follow to a tenure, until they are bound to none: [`interrupt_over`] ends them.
    pub fn bind(&self, tenure: Option<Arc<Tenure>>) {
        *self.0.0.tenure.borrow_mut() = tenure;
    }

    /// Lets no wait end by time.
    pub fn clear(&self) {
        self.0.0.at_ms.set(NEVER);
        self.0.0.fired.set(false);
    }

    /// Returns a handle that waits under this deadline.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.clone()
    }

    /// As [`Handle::guard`].
    ///
    /// # Errors
    /// [`Expired`].
    pub async fn guard<F: Future + Unpin>(&self, future: F) -> Result<F::Output, Expired> {
        self.0.guard(future).await
    }
}

impl Handle {
    /// Waits for `future` until the deadline passes. The caller pins it: a future moved in here would take its room twice.
    ///
    /// # Errors
    /// [`Expired`] when the deadline came first; the future is dropped then.
    pub async fn guard<F: Future + Unpin>(&self, mut future: F) -> Result<F::Output, Expired> {
        poll_fn(|context| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
                return Poll::Ready(Ok(output));
            }
            if self.0.fired.get() {
                return Poll::Ready(Err(Expired));
            }
            let mut waker = self.0.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|held| held.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        // A thread that is ending has dropped its clock already; then there is nothing to leave.
        let _ = CLOCK.try_with(|clock| {
            let Ok(mut clock) = clock.try_borrow_mut() else {
                return;
            };
            let index = self.0.0.index.get();
            if index < clock.all.len() {
                clock.all.swap_remove(index);
                if let Some(moved) = clock.all.get(index) {
                    moved.index.set(index);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin, task::Context};

    use super::*;

    fn poll_guard(deadline: &Deadline) -> Poll<Result<(), Expired>> {
        let mut context = Context::from_waker(Waker::noop());
        let mut guarded = pin!(deadline.guard(pending::<()>()));
        guarded.as_mut().poll(&mut context)
    }

    #[test]
    fn drain_ends_idle_waits_only() {
        let (idle, busy) = (Deadline::new(), Deadline::new());
        idle.set_idle(true);
        assert!(poll_guard(&idle).is_pending());
        interrupt_idle();
        assert_eq!(poll_guard(&idle), Poll::Ready(Err(Expired)));
        assert!(poll_guard(&busy).is_pending());
        interrupt_all();
        assert_eq!(poll_guard(&busy), Poll::Ready(Err(Expired)));
    }

    #[test]
    fn end_of_a_tenure_ends_the_waits_that_are_bound_to_it() {
        let (bound, other, free) = (Deadline::new(), Deadline::new(), Deadline::new());
        let tenures = [Arc::new(Tenure::default()), Arc::new(Tenure::default())];
        bound.bind(Some(Arc::clone(&tenures[0])));
        other.bind(Some(Arc::clone(&tenures[1])));
        interrupt_over();
        assert!([&bound, &other, &free].iter().all(|deadline| poll_guard(deadline).is_pending()));
        tenures[0].end();
        interrupt_over();
        assert_eq!(poll_guard(&bound), Poll::Ready(Err(Expired)));
        assert!([&other, &free].iter().all(|deadline| poll_guard(deadline).is_pending()));
        bound.bind(None);
        bound.clear();
        interrupt_over();
        assert!(poll_guard(&bound).is_pending());
        assert_eq!(Arc::strong_count(&tenures[0]), 1);
    }

    #[test]
    fn dropped_deadline_leaves_the_sweep() {
        let kept = Deadline::new();
        let dropped = Deadline::new();
        let last = Deadline::new();
        drop(dropped);
        drop(kept);
        last.set_idle(true);
        interrupt_idle();
        assert_eq!(poll_guard(&last), Poll::Ready(Err(Expired)));
    }

    #[test]
    fn ready_future_wins_over_a_passed_deadline() {
        let deadline = Deadline::new();
        interrupt_all();
        let mut context = Context::from_waker(Waker::noop());
        let seven = pin!(async { 7 });
        let mut guarded = pin!(deadline.guard(seven));
        assert_eq!(guarded.as_mut().poll(&mut context), Poll::Ready(Ok(7)));
    }
}

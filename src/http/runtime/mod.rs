//! The tasks, sockets and timers of one worker's thread.
//!
//! On epoll they are run here: a task is polled when one of its sockets is ready, and readiness is remembered and
//! forgotten without asking the kernel again. On `io_uring` monoio runs them. The rest of the code cannot tell which.

mod places;
mod ready;
mod tasks;
mod timers;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use monoio::{FusionDriver, RuntimeBuilder};

use crate::base::now;

use self::{
    ready::Readiness,
    tasks::{MAIN, Tasks},
    timers::Timers,
};

pub(super) use self::ready::Registered;

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// What a thread that runs tasks on epoll has.
struct Local {
    tasks: Tasks,
    readiness: Readiness,
    timers: Timers,
}

/// The wait took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Runs a future and everything that it spawns on this thread, on epoll, until the future ends. What was spawned and has
/// not ended is dropped then.
///
/// # Errors
/// No epoll or no event counter can be had: descriptors or memory ran out; or the thread runs tasks already.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let readiness = Readiness::new()?;
    let tasks = Tasks::new()?;
    readiness.watch_bell(tasks.bell())?;
    let local = Rc::new(Local { tasks, readiness, timers: Timers::default() });
    let _running = Running::begin(Rc::clone(&local))?;
    let main = local.tasks.waker(MAIN);
    let mut context = Context::from_waker(&main);
    let mut future = pin!(future);
    local.tasks.wake(MAIN);
    loop {
        // Tasks that wake each other without end must not keep the sockets waiting.
        for _ in 0..local.tasks.due() * 2 {
            let Some(index) = local.tasks.next() else { break };
            if index != MAIN {
                local.tasks.run(index);
            } else if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
        }
        local.wait()?;
    }
}

/// Runs a future and everything that it spawns on this thread, on `io_uring`.
///
/// # Errors
/// The error of setting the rings up.
pub fn block_on_io_uring<F: Future>(future: F) -> io::Result<F::Output> {
    Ok(RuntimeBuilder::<FusionDriver>::new().enable_timer().build()?.block_on(future))
}

/// Whether `io_uring` can be had.
#[must_use]
pub fn has_io_uring() -> bool {
    monoio::utils::detect_uring()
}

/// Runs a future beside the caller, on the caller's thread.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    match local() {
        Some(local) => local.tasks.add(Box::pin(future)),
        None => drop(monoio::spawn(future)),
    }
}

/// Waits so long, or a millisecond longer.
pub async fn sleep(time: Duration) {
    match local() {
        None => monoio::time::sleep(time).await,
        Some(local) => timers::sleep(local, now() + time).await,
    }
}

/// Waits for a future, which the caller has pinned, so long at most.
///
/// # Errors
/// [`Elapsed`].
pub async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    let (mut future, mut over) = (pin!(future), pin!(sleep(time)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => over.as_mut().poll(context).map(|()| Err(Elapsed)),
    })
    .await
}

/// Lets every other task that can go on do so first.
///
/// Whoever is about to send waits so. What many connections send then leaves in one go, after all have read: the threads
/// on the other side are woken once for many messages, and the code that reads and the code that sends stay in the
/// caches. It is no system call, and alone on its thread a task loses nothing by it.
pub async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether this thread runs its tasks on epoll.
pub(super) fn is_epoll() -> bool {
    LOCAL.with_borrow(Option::is_some)
}

/// What this thread runs its tasks with; none where that is monoio.
fn local() -> Option<Rc<Local>> {
    LOCAL.with_borrow(Clone::clone)
}

impl Local {
    /// Waits until a task can go on, and wakes it.
    fn wait(&self) -> io::Result<()> {
        let is_idle = self.tasks.fall_asleep();
        let longest = if is_idle {
            self.timers.due().map(|due| due.saturating_duration_since(now()))
        } else {
            Some(Duration::ZERO)
        };
        let waited = self.readiness.wait(longest);
        self.tasks.awake();
        self.timers.fire(now());
        waited
    }
}

/// The thread runs tasks while this lives.
struct Running(Rc<Local>);

impl Running {
    fn begin(local: Rc<Local>) -> io::Result<Self> {
        LOCAL.with_borrow_mut(|slot| {
            if slot.is_some() {
                return Err(io::Error::other("this thread runs tasks already"));
            }
            *slot = Some(Rc::clone(&local));
            Ok(Self(local))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Tasks first: dropping them, they take their sockets and timers out.
        self.0.tasks.clear();
        LOCAL.with_borrow_mut(Option::take);
    }
}

#[cfg(test)]
mod tests;

//! The tasks, sockets and timers of one worker's thread.
//!
//! On epoll they are run here: a task is polled when one of its sockets is ready, and readiness is remembered and
//! forgotten without asking the kernel again. On `io_uring` monoio runs them. The rest of the code cannot tell which.

mod local;
mod places;
mod ready;
mod tasks;
mod timers;

use std::{
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
    local::{Local, Running, local},
    tasks::MAIN,
};

pub(super) use self::ready::Registered;

/// The wait took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Runs a future and everything that it spawns on this thread, on epoll, until the future ends. What was spawned and has
/// not ended is dropped then.
///
/// # Errors
/// No epoll or no event counter can be had: descriptors or memory ran out; or the thread runs tasks already.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let local = Rc::new(Local::new()?);
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

/// Waits at least so long: the kernel counts whole milliseconds, and a busy thread comes later.
pub async fn sleep(time: Duration) {
    match local() {
        None => monoio::time::sleep(time).await,
        Some(local) => timers::sleep(local, now() + time).await,
    }
}

/// Waits for a future so long at most. A large one is boxed by the caller, or it takes its room twice.
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

/// Whether this thread runs its tasks on epoll.
pub(super) fn is_epoll() -> bool {
    local::is_there()
}

#[cfg(test)]
mod tests;

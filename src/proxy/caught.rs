//! A panic of the code that serves a request, as a value.
//!
//! A panic is a fault of ours: it ends its own request and nothing else. Catching one costs a request without a panic
//! nothing but the call: the landing pads are tables that only an unwinding reads.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::Poll,
};

/// What a panic carried.
pub struct Panicked(Box<dyn Any + Send>);

impl Panicked {
    /// Lets the panic go on, to whoever catches it next.
    pub(super) fn resume(self) -> ! {
        resume_unwind(self.0)
    }
}

/// Runs `work`, which the caller pins, up to its end or its panic. What it held has been dropped by then.
///
/// # Errors
/// [`Panicked`].
pub async fn caught<F: Future>(mut work: Pin<&mut F>) -> Result<F::Output, Panicked> {
    // Unwind safety: what the work could leave half changed is the state of its own connection, which is closed.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(payload) => Poll::Ready(Err(Panicked(payload))),
    })
    .await
}

//! What the running thread has: tasks, readiness, timers.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use crate::base::now;

use super::{ready::Readiness, tasks::Tasks, timers::Timers};

thread_local! {
    pub(super) static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// What a thread that runs tasks on epoll has.
pub(super) struct Local {
    pub(super) tasks: Tasks,
    pub(super) readiness: Readiness,
    pub(super) timers: Timers,
}

/// What this thread runs its tasks with; none where that is monoio.
pub(super) fn local() -> Option<Rc<Local>> {
    LOCAL.with_borrow(Clone::clone)
}

/// Whether this thread runs its tasks with us.
pub(super) fn is_there() -> bool {
    LOCAL.with_borrow(Option::is_some)
}

impl Local {
    pub(super) fn new() -> io::Result<Self> {
        let (tasks, readiness) = (Tasks::new()?, Readiness::new()?);
        readiness.watch_bell(tasks.bell())?;
        Ok(Self { tasks, readiness, timers: Timers::default() })
    }

    /// Waits until a task can go on, and wakes it.
    pub(super) fn wait(&self) -> io::Result<()> {
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
pub(super) struct Running(Rc<Local>);

impl Running {
    pub(super) fn begin(local: Rc<Local>) -> io::Result<Self> {
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

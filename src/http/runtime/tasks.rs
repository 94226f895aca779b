//! Tasks and whose turn it is.
//!
//! A task that is woken on its own thread joins a plain queue. One that another thread wakes goes through a queue that
//! threads share, with a bell for a thread that sleeps.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    io, mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use crossbeam_queue::SegQueue;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{local::LOCAL, places::Places};

/// The future that the thread was started with.
pub(super) const MAIN: usize = usize::MAX;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of one thread.
pub(super) struct Tasks {
    slots: RefCell<Places<Slot>>,
    turns: RefCell<VecDeque<usize>>,
    foreign: Arc<Foreign>,
}

struct Slot {
    /// Not there while it is polled.
    task: Option<(Task, Waker)>,
    /// Whether it waits for its turn, so that it does not do so twice.
    is_due: bool,
}

/// How other threads wake tasks of this one.
struct Foreign {
    woken: SegQueue<usize>,
    is_asleep: AtomicBool,
    bell: EventFd,
}

/// Wakes one task.
struct Handle {
    index: usize,
    foreign: Arc<Foreign>,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_own = LOCAL.try_with(|local| match local.try_borrow().as_deref() {
            Ok(Some(local)) if Arc::ptr_eq(&local.tasks.foreign, &self.foreign) => {
                local.tasks.wake(self.index);
                true
            }
            _ => false,
        });
        if is_own != Ok(true) {
            self.foreign.wake(self.index);
        }
    }
}

impl Foreign {
    fn wake(&self, index: usize) {
        self.woken.push(index);
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            // It fails only when the bell has been rung 2^64 times and nobody came.
            let _ = self.bell.write(1);
        }
    }
}

impl Tasks {
    pub(super) fn new() -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let foreign = Foreign { woken: SegQueue::new(), is_asleep: AtomicBool::new(false), bell };
        Ok(Self { slots: RefCell::default(), turns: RefCell::default(), foreign: Arc::new(foreign) })
    }

    pub(super) fn bell(&self) -> &EventFd {
        &self.foreign.bell
    }

    pub(super) fn waker(&self, index: usize) -> Waker {
        Waker::from(Arc::new(Handle { index, foreign: Arc::clone(&self.foreign) }))
    }

    /// Takes a task in; it gets its first turn soon.
    pub(super) fn add(&self, task: Task) {
        let index = self.slots.borrow_mut().insert_with(|index| {
            let waker = self.waker(index);
            Slot { task: Some((task, waker)), is_due: false }
        });
        self.wake(index);
    }

    /// Gives a task a turn. One that has ended is none the worse for it.
    pub(super) fn wake(&self, index: usize) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(index)
            && mem::replace(&mut slot.is_due, true)
        {
            return;
        }
        self.turns.borrow_mut().push_back(index);
    }

    /// Whose turn it is.
    pub(super) fn next(&self) -> Option<usize> {
        self.turns.borrow_mut().pop_front()
    }

    /// How many wait for their turn.
    pub(super) fn due(&self) -> usize {
        self.turns.borrow().len()
    }

    /// Polls a task once.
    pub(super) fn run(&self, index: usize) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(index) else { return };
        slot.is_due = false;
        let Some((mut task, waker)) = slot.task.take() else { return };
        drop(slots);
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            if let Some(slot) = self.slots.borrow_mut().get_mut(index) {
                slot.task = Some((task, waker));
            }
            return;
        }
        // Its end may wake or start others, so nothing is borrowed meanwhile.
        drop(task);
        self.slots.borrow_mut().remove(index);
    }

    /// Takes in what other threads woke. Tells whether nobody has a turn: then the bell is rung from now on.
    pub(super) fn fall_asleep(&self) -> bool {
        self.foreign.is_asleep.store(true, Ordering::SeqCst);
        while let Some(index) = self.foreign.woken.pop() {
            self.wake(index);
        }
        self.turns.borrow().is_empty()
    }

    /// The thread looks after its tasks itself again.
    pub(super) fn awake(&self) {
        self.foreign.is_asleep.store(false, Ordering::Relaxed);
        while let Some(index) = self.foreign.woken.pop() {
            self.wake(index);
        }
    }

    /// Drops every task.
    pub(super) fn clear(&self) {
        // One that is dropped may start another.
        loop {
            let slots = mem::take(&mut *self.slots.borrow_mut());
            if slots.is_empty() {
                return;
            }
            drop(slots);
        }
    }
}

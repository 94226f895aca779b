//! Which sockets are ready: one epoll, edge-triggered.
//!
//! An edge says what changed since the last one, so what is known must be kept here: a socket is ready from its edge until
//! a call on it says otherwise. A read that gave less than it was asked for says so as well as one that would block
//! (epoll(7), question 9): no system call is spent on asking.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::EventFd,
    },
};

use super::{local::local, places::Places};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Says that another thread woke a task.
const BELL: u64 = u64::MAX;

/// A read is worth trying.
const READ: u8 = 1;
/// A write is worth trying.
const WRITE: u8 = 2;
/// Reads will never block again: the peer sends no more, or the connection is broken.
const READ_OVER: u8 = 4;
/// Writes will never block again: the connection is broken.
const WRITE_OVER: u8 = 8;

/// The sockets of one thread.
pub(super) struct Readiness {
    epoll: Epoll,
    sources: RefCell<Places<Rc<Source>>>,
    events: RefCell<Vec<EpollEvent>>,
}

/// What is known of one socket, and who waits for it.
struct Source {
    state: Cell<u8>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

/// A descriptor that this thread waits for.
pub(in crate::http) struct Registered {
    descriptor: OwnedFd,
    source: Rc<Source>,
    index: usize,
}

impl Readiness {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let events = vec![EpollEvent::empty(); EVENTS_MAX];
        Ok(Self { epoll, sources: RefCell::default(), events: RefCell::new(events) })
    }

    /// Ends waits when the bell is rung.
    pub(super) fn watch_bell(&self, bell: &EventFd) -> io::Result<()> {
        // Each ringing is an edge of its own, so nobody has to read the count.
        Ok(self.epoll.add(bell, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, BELL))?)
    }

    /// Waits for events, `longest` at most, and wakes who waits for them.
    pub(super) fn wait(&self, longest: Option<Duration>) -> io::Result<()> {
        let mut events = self.events.borrow_mut();
        let count = match self.epoll.wait(&mut events, whole_ms(longest)) {
            Err(Errno::EINTR) => return Ok(()),
            waited => waited?,
        };
        let sources = self.sources.borrow();
        for event in events.iter().take(count) {
            let index = usize::try_from(event.data()).unwrap_or(usize::MAX);
            if let Some(source) = sources.get(index) {
                source.learn(event.events());
            }
        }
        Ok(())
    }

    fn add(&self, descriptor: OwnedFd) -> io::Result<Registered> {
        let source = Rc::new(Source { state: Cell::new(0), reader: RefCell::default(), writer: RefCell::default() });
        let index = self.sources.borrow_mut().insert_with(|_| Rc::clone(&source));
        let data = u64::try_from(index).unwrap_or(BELL);
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        if let Err(error) = self.epoll.add(&descriptor, EpollEvent::new(flags, data)) {
            self.sources.borrow_mut().remove(index);
            return Err(error.into());
        }
        Ok(Registered { descriptor, source, index })
    }
}

/// The kernel counts whole milliseconds: rounded up, or a timer would be waited for in vain several times.
fn whole_ms(longest: Option<Duration>) -> EpollTimeout {
    let Some(longest) = longest else { return EpollTimeout::NONE };
    let ms = longest.as_nanos().div_ceil(1_000_000);
    EpollTimeout::try_from(ms).unwrap_or(EpollTimeout::MAX)
}

impl Source {
    fn learn(&self, events: EpollFlags) {
        let broken = events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        let ended = broken || events.contains(EpollFlags::EPOLLRDHUP);
        let mut state = self.state.get();
        if events.contains(EpollFlags::EPOLLIN) {
            state |= READ;
        }
        if events.contains(EpollFlags::EPOLLOUT) {
            state |= WRITE;
        }
        if ended {
            state |= READ_OVER;
        }
        if broken {
            state |= WRITE_OVER;
        }
        self.state.set(state);
        if state & (READ | READ_OVER) != 0 {
            wake(&self.reader);
        }
        if state & (WRITE | WRITE_OVER) != 0 {
            wake(&self.writer);
        }
    }

    fn poll(&self, waiter: &RefCell<Option<Waker>>, wanted: u8, context: &Context<'_>) -> Poll<()> {
        if self.state.get() & wanted != 0 {
            return Poll::Ready(());
        }
        let mut waiter = waiter.borrow_mut();
        if !waiter.as_ref().is_some_and(|held| held.will_wake(context.waker())) {
            *waiter = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

/// The waker stays: the same task will wait here again.
fn wake(waiter: &RefCell<Option<Waker>>) {
    if let Some(waker) = &*waiter.borrow() {
        waker.wake_by_ref();
    }
}

impl Registered {
    /// Watches a descriptor on this thread.
    ///
    /// # Errors
    /// The error of `epoll_ctl`, or the thread runs no tasks on epoll.
    pub(in crate::http) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        local().ok_or_else(|| io::Error::other("this thread has no epoll"))?.readiness.add(descriptor)
    }

    /// Waits until a read is worth trying.
    pub(in crate::http) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        self.source.poll(&self.source.reader, READ | READ_OVER, context)
    }

    /// Waits until a write is worth trying.
    pub(in crate::http) fn poll_writable(&self, context: &Context<'_>) -> Poll<()> {
        self.source.poll(&self.source.writer, WRITE | WRITE_OVER, context)
    }

    /// Says that a read found all that there was.
    pub(in crate::http) fn read_all(&self) {
        self.source.state.set(self.source.state.get() & !READ);
    }

    /// Says that a read found the end.
    pub(in crate::http) fn read_end(&self) {
        self.source.state.set(self.source.state.get() | READ_OVER);
    }

    /// Says that the kernel takes no more for now.
    pub(in crate::http) fn written_full(&self) {
        self.source.state.set(self.source.state.get() & !WRITE);
    }
}

impl AsFd for Registered {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Told explicitly: another descriptor of the same socket may live on. A thread that is ending has no epoll left.
        if let Some(local) = local() {
            let _ = local.readiness.epoll.delete(self.descriptor.as_fd());
            local.readiness.sources.borrow_mut().remove(self.index);
        }
    }
}

//! What the requests of one worker share.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use crate::{base::unix_time, http::TlsConnector, metrics::WorkerBlock, shared::Shared, upstream::Pools};

/// Length of `date: ` and an HTTP date and the line's end.
const DATE_LINE_LEN: usize = 37;

/// State of one worker that its requests use. Never leaves its thread.
pub struct Context {
    /// Index of the worker.
    pub worker: usize,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// The worker's own counters.
    pub block: Arc<WorkerBlock>,
    /// Idle connections to providers.
    pub pools: RefCell<Pools>,
    /// Opens TLS to providers; its session memory is the worker's own.
    pub tls: TlsConnector,
    random: RefCell<fastrand::Rng>,
    turn: Cell<usize>,
    date_line: Cell<[u8; DATE_LINE_LEN]>,
}

impl Context {
    /// Creates the context of a worker.
    #[must_use]
    pub fn new(worker: usize, shared: Arc<Shared>, block: Arc<WorkerBlock>) -> Self {
        let tls = shared.tls.for_worker();
        let pools = RefCell::new(Pools::new(shared.settings.pool));
        let context = Self {
            worker,
            shared,
            block,
            pools,
            tls,
            random: RefCell::new(fastrand::Rng::new()),
            turn: Cell::new(worker),
            date_line: Cell::new([b' '; DATE_LINE_LEN]),
        };
        context.tick();
        context
    }

    /// Renews the date; the worker calls it once a second.
    pub fn tick(&self) {
        let text = unix_time().http_date();
        let mut line = [b' '; DATE_LINE_LEN];
        let parts = b"date: ".iter().chain(text.as_bytes()).chain(b"\r\n");
        for (slot, byte) in line.iter_mut().zip(parts) {
            *slot = *byte;
        }
        self.date_line.set(line);
    }

    /// The `date` field with its line end.
    #[must_use]
    pub fn date_line(&self) -> [u8; DATE_LINE_LEN] {
        self.date_line.get()
    }

    /// Draws 128 bits for an id. Not for secrets.
    #[must_use]
    pub fn random(&self) -> u128 {
        self.random.borrow_mut().u128(..)
    }

    /// Counts up, to take addresses in turn.
    #[must_use]
    pub fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }
}

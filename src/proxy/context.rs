//! What the requests of one worker share.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use crate::{
    base::{Instant, UnixTime, now, unix_time},
    http::TlsConnector,
    limit::Clock,
    metrics::WorkerBlock,
    shared::Shared,
    upstream::Pools,
};

/// The fields that every answer has, up to where they differ; the date is filled in once a second.
const COMMON: &[u8; COMMON_LEN] = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: millrace\r\nx-request-id: ";
const COMMON_LEN: usize = 69;
const DATE_AT: usize = 6;

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
    limit_clock: Clock,
    random: RefCell<fastrand::Rng>,
    turn: Cell<usize>,
    common: Cell<[u8; COMMON_LEN]>,
    /// The same moment on both clocks, renewed once a second.
    moment: Cell<(Instant, UnixTime)>,
}

impl Context {
    /// Creates the context of a worker.
    #[must_use]
    pub fn new(worker: usize, shared: Arc<Shared>, block: Arc<WorkerBlock>) -> Self {
        let tls = shared.tls.for_worker();
        let pools = RefCell::new(Pools::new(shared.settings.pool));
        let limit_clock = shared.meters.clock();
        let context = Self {
            limit_clock,
            worker,
            shared,
            block,
            pools,
            tls,
            random: RefCell::new(fastrand::Rng::new()),
            turn: Cell::new(worker),
            common: Cell::new(*COMMON),
            moment: Cell::new((now(), unix_time())),
        };
        context.tick();
        context
    }

    /// Renews the date; the worker calls it once a second.
    pub fn tick(&self) {
        let wall = unix_time();
        self.moment.set((now(), wall));
        let text = wall.http_date();
        let mut common = *COMMON;
        if let Some(slots) = common.get_mut(DATE_AT..DATE_AT + text.len()) {
            slots.copy_from_slice(text.as_bytes());
        }
        self.common.set(common);
    }

    /// Confirms the snapshot that requests are served by from now on. The worker calls it at its bell and at each tick.
    pub fn confirm_snapshot(&self) {
        self.block.generation.set(self.shared.snapshot.load().generation());
    }

    /// The clocks of limits.
    #[must_use]
    pub fn limit_clock(&self) -> Clock {
        self.limit_clock
    }

    /// The fields that every answer has, the last of them `x-request-id` without its value.
    #[must_use]
    pub fn common_fields(&self) -> [u8; COMMON_LEN] {
        self.common.get()
    }

    /// The wall-clock time of a recent moment, without asking the clock again.
    #[must_use]
    pub fn unix_at(&self, at: Instant) -> UnixTime {
        let (moment, wall) = self.moment.get();
        UnixTime(wall.0 + at.saturating_duration_since(moment))
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

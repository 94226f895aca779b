//! What a worker does by the clock.
//!
//! Deadlines, date, pools, heartbeat, the end of a drain.

use std::{mem, rc::Rc, sync::atomic::Ordering, time::Duration};

use nix::time::{ClockId, clock_gettime};

use crate::{
    base::{Idle, Rest, now, return_free_memory},
    http::{TICK, drop_free_buffers, interrupt_all, interrupt_idle, interrupt_over, sleep, sweep, trim_free_buffers},
    proxy::Context,
};

/// Ticks in a second.
const TICKS_A_SECOND: u32 = 20;
/// Ticks between two looks for memory that nobody needs.
const TICKS_A_TRIM: u32 = 5;
/// In microseconds of the processor: 0.15 seconds with 4 % of it in each tick, after enough work for it to be worth it to give back
/// what that took. The ticks alone come to as much in some minutes, which costs no more than a millisecond then.
const IDLE: Idle = Idle { quiet_max: 2_000, turns: 3, done_min: 50_000 };
/// Time that cut connections get to write their last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs until a drain is complete: no connection is left, or the time to finish is over.
pub(super) async fn run(context: Rc<Context>) {
    let mut ticks = 0u32;
    let mut rest = Rest::new(IDLE);
    let mut busy_us = processor_time_us();
    let mut stopped_at = None;
    let mut due = now() + TICK;
    loop {
        sleep(due.saturating_duration_since(now())).await;
        let woke = now();
        let busy_before_us = mem::replace(&mut busy_us, processor_time_us());
        context.block.busy_us.set_total(busy_us);
        context.block.beat(woke, woke.saturating_duration_since(due));
        due = woke + TICK;
        sweep();
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(TICKS_A_SECOND) {
            context.tick();
            context.pools.borrow_mut().sweep();
            if context.shared.is_outdating() {
                interrupt_over();
            }
        }
        rest.turn(busy_us.saturating_sub(busy_before_us), drop_free_buffers);
        if ticks.is_multiple_of(TICKS_A_TRIM) {
            trim_free_buffers();
            return_free_memory();
        }
        context.confirm_snapshot();
        if !context.shared.is_draining() {
            continue;
        }
        let open = context.shared.doors.get(context.worker).map_or(0, |door| door.open.load(Ordering::Relaxed));
        if open == 0 {
            return;
        }
        interrupt_idle();
        if context.shared.is_stopping() {
            let since = *stopped_at.get_or_insert(woke);
            interrupt_all();
            if woke.saturating_duration_since(since) > LAST_WORDS {
                return;
            }
        }
    }
}

/// Processor time of the calling thread, in microseconds. Read each tick, so that whoever samples once a second sees a
/// second's worth of it.
fn processor_time_us() -> u64 {
    let spent = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default();
    u64::try_from(spent.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_grows_with_work() {
        let before = processor_time_us();
        let mut sum = 0u64;
        while processor_time_us() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(processor_time_us() > before && processor_time_us() < 3_600_000_000);
    }
}

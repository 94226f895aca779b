//! Tells a refusal that holds from one that may not.
//!
//! A request that passes several limits takes from each in turn and gives everything back when one refuses. In between the
//! first limits look fuller than they will have been. Who is refused then must look again, or it would be refused because
//! of a request that was refused itself.
//!
//! The low half counts takes that may still be given back, the high half those that were. A refusal holds if, after the
//! counter was read, nothing is open and nothing was given back since before it was read: all that it saw was kept.

use super::atomic::Count;
#[cfg(test)]
use super::explore::looks_max;

const BACK: u64 = 1 << 32;
const OPEN: u64 = BACK - 1;
/// How often a refusal looks again. A take is open for some hundred nanoseconds, unless its thread loses the processor.
pub(super) const LOOKS_MAX: u32 = 1_000;
/// From this look on the processor is offered to the thread that is in the way.
const POLITE_LOOKS: u32 = 64;

/// The open takes of one meter.
#[derive(Debug, Default)]
pub(super) struct Tentative(Count);

impl Tentative {
    /// Before a take that may be given back.
    pub(super) fn enter(&self) {
        self.0.add(1);
    }

    /// The take is kept.
    pub(super) fn keep(&self) {
        self.0.subtract(1);
    }

    /// The take was given back, or nothing was taken.
    pub(super) fn gave_back(&self) {
        self.0.add(BACK - 1);
    }

    /// Starts a look at the counter.
    pub(super) fn look(&self) -> Look {
        Look(self.0.load())
    }

    /// Whether a refusal holds whose look at the counter began with `look`; `own` is the caller's own open takes.
    fn holds(&self, look: Look, own: u64) -> bool {
        let now = self.0.load();
        now & OPEN == own && now & !OPEN == look.0 & !OPEN
    }

    /// Whether a refusal is final; else waits a moment, for the caller to look again.
    pub(super) fn is_final(&self, look: Look, own: u64, looks: &mut u32) -> bool {
        *looks += 1;
        if self.holds(look, own) || *looks >= looks_max() {
            return true;
        }
        // Who was refused holds nothing here, and must not look as if: several that wait for one another would stand still
        // until their looks are used up, which takes seconds where threads are more than processors.
        self.0.subtract(own);
        if *looks < POLITE_LOOKS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
        self.0.add(own);
        false
    }
}

#[cfg(not(test))]
fn looks_max() -> u32 {
    LOOKS_MAX
}

/// What stood there when a look at the counter began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look(u64);

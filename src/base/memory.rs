//! Makes the allocator give back what threads no longer use.
//!
//! mimalloc gives memory back while it serves requests for more, so a thread that has become idle keeps all that it had at its
//! busiest. What stands here makes it look. Nothing else of the program depends on which allocator it has; with another one
//! these calls do no harm.

use std::hint::black_box;

/// A block that the allocator maps by itself, because it is aligned to more than the parts of its arenas (64 KiB).
#[repr(align(131_072))]
struct Apart {
    _bytes: [u8; 131_072],
}

/// Longer than what has the short way through the allocator (1,024 bytes).
const BLOCK_BYTES: usize = 2_048;
/// A page of the allocator whose blocks are all free is kept for 16 rounds of 1,000 allocations on the long way.
const BLOCKS_A_SETTLE: usize = 16_000;
/// How many times as long a thread has been quiet when it settles for the second time.
const LATER: u32 = 4;
/// Parts of a settling, for a thread that somebody may want at any moment.
const PARTS: usize = 2;

/// Gives memory back that has been free in the allocator for a second, whichever thread freed it. Takes a few microseconds.
///
/// The allocator looks for such memory when it makes a block that fills a page of its own. The block here is never touched, and
/// not out of an arena: there it would take free memory, which would be in use at each look, and so be kept for ever.
pub fn return_free_memory() {
    drop(black_box(Vec::<Apart>::with_capacity(1)));
}

/// Lets go of pages that its thread keeps although nothing in them is used, so that [`return_free_memory`] finds them: what other
/// threads freed counts as used until their owner looks.
pub struct Settler {
    /// Keeps the page small that the blocks of a settling lie in, which would else be one that was full before.
    _held: Vec<u8>,
}

impl Default for Settler {
    fn default() -> Self {
        Self { _held: block() }
    }
}

impl Settler {
    /// Settles the calling thread, which should be the one that made this. Takes about half a millisecond: for a thread that
    /// has become idle.
    pub fn settle(&self) {
        (0..PARTS).for_each(|_| self.settle_a_part());
    }

    fn settle_a_part(&self) {
        for _ in 0..BLOCKS_A_SETTLE / PARTS {
            drop(block());
        }
    }
}

fn block() -> Vec<u8> {
    black_box(Vec::with_capacity(BLOCK_BYTES))
}

/// When a thread counts as idle, in turns of its own and in units of its own.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Most that is done in a turn that counts as quiet.
    pub quiet_max: u64,
    /// Quiet turns in a row.
    pub turns: u32,
    /// What must have been done before, for it to be worth it to give back what that took.
    pub done_min: u64,
}

/// Settles its thread when that had much to do and then, for a while, nothing.
pub struct Rest {
    lull: Lull,
    settler: Settler,
    parts_left: usize,
}

impl Rest {
    /// Begins to watch. The start of a thread counts as much to do.
    #[must_use]
    pub fn new(idle: Idle) -> Self {
        Self { lull: Lull::new(idle), settler: Settler::default(), parts_left: 0 }
    }

    /// Takes what was done in a turn, and settles a part if it is time for it, which takes a quarter of a millisecond. When a
    /// settling begins, `let_go` frees what the thread keeps for the next use.
    pub fn turn(&mut self, done: u64, let_go: impl FnOnce()) {
        if self.lull.begins(done) {
            let_go();
            self.parts_left = PARTS;
        }
        if self.parts_left > 0 {
            self.parts_left -= 1;
            self.settler.settle_a_part();
        }
    }
}

/// Notices that a thread had much to do and then nothing.
struct Lull {
    idle: Idle,
    done: u64,
    quiet_turns: u32,
}

impl Lull {
    fn new(idle: Idle) -> Self {
        Self { idle, done: idle.done_min, quiet_turns: 0 }
    }

    /// Takes what was done in a turn. True when there was much to do and then nothing, and once more after four times as long:
    /// some of what was taken is then with other threads, which give it back later.
    fn begins(&mut self, done: u64) -> bool {
        self.done = self.done.saturating_add(done);
        if done > self.idle.quiet_max {
            self.quiet_turns = 0;
            return false;
        }
        self.quiet_turns += 1;
        let is_late = self.quiet_turns >= self.idle.turns.saturating_mul(LATER);
        let begins = self.done >= self.idle.done_min && (is_late || self.quiet_turns == self.idle.turns);
        if is_late {
            self.quiet_turns = 0;
            self.done = if begins { 0 } else { self.done };
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Idle = Idle { quiet_max: 5, turns: 25, done_min: 256 };

    /// The turns in which a lull begins.
    fn beginnings(lull: &mut Lull, done: impl Fn(u32) -> u64) -> Vec<u32> {
        (1..=12 * IDLE.turns).filter(|turn| lull.begins(done(*turn))).collect()
    }

    #[test]
    fn lull_begins_after_much_work_and_then_none_and_once_more_later() {
        let both = vec![IDLE.turns, LATER * IDLE.turns];
        assert_eq!(beginnings(&mut Lull::new(IDLE), |_| 0), both, "a start");
        for (name, before, want) in [("little", IDLE.done_min - 1, Vec::new()), ("much", IDLE.done_min, both)] {
            let mut lull = Lull { done: 0, ..Lull::new(IDLE) };
            assert!(!lull.begins(before), "{name}: it is busy");
            assert_eq!(beginnings(&mut lull, |_| 0), want, "{name}");
        }
    }

    #[test]
    fn lull_takes_its_time_and_counts_small_things_too() {
        let busy = |turn| if turn % (IDLE.turns - 1) == 0 { 1_000 } else { 0 };
        assert!(beginnings(&mut Lull::new(IDLE), busy).is_empty(), "never quiet for long");
        let mut lull = Lull { done: 0, ..Lull::new(IDLE) };
        assert_eq!(beginnings(&mut lull, |_| 5), [100, 200, 300], "256 after 52 turns, and after as many more");
    }

    #[test]
    fn settling_is_a_part_a_turn_and_the_caller_lets_go_first() {
        let mut rest = Rest::new(IDLE);
        let mut let_go = 0;
        let parts: Vec<usize> = (1..=IDLE.turns + 2)
            .map(|_| {
                rest.turn(0, || let_go += 1);
                rest.parts_left
            })
            .collect();
        assert_eq!(parts.get(23..), Some(&[0, 1, 0, 0][..]));
        assert_eq!(let_go, 1);
    }
}

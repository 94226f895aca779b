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

/// Gives memory back that has been free in the allocator for a second, whichever thread freed it. Takes a few microseconds.
///
/// The allocator looks for such memory when it makes a block that fills a page of its own. The block here is never touched, and
/// not out of an arena: there it would take free memory, which would be in use at each look, and so be kept for ever.
pub fn return_free_memory() {
    drop(black_box(Vec::<Apart>::with_capacity(1)));
}

/// Lets go of pages that the calling thread keeps although nothing in them is used, so that [`return_free_memory`] finds them.
/// Takes about a millisecond: for a thread that has become idle.
pub fn settle_memory() {
    for _ in 0..BLOCKS_A_SETTLE {
        drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
    }
}

//! Read buffers from a free list of the worker.
//!
//! A connection borrows a buffer when bytes are there and gives it back when they are used up, so idle connections hold
//! none. The front and the back keep room for chunk framing, so that relayed bytes are framed where they lie.

use std::{cell::RefCell, mem, ops::Range};

/// Room in front of the bytes: a chunk header of 16 hex digits would fit.
const HEADROOM: usize = 24;
/// Longest header of a chunk: 16 hex digits and a line end.
const CHUNK_HEADER_BYTES_MAX: usize = 18;
/// Room behind the bytes for the end of a chunk and of a body: `\r\n0\r\n\r\n`.
const TAILROOM: usize = 8;
/// Ends a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunk and the body.
pub const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
/// Size of the smallest buffers. Each larger size is twice the one before.
const SIZE: usize = 16 * 1024;
/// How many larger sizes are kept for reuse: 32 KiB to 256 KiB.
const LARGER_COUNT: usize = 4;
/// Free buffers of the smallest size that a worker keeps: 4 MiB.
const FREE_MAX: usize = 256;
/// Those of them that stay however long nobody uses them.
const FREE_MIN: usize = 8;
/// Free bytes in all larger sizes together that a worker keeps.
const LARGER_FREE_BYTES_MAX: usize = 8 << 20;
/// Bytes in larger buffers in use from which on none is taken ahead of what has arrived.
const LARGER_LENT_BYTES_MAX: usize = 16 << 20;
/// Most bytes that are taken ahead of what has arrived: with a head in front, the largest kept size holds them.
const AHEAD_BYTES_MAX: usize = 192 * 1024;

thread_local! {
    static FREE: RefCell<Free> = const { RefCell::new(Free::new()) };
}

/// The free buffers of one worker.
///
/// All are full of zeros or of old bytes: only their length counts, so nothing is cleared before it is used again.
struct Free {
    smallest: FreeList,
    larger: [FreeList; LARGER_COUNT],
    larger_free_bytes: usize,
    larger_lent_bytes: usize,
}

struct FreeList {
    buffers: Vec<Vec<u8>>,
    /// Fewest free buffers since the last trim: so many were not needed.
    unneeded: usize,
}

impl Free {
    const fn new() -> Self {
        let larger = [const { FreeList::new() }; LARGER_COUNT];
        Self { smallest: FreeList::new(), larger, larger_free_bytes: 0, larger_lent_bytes: 0 }
    }

    /// Gives a buffer of at least this size. Beyond the largest kept size it has just this size.
    #[inline]
    fn take(&mut self, bytes: usize) -> Vec<u8> {
        if bytes <= SIZE {
            return self.smallest.take().unwrap_or_else(|| vec![0; SIZE]);
        }
        self.take_larger(bytes)
    }

    #[cold]
    fn take_larger(&mut self, bytes: usize) -> Vec<u8> {
        let index = larger_index(bytes);
        let found = self.larger.get_mut(index).and_then(FreeList::take);
        self.larger_free_bytes -= found.as_ref().map_or(0, Vec::len);
        let size = if index < LARGER_COUNT { (2 * SIZE) << index } else { bytes };
        self.larger_lent_bytes += size;
        found.unwrap_or_else(|| vec![0; size])
    }

    #[inline]
    fn give(&mut self, buffer: Vec<u8>) {
        if buffer.len() > SIZE {
            self.give_larger(buffer);
        } else if self.smallest.buffers.len() < FREE_MAX {
            self.smallest.buffers.push(buffer);
        }
    }

    #[cold]
    fn give_larger(&mut self, buffer: Vec<u8>) {
        let bytes = buffer.len();
        self.larger_lent_bytes = self.larger_lent_bytes.saturating_sub(bytes);
        if let Some(list) = self.larger.get_mut(larger_index(bytes))
            && self.larger_free_bytes + bytes <= LARGER_FREE_BYTES_MAX
        {
            self.larger_free_bytes += bytes;
            list.buffers.push(buffer);
        }
    }

    fn trim(&mut self) {
        self.smallest.trim(FREE_MIN);
        self.larger_free_bytes = 0;
        for list in &mut self.larger {
            list.trim(0);
            self.larger_free_bytes += list.buffers.iter().map(Vec::len).sum::<usize>();
        }
    }
}

impl FreeList {
    const fn new() -> Self {
        Self { buffers: Vec::new(), unneeded: 0 }
    }

    #[inline]
    fn take(&mut self) -> Option<Vec<u8>> {
        let found = self.buffers.pop();
        self.unneeded = self.unneeded.min(self.buffers.len());
        found
    }

    /// Frees what was not needed since the last time, but for `keep`.
    fn trim(&mut self, keep: usize) {
        let surplus = self.unneeded.min(self.buffers.len()).saturating_sub(keep);
        // The last ones were used last and are still in the caches: the first ones go.
        self.buffers.drain(..surplus);
        self.unneeded = self.buffers.len();
    }
}

/// Numbers the larger sizes from 0; [`LARGER_COUNT`] and above are not kept.
fn larger_index(bytes: usize) -> usize {
    let doublings = bytes.div_ceil(SIZE).next_power_of_two().trailing_zeros() as usize;
    doublings.saturating_sub(1)
}

/// Frees the buffers that nobody needed since the last call, but for a few; a worker calls it four times a second.
pub fn trim_free_buffers() {
    FREE.with_borrow_mut(Free::trim);
}

/// Frees all buffers, also the few that stay otherwise: after a burst they lie far apart, each in a page of the allocator that
/// would be empty without it. For a worker that has become idle.
pub fn drop_free_buffers() {
    FREE.with_borrow_mut(|free| {
        let lent = free.larger_lent_bytes;
        *free = Free { larger_lent_bytes: lent, ..Free::new() };
    });
}

/// Tells how many announced bytes may be given room before they arrive: many while few large buffers are in use, none
/// when many are, so that announcing costs a client's peer little memory.
#[must_use]
pub(super) fn ahead_bytes() -> usize {
    let is_scarce = FREE.with_borrow(|free| free.larger_lent_bytes >= LARGER_LENT_BYTES_MAX);
    if is_scarce { 0 } else { AHEAD_BYTES_MAX }
}

/// Bytes that were read and not yet used, in memory that grows up to the caller's limit.
#[derive(Default)]
pub struct Buffer {
    /// Always fully initialised; empty while nothing is held.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// A chunk framed inside a buffer.
pub struct Framed {
    from: usize,
    body_end: usize,
    end: usize,
    saved: [u8; TAILROOM],
}

impl Buffer {
    /// The unused bytes.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The unused bytes, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes are unused.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether no byte is unused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Makes room for at least `wanted` more bytes, moving or growing only when needed, and returns all the room.
    pub fn space(&mut self, wanted: usize) -> &mut [u8] {
        if self.is_empty() && !self.bytes.is_empty() {
            self.start = HEADROOM;
            self.end = HEADROOM;
        }
        if self.end + wanted + TAILROOM > self.bytes.len() || self.bytes.is_empty() {
            self.make_room(wanted);
        }
        let limit = self.bytes.len() - TAILROOM;
        self.bytes.get_mut(self.end..limit).unwrap_or_default()
    }

    /// Takes memory, moves the unused bytes to the front, or takes more memory for them.
    #[inline]
    fn make_room(&mut self, wanted: usize) {
        if self.bytes.is_empty() && HEADROOM + wanted + TAILROOM <= SIZE {
            self.bytes = FREE.with_borrow_mut(|free| free.take(SIZE));
            self.start = HEADROOM;
            self.end = HEADROOM;
            return;
        }
        self.move_bytes(wanted);
    }

    #[cold]
    #[inline(never)]
    fn move_bytes(&mut self, wanted: usize) {
        let held = self.len();
        let needed = HEADROOM + held + wanted + TAILROOM;
        if needed <= self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, HEADROOM);
        } else {
            // Doubling keeps the copies linear; the limits of the callers bound the size.
            let size = needed.max(self.bytes.len().saturating_mul(2).min(needed + (1 << 20)));
            let mut larger = FREE.with_borrow_mut(|free| free.take(size));
            if let Some(slot) = larger.get_mut(HEADROOM..HEADROOM + held) {
                slot.copy_from_slice(self.filled());
            }
            self.release();
            self.bytes = larger;
        }
        self.start = HEADROOM;
        self.end = HEADROOM + held;
    }

    /// Counts `count` bytes of [`Self::space`] as filled.
    pub fn fill(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Appends bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        // Most appends find room at once; only an empty or full buffer takes the long way.
        if end + TAILROOM <= self.bytes.len()
            && let Some(slot) = self.bytes.get_mut(self.end..end)
        {
            slot.copy_from_slice(bytes);
            self.end = end;
            return;
        }
        self.extend_slowly(bytes);
    }

    #[cold]
    #[inline(never)]
    fn extend_slowly(&mut self, bytes: &[u8]) {
        if let Some(slot) = self.space(bytes.len()).get_mut(..bytes.len()) {
            slot.copy_from_slice(bytes);
        }
        self.fill(bytes.len());
    }

    /// Counts the first `count` bytes as used; a buffer without unused bytes goes back to the free list.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.is_empty() {
            self.release();
        }
    }

    /// Drops the unused bytes behind the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.start + count);
    }

    /// Moves the bytes `from..` behind the first `to` ones: what lay between is dropped.
    pub fn close_gap(&mut self, to: usize, from: usize) {
        let (to, from) = (self.start + to, (self.start + from).min(self.end));
        if to < from {
            self.bytes.copy_within(from..self.end, to);
            self.end -= from - to;
        }
    }

    /// Copies the bytes of `range` to where they end at `end`, which is not behind where they end now.
    #[inline]
    pub fn move_up(&mut self, range: Range<usize>, end: usize) {
        let (from, to) = (self.start + range.start, self.start + range.end);
        let target = (self.start + end).saturating_sub(range.len());
        if target < from && to <= self.end {
            self.bytes.copy_within(from..to, target);
        }
    }

    /// Puts other bytes in the place of `from..to`; what stands behind moves.
    pub fn splice(&mut self, (from, to): (usize, usize), bytes: &[u8]) {
        let to = to.min(self.len());
        let from = from.min(to);
        let (held, grown) = (self.len(), bytes.len().saturating_sub(to - from));
        // Room first: it may move everything.
        let _ = self.space(grown);
        let (from, to, end) = (self.start + from, self.start + to, self.start + held);
        self.bytes.copy_within(to..end, from + bytes.len());
        if let Some(slot) = self.bytes.get_mut(from..from + bytes.len()) {
            slot.copy_from_slice(bytes);
        }
        self.end = end - (to - from) + bytes.len();
    }

    /// Frames the first `count` unused bytes as one chunk where they lie: the bytes in front are overwritten, those
    /// behind are kept in the returned value until [`Self::unframe`] puts them back. `tail` follows the bytes:
    /// [`CHUNK_END`] or [`LAST_CHUNK`].
    pub fn frame_chunk(&mut self, count: usize, tail: &'static [u8]) -> Framed {
        // All copies have a fixed size, so that they are a few moves and no calls.
        let (header, header_bytes) = chunk_header(count);
        let front = self.start.saturating_sub(CHUNK_HEADER_BYTES_MAX);
        if let Some(slot) = self.bytes.get_mut(front..self.start).and_then(|front| front.first_chunk_mut()) {
            *slot = header;
        }
        let body_end = self.start + count;
        let mut saved = [0u8; TAILROOM];
        if let Some(slot) = self.bytes.get_mut(body_end..).and_then(|rest| rest.first_chunk_mut::<TAILROOM>()) {
            saved = *slot;
            for (slot, byte) in slot.iter_mut().zip(tail) {
                *slot = *byte;
            }
        }
        Framed { from: self.start.saturating_sub(header_bytes), body_end, end: body_end + tail.len(), saved }
    }

    /// The whole chunk: header, bytes and tail.
    #[must_use]
    pub fn framed(&self, chunk: &Framed) -> &[u8] {
        self.bytes.get(chunk.from..chunk.end).unwrap_or_default()
    }

    /// Puts the bytes behind the chunk back and counts the chunk as used.
    pub fn unframe(&mut self, chunk: &Framed) {
        if let Some(slot) = self.bytes.get_mut(chunk.body_end..).and_then(|rest| rest.first_chunk_mut()) {
            *slot = chunk.saved;
        }
        self.consume(chunk.body_end - self.start);
    }

    /// Gives the memory back. Unused bytes are lost.
    pub fn release(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        self.start = 0;
        self.end = 0;
        if !bytes.is_empty() {
            // A thread that is ending has no free list any more: then the memory is simply freed.
            let _ = FREE.try_with(|free| {
                if let Ok(mut free) = free.try_borrow_mut() {
                    free.give(bytes);
                }
            });
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

/// Writes the size of a chunk in hex and `\r\n` to the end of the returned bytes; also returns their count.
#[must_use]
fn chunk_header(size: usize) -> ([u8; CHUNK_HEADER_BYTES_MAX], usize) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let mut header = *b"0000000000000000\r\n";
    let mut at = CHUNK_HEADER_BYTES_MAX - 2;
    let mut rest = size;
    loop {
        at -= 1;
        if let Some(slot) = header.get_mut(at) {
            *slot = HEX.get(rest & 15).copied().unwrap_or(b'0');
        }
        rest >>= 4;
        if rest == 0 || at == 0 {
            return (header, CHUNK_HEADER_BYTES_MAX - at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        buffer.fill(bytes.len());
        buffer
    }

    #[test]
    fn chunk_header_is_the_size_in_hex() {
        for (size, want) in
            [(0, "0\r\n"), (10, "a\r\n"), (255, "ff\r\n"), (4096, "1000\r\n"), (usize::MAX, "ffffffffffffffff\r\n")]
        {
            let (header, count) = chunk_header(size);
            assert_eq!(&header[header.len() - count..], want.as_bytes(), "{size}");
        }
    }

    #[test]
    fn framing_a_chunk_keeps_the_bytes_behind_it() {
        let mut buffer = holding(b"data: x\n\npartial");
        let last = buffer.frame_chunk(9, LAST_CHUNK);
        assert_eq!(buffer.framed(&last), b"9\r\ndata: x\n\n\r\n0\r\n\r\n");
        buffer.unframe(&last);
        assert_eq!(buffer.filled(), b"partial");
    }

    #[test]
    fn growing_keeps_the_unused_bytes() {
        let mut buffer = holding(b"abcdef");
        buffer.consume(2);
        let room = buffer.space(100_000).len();
        assert!(room >= 100_000, "{room}");
        assert_eq!(buffer.filled(), b"cdef");
    }

    #[test]
    fn large_buffers_are_used_again_until_nobody_needs_them() {
        let free_bytes = || FREE.with_borrow(|free| (free.larger_free_bytes, free.larger_lent_bytes));
        let mut buffer = holding(b"abc");
        buffer.space(100_000);
        assert_eq!(free_bytes(), (0, 128 << 10));
        drop(buffer);
        assert_eq!(free_bytes(), (128 << 10, 0));
        trim_free_buffers();
        assert_eq!(free_bytes(), (128 << 10, 0), "it was in use since the last trim");
        let mut again = Buffer::default();
        assert_eq!(again.space(70_000).len(), (128 << 10) - HEADROOM - TAILROOM);
        assert_eq!(free_bytes(), (0, 128 << 10));
        drop(again);
        trim_free_buffers();
        trim_free_buffers();
        assert_eq!(free_bytes(), (0, 0));
    }

    #[test]
    fn free_memory_and_room_ahead_have_a_bound() {
        let mut all: Vec<Buffer> = Vec::new();
        while ahead_bytes() > 0 {
            let mut buffer = Buffer::default();
            buffer.space(200_000);
            all.push(buffer);
        }
        assert_eq!(all.len(), LARGER_LENT_BYTES_MAX / (256 << 10));
        let mut huge = Buffer::default();
        assert!(huge.space(1 << 20).len() >= 1 << 20);
        drop(huge);
        all.clear();
        assert!(ahead_bytes() > 0);
        let (free, lent) = FREE.with_borrow(|free| (free.larger_free_bytes, free.larger_lent_bytes));
        assert_eq!((free, lent), (LARGER_FREE_BYTES_MAX, 0));
    }

    #[test]
    fn trimming_keeps_what_is_in_use_and_a_few() {
        let count = || FREE.with_borrow(|free| free.smallest.buffers.len());
        let mut all: Vec<Buffer> = (0..FREE_MAX + 9).map(|_| holding(b"x")).collect();
        all.clear();
        assert_eq!(count(), FREE_MAX);
        trim_free_buffers();
        assert_eq!(count(), FREE_MAX);
        all.extend((0..100).map(|_| holding(b"x")));
        all.clear();
        trim_free_buffers();
        assert_eq!(count(), 100 + FREE_MIN);
        trim_free_buffers();
        assert_eq!(count(), FREE_MIN);
        drop_free_buffers();
        assert_eq!(count(), 0);
    }

    #[test]
    fn splicing_moves_what_stands_behind_and_grows_where_it_must() {
        for (range, bytes, want) in [
            ((2, 4), &b"XYZ"[..], &b"abXYZef"[..]),
            ((0, 6), b"x", b"x"),
            ((6, 6), b"gh", b"abcdefgh"),
            ((3, 3), b"", b"abcdef"),
            ((4, 99), b"!", b"abcd!"),
        ] {
            let mut buffer = holding(b"..abcdef");
            buffer.consume(2);
            buffer.splice(range, bytes);
            assert_eq!(buffer.filled(), want, "{range:?}");
        }
        // Full to its last byte: everything moves.
        let mut buffer = holding(b"ab");
        let room = buffer.space(1).len();
        buffer.extend(&vec![b'-'; room]);
        buffer.splice((1, 1), &vec![b'x'; SIZE]);
        assert_eq!(
            (buffer.len(), buffer.filled().first(), buffer.filled().last()),
            (2 + room + SIZE, Some(&b'a'), Some(&b'-'))
        );
        assert_eq!(buffer.filled().iter().filter(|byte| **byte == b'x').count(), SIZE);
    }

    #[test]
    fn bytes_move_up_to_those_in_front_of_them() {
        const HELD: &[u8] = b"abc\r\n3\r\ndef";
        for (range, end, want) in
            [(8..11, 6, &b"abcdef\r\ndef"[..]), (3..3, 3, HELD), (0..3, 3, HELD), (8..11, 11, HELD), (8..12, 7, HELD)]
        {
            let mut buffer = holding(HELD);
            buffer.move_up(range.clone(), end);
            assert_eq!(buffer.filled(), want, "{range:?}");
        }
    }

    #[test]
    fn closing_a_gap_joins_both_sides() {
        let mut buffer = holding(b"abc\r\n3\r\ndef");
        buffer.close_gap(3, 8);
        assert_eq!(buffer.filled(), b"abcdef");
    }
}

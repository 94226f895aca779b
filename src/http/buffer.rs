//! Read buffers from a free list of the worker.
//!
//! A connection borrows a buffer when bytes are there and gives it back when they are used up, so idle connections hold
//! none. The front and the back keep room for chunk framing, so that relayed bytes are framed where they lie.

use std::{cell::RefCell, mem};

/// Room in front of the bytes: a chunk header of 16 hex digits would fit.
const HEADROOM: usize = 24;
/// Room behind the bytes for the end of a chunk and of a body: `\r\n0\r\n\r\n`.
const TAILROOM: usize = 8;
/// Ends a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunk and the body.
pub const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
/// Size of a buffer of the free list.
const SIZE: usize = 16 * 1024;
/// Buffers a worker keeps for reuse: 4 MiB.
const FREE_MAX: usize = 256;
/// Buffers that stay however long nobody uses them.
const FREE_MIN: usize = 8;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Frees half of the buffers that nobody uses, but for a few; a worker calls it once a second.
pub fn trim_free_buffers() {
    FREE.with_borrow_mut(|free| {
        let keep = free.len().div_ceil(2).max(FREE_MIN);
        free.truncate(keep);
    });
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
        if self.bytes.is_empty() {
            self.bytes = FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE]);
            self.start = HEADROOM;
            self.end = HEADROOM;
        } else if self.is_empty() {
            self.start = HEADROOM;
            self.end = HEADROOM;
        }
        let room = |buffer: &Self| buffer.bytes.len().saturating_sub(TAILROOM + buffer.end);
        if room(self) < wanted && self.start > HEADROOM {
            self.bytes.copy_within(self.start..self.end, HEADROOM);
            self.end -= self.start - HEADROOM;
            self.start = HEADROOM;
        }
        if room(self) < wanted {
            // Doubling keeps the copies linear; the limits of the callers bound the size.
            let needed = self.end + wanted + TAILROOM;
            let size = needed.max(self.bytes.len().saturating_mul(2).min(needed + (1 << 20)));
            self.bytes.resize(size, 0);
        }
        let limit = self.bytes.len() - TAILROOM;
        self.bytes.get_mut(self.end..limit).unwrap_or_default()
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

    /// Frames the first `count` unused bytes as one chunk where they lie: the bytes in front are overwritten, those
    /// behind are kept in the returned value until [`Self::unframe`] puts them back. `tail` follows the bytes:
    /// [`CHUNK_END`] or [`LAST_CHUNK`].
    pub fn frame_chunk(&mut self, count: usize, tail: &'static [u8]) -> Framed {
        let mut header = [0u8; 18];
        let header = chunk_header(count, &mut header);
        let from = self.start.saturating_sub(header.len());
        let body_end = self.start + count;
        if let Some(slot) = self.bytes.get_mut(from..self.start) {
            slot.copy_from_slice(header);
        }
        let mut saved = [0u8; TAILROOM];
        let end = body_end + tail.len();
        if let (Some(slot), Some(saved)) = (self.bytes.get_mut(body_end..end), saved.get_mut(..tail.len())) {
            saved.copy_from_slice(slot);
            slot.copy_from_slice(tail);
        }
        Framed { from, body_end, end, saved }
    }

    /// The whole chunk: header, bytes and tail.
    #[must_use]
    pub fn framed(&self, chunk: &Framed) -> &[u8] {
        self.bytes.get(chunk.from..chunk.end).unwrap_or_default()
    }

    /// Puts the bytes behind the chunk back and counts the chunk as used.
    pub fn unframe(&mut self, chunk: &Framed) {
        if let Some(slot) = self.bytes.get_mut(chunk.body_end..chunk.end)
            && let Some(saved) = chunk.saved.get(..slot.len())
        {
            slot.copy_from_slice(saved);
        }
        self.consume(chunk.body_end - self.start);
    }

    /// Gives the memory back. Unused bytes are lost.
    pub fn release(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        self.start = 0;
        self.end = 0;
        if bytes.len() == SIZE {
            // A thread that is ending has no free list any more: then the memory is simply freed.
            let _ = FREE.try_with(|free| {
                if let Ok(mut free) = free.try_borrow_mut()
                    && free.len() < FREE_MAX
                {
                    free.push(bytes);
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

/// Writes the size of a chunk in hex and `\r\n` to the end of `room`; returns the written part.
#[must_use]
pub(super) fn chunk_header(size: usize, room: &mut [u8; 18]) -> &[u8] {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let mut at = room.len() - 2;
    let mut rest = size;
    if let Some(end) = room.last_chunk_mut::<2>() {
        *end = *b"\r\n";
    }
    loop {
        at -= 1;
        if let Some(slot) = room.get_mut(at) {
            *slot = HEX.get(rest & 15).copied().unwrap_or(b'0');
        }
        rest >>= 4;
        if rest == 0 || at == 0 {
            break;
        }
    }
    room.get(at..).unwrap_or_default()
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
        for (size, want) in [(0, "0\r\n"), (10, "a\r\n"), (255, "ff\r\n"), (4096, "1000\r\n")] {
            assert_eq!(chunk_header(size, &mut [0; 18]), want.as_bytes(), "{size}");
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
    fn closing_a_gap_joins_both_sides() {
        let mut buffer = holding(b"abc\r\n3\r\ndef");
        buffer.close_gap(3, 8);
        assert_eq!(buffer.filled(), b"abcdef");
    }
}

//! What a request and its answer said, until it is stored.
//!
//! Kept for projects that ask for it and for nobody else. Every byte is taken from one bounded room: what finds no place is
//! dropped as a whole and counted, never the record of its request.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Bounds of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Bytes kept of a request, and as many of its answer.
    pub bytes_max: usize,
    /// Bytes of all payloads together that are not stored yet.
    pub room_bytes_max: usize,
}

/// The memory that payloads share until they are stored. Never blocks.
#[derive(Debug)]
pub struct PayloadRoom {
    limits: PayloadLimits,
    held: AtomicUsize,
    dropped: AtomicU64,
}

impl PayloadRoom {
    /// A room with these bounds.
    #[must_use]
    pub fn new(limits: PayloadLimits) -> Self {
        Self { limits, held: AtomicUsize::new(0), dropped: AtomicU64::new(0) }
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Payloads that were dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts a payload that is dropped.
    pub fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.limits.room_bytes_max);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The beginning of a text, and how long all of it was.
#[derive(Default, PartialEq, Eq)]
pub struct Excerpt {
    /// The first bytes.
    pub bytes: Vec<u8>,
    /// Length of the whole text.
    pub bytes_total: u64,
}

impl Excerpt {
    /// Whether there was more.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX) < self.bytes_total
    }
}

/// A request and its answer.
pub struct Payload {
    room: Arc<PayloadRoom>,
    held: usize,
    /// Body of the request, as the client wrote it.
    pub request: Excerpt,
    /// Body of the answer, as the client got it.
    pub answer: Excerpt,
}

impl Payload {
    /// Starts with a request; none when there is no room, which is counted.
    #[must_use]
    pub fn begin(room: &Arc<PayloadRoom>, request: &[u8]) -> Option<Box<Self>> {
        let empty = Self { room: Arc::clone(room), held: 0, request: Excerpt::default(), answer: Excerpt::default() };
        let (mut payload, mut excerpt) = (Box::new(empty), Excerpt::default());
        let has_room = payload.push(&mut excerpt, request);
        payload.request = excerpt;
        if !has_room {
            room.count_dropped();
        }
        has_room.then_some(payload)
    }

    /// Adds to the request; false when there is no room, as for the answer.
    #[must_use]
    pub fn request(&mut self, bytes: &[u8]) -> bool {
        let mut excerpt = std::mem::take(&mut self.request);
        let has_room = self.push(&mut excerpt, bytes);
        self.request = excerpt;
        if !has_room {
            self.room.count_dropped();
        }
        has_room
    }

    /// Adds to the answer; false when there is no room, and then the payload is to be dropped, which is counted.
    #[must_use]
    pub fn answer(&mut self, bytes: &[u8]) -> bool {
        let mut excerpt = std::mem::take(&mut self.answer);
        let has_room = self.push(&mut excerpt, bytes);
        self.answer = excerpt;
        if !has_room {
            self.room.count_dropped();
        }
        has_room
    }

    fn push(&mut self, excerpt: &mut Excerpt, bytes: &[u8]) -> bool {
        let kept = bytes.get(..self.room.limits.bytes_max.saturating_sub(excerpt.bytes.len())).unwrap_or(bytes);
        let wanted = excerpt.bytes.len() + kept.len();
        let capacity = excerpt.bytes.capacity();
        if wanted > capacity {
            // As a vector grows, but within the bound, and asked for before.
            let next = wanted.max(capacity.saturating_mul(2).min(self.room.limits.bytes_max));
            if !self.room.take(next - capacity) {
                return false;
            }
            self.held += next - capacity;
            excerpt.bytes.reserve_exact(next - excerpt.bytes.len());
        }
        excerpt.bytes.extend_from_slice(kept);
        excerpt.bytes_total += u64::try_from(bytes.len()).unwrap_or(0);
        true
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.room.give(self.held);
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Payload(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bytes_max: usize, room_bytes_max: usize) -> Arc<PayloadRoom> {
        Arc::new(PayloadRoom::new(PayloadLimits { bytes_max, room_bytes_max }))
    }

    #[test]
    fn excerpts_are_bounded_and_tell_the_whole_length() {
        let room = room(10, 1_000);
        let mut payload = Payload::begin(&room, b"0123456789abc").unwrap();
        assert_eq!((payload.request.bytes.as_slice(), payload.request.bytes_total), (&b"0123456789"[..], 13));
        assert!(payload.request.is_cut());
        for (piece, want, total) in [(&b"abc"[..], &b"abc"[..], 3), (b"defghij", b"abcdefghij", 10)] {
            assert!(payload.answer(piece));
            assert_eq!((payload.answer.bytes.as_slice(), payload.answer.bytes_total), (want, total));
            assert!(!payload.answer.is_cut());
        }
        assert!(payload.answer(b"more") && payload.answer.is_cut());
        assert_eq!((payload.answer.bytes.len(), payload.answer.bytes_total), (10, 14));
        assert_eq!(room.held(), 20);
        drop(payload);
        assert_eq!((room.held(), room.dropped()), (0, 0));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_gives_back_what_it_held() {
        let room = room(100, 150);
        let mut first = Payload::begin(&room, &[b'a'; 100]).unwrap();
        assert!(Payload::begin(&room, &[b'b'; 60]).is_none());
        assert_eq!((room.held(), room.dropped()), (100, 1));
        assert!(first.answer(&[b'c'; 50]));
        assert!(!first.answer(&[b'c'; 1]));
        assert_eq!(room.dropped(), 2);
        drop(first);
        assert_eq!(room.held(), 0);
        assert!(Payload::begin(&room, &[b'b'; 60]).is_some());
    }

    #[test]
    fn nothing_of_it_is_shown_by_accident() {
        let room = room(100, 1_000);
        let payload = Payload::begin(&room, b"canary").unwrap();
        assert_eq!(format!("{payload:?}"), "Payload(..)");
    }
}

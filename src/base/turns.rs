//! Long looks at bytes, cut into turns.
//!
//! A worker serves thousands of connections. Whoever looks through a body of megabytes there counts what was looked through, and
//! lets every other task go on after each [`TURN_BYTES`]. How long a turn takes is bounded by that count, not by a clock.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker},
};

use memchr::memmem::Finder;

/// Bytes that one turn looks through: what costs most a byte (frames of FLAC) takes about a millisecond for so many.
pub const TURN_BYTES: usize = 64 << 10;

/// Counts what one task looks through.
#[derive(Debug)]
pub struct Turns {
    left: usize,
}

impl Default for Turns {
    fn default() -> Self {
        Self { left: TURN_BYTES }
    }
}

impl Turns {
    /// Counts bytes that were looked through, and ends the turn with the last one that it has.
    #[inline]
    pub async fn spend(&mut self, bytes: usize) {
        match self.left.checked_sub(bytes) {
            Some(left) if left > 0 => self.left = left,
            _ => self.end().await,
        }
    }

    /// Where the turn is over for one who looks through `bytes` from `at` on, each byte once.
    #[inline]
    #[must_use]
    pub fn over_at(&self, bytes: &[u8], at: usize) -> usize {
        at.saturating_add(self.left).min(bytes.len())
    }

    /// Finds a text at or behind `from`: the place of its first byte.
    pub async fn find(&mut self, finder: &Finder<'_>, bytes: &[u8], from: usize) -> Option<usize> {
        // What begins before the end of a turn may end behind it.
        let behind = finder.needle().len().saturating_sub(1);
        let mut at = from;
        while at < bytes.len() {
            let over = self.over_at(bytes, at);
            let window = bytes.get(at..bytes.len().min(over.saturating_add(behind)))?;
            if let Some(found) = finder.find(window) {
                self.spend(found).await;
                return Some(at + found);
            }
            self.spend(over - at).await;
            at = over;
        }
        None
    }

    #[cold]
    async fn end(&mut self) {
        self.left = TURN_BYTES;
        yield_now().await;
    }
}

/// Lets every other task that can go on do so first.
///
/// Whoever is about to send a request or a whole answer waits so, too. What many connections send then leaves in one go, after
/// all have read: the threads on the other side are woken once for many messages, and the code that reads and the code
/// that sends stay in the caches. It is no system call. Events of streams do not wait: they come one by one, so there is
/// nothing to be sent together, and each turn of a task costs.
pub async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Looks at once, where nobody else waits for a turn; returns what was found, and in how many turns.
pub fn at_once<T>(look: impl Future<Output = T>) -> (T, u64) {
    let mut look = pin!(look);
    let mut turns = 1;
    loop {
        match look.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(found) => return (found, turns),
            Poll::Pending => turns += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missed_where_a_turn_ends() {
        let needle = b"--boundary";
        let finder = Finder::new(needle);
        for at in (TURN_BYTES - 12..TURN_BYTES + 12).chain([0, 1, 3 * TURN_BYTES]) {
            let mut bytes = vec![b'-'; at];
            bytes.extend_from_slice(needle);
            bytes.extend_from_slice(needle);
            let (found, _) = at_once(async {
                let mut turns = Turns::default();
                let first = turns.find(&finder, &bytes, 0).await;
                let second = turns.find(&finder, &bytes, at + 1).await;
                (first, second, turns.find(&finder, &bytes, at + needle.len() + 1).await)
            });
            assert_eq!(found, (Some(at), Some(at + needle.len()), None), "at {at}");
        }
    }

    #[test]
    fn turn_is_over_with_its_last_byte() {
        for (bytes, want) in [(0, 1), (TURN_BYTES - 1, 1), (TURN_BYTES, 2), (10 * TURN_BYTES + 5, 11)] {
            let text = vec![b'x'; bytes];
            let finder = Finder::new(b"no");
            assert_eq!(at_once(Turns::default().find(&finder, &text, 0)), (None, want), "{bytes} bytes");
        }
        let (_, turns) = at_once(async {
            let mut turns = Turns::default();
            for _ in 0..2 * TURN_BYTES {
                turns.spend(1).await;
            }
        });
        assert_eq!(turns, 3);
    }
}

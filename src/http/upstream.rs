//! A connection to a provider: one request out, one answer in.
//!
//! Body bytes are decoded where they lie: [`Upstream::body`] is a slice of the read buffer. A connection is fit for
//! reuse only after [`Upstream::is_reusable`] said so; whatever else happened to it, it is dropped and thereby closed.

use std::{
    future::{Future, poll_fn},
    io,
    io::IoSlice,
    ops::Range,
    pin::pin,
    task::Poll,
    time::Duration,
};

use crate::base::{Instant, now};

use super::{
    buffer::{Buffer, Framed},
    chunk::{ChunkDecoder, Step},
    downstream::Downstream,
    head::Framing,
    lines::find_end,
    response::{ResponseError, ResponseHead, parse_response},
    stream::Stream,
};

/// Interim answers (100 to 199) that are skipped before the real one.
const INTERIM_MAX: u32 = 4;
/// Largest response head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most bytes asked from the socket at once.
const READ_BYTES_MAX: usize = 192 * 1024;

/// Why an exchange with a provider ended early. The connection must be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The deadline passed.
    TimedOut,
    /// The client left.
    ClientGone,
    /// The connection broke; `true` when it ended with FIN, `false` when it was reset or failed.
    Closed {
        /// Ended by the provider in order, though too early.
        orderly: bool,
    },
    /// The head breaks the protocol.
    Head(ResponseError),
    /// The head is too large, or too many interim answers came.
    HeadTooLarge,
    /// The body breaks its framing.
    Framing,
    /// The body passes the limit.
    BodyTooLarge,
}

enum Body {
    Length(u64),
    Chunked(ChunkDecoder),
    Close,
    End,
}

/// A connection to a provider.
pub struct Upstream {
    stream: Stream,
    input: Buffer,
    seen: usize,
    body: Body,
    /// Body bytes that stand decoded at the front of `input`.
    plain: usize,
    /// Whether the body's end has been read.
    ended: bool,
    keep_alive: bool,
    /// Whether the whole request was sent.
    sent: bool,
    /// Response bytes read for the request in hand.
    received: u64,
}

impl Upstream {
    /// Takes over a connected stream.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: Buffer::default(),
            seen: 0,
            body: Body::End,
            plain: 0,
            ended: false,
            keep_alive: false,
            sent: false,
            received: 0,
        }
    }

    /// Whether a pooled connection has died or received bytes that nobody asked for.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stream.is_readable()
    }

    /// Response bytes read for the request in hand.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Sends a request in as few system calls as the kernel allows. `down` bounds the time and is watched.
    ///
    /// A provider may refuse a request that it has not read, and never read it: sending ends with the first bytes of such
    /// an answer (RFC 9110, section 7.5). The connection is not fit for reuse then.
    ///
    /// # Errors
    /// [`Cut::Closed`], [`Cut::TimedOut`] or [`Cut::ClientGone`].
    pub async fn send(&mut self, pieces: &[&[u8]], down: &Downstream) -> Result<(), Cut> {
        self.seen = 0;
        self.received = 0;
        self.ended = false;
        self.sent = false;
        self.plain = 0;
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut sent = 0;
        while sent < total {
            match self.send_some(pieces, sent) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.wait_to_send(down).await? == Early::Refusal {
                        return Ok(());
                    }
                }
                Err(_) => return Err(Cut::Closed { orderly: false }),
            }
        }
        while self.stream.is_unflushed() {
            if self.wait_to_send(down).await? == Early::Refusal {
                return Ok(());
            }
        }
        self.sent = true;
        Ok(())
    }

    /// Waits until the kernel takes more of the request, or something comes before that. Tells what has come so far.
    async fn wait_to_send(&mut self, down: &Downstream) -> Result<Early, Cut> {
        // Rare, as most requests fit into the kernel's buffer; so it is kept off the connection's task.
        let turn = Box::pin(self.turn(down));
        let waited = down.deadline.guard(turn).await;
        if waited.map_err(|_| Cut::TimedOut)?? == Turn::Answer {
            self.read_some(2048)?;
        }
        Ok(early(self.input.filled()))
    }

    /// Waits for room, for bytes of an answer, or for the client to leave.
    async fn turn(&self, down: &Downstream) -> Result<Turn, Cut> {
        let (mut writable, mut readable) = (pin!(self.stream.writable()), pin!(self.stream.readable()));
        let mut gone = pin!(down.gone());
        // A provider that answers at length while it reads is heard out after that, as any other.
        let takes_more = self.input.len() < READ_BYTES_MAX;
        let broken = |_| Cut::Closed { orderly: false };
        poll_fn(|context| {
            if takes_more && let Poll::Ready(outcome) = readable.as_mut().poll(context) {
                return Poll::Ready(outcome.map(|()| Turn::Answer).map_err(broken));
            }
            if let Poll::Ready(outcome) = writable.as_mut().poll(context) {
                return Poll::Ready(outcome.map(|()| Turn::Room).map_err(broken));
            }
            gone.as_mut().poll(context).map(|()| Err(Cut::ClientGone))
        })
        .await
    }

    fn send_some(&mut self, pieces: &[&[u8]], sent: usize) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = remaining(pieces, sent, &mut slices);
        self.stream.try_write_vectored(slices.get(..count).unwrap_or_default())
    }

    /// Waits for the head of the answer while watching the client. Interim answers are skipped. The head's bytes are
    /// given to `keep` before they are dropped.
    ///
    /// # Errors
    /// [`Cut`].
    pub async fn read_head(
        &mut self,
        down: &mut Downstream,
        mut keep: impl FnMut(&[u8], &ResponseHead),
    ) -> Result<ResponseHead, Cut> {
        let mut interim = 0;
        loop {
            let found = find_end(self.input.filled(), &mut self.seen, HEAD_BYTES_MAX);
            let found = found.map_err(|_| Cut::Head(ResponseError::Malformed))?;
            let Some(end) = found else {
                self.wait(down).await?;
                self.read_some(2048)?;
                continue;
            };
            let bytes = self.input.filled().get(..end).unwrap_or_default();
            let head = parse_response(bytes).map_err(Cut::Head)?;
            if head.status >= 200 {
                keep(bytes, &head);
                self.begin_body(&head);
                return Ok(head);
            }
            interim += 1;
            if interim > INTERIM_MAX {
                return Err(Cut::HeadTooLarge);
            }
            self.input.consume(end);
            self.seen = 0;
        }
    }

    fn begin_body(&mut self, head: &ResponseHead) {
        self.input.consume(head.len);
        self.keep_alive = head.keep_alive;
        self.plain = 0;
        self.body = match head.framing {
            Framing::None => Body::End,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(ChunkDecoder::default()),
            Framing::Close => Body::Close,
        };
    }

    /// The decoded body bytes that were not consumed yet.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.input.filled().get(..self.plain).unwrap_or_default()
    }

    /// Counts body bytes as used.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.plain);
        self.plain -= count;
        self.input.consume(count);
    }

    /// Drops `range` of [`Self::body`] from its middle.
    pub fn cut_out(&mut self, range: Range<usize>) {
        let range = range.start.min(self.plain)..range.end.min(self.plain);
        self.plain -= range.len();
        if range.start == 0 {
            self.input.consume(range.len());
        } else {
            self.input.close_gap(range.start, range.end);
        }
    }

    /// Puts other bytes in the place of `range` of [`Self::body`].
    pub fn replace(&mut self, range: Range<usize>, bytes: &[u8]) {
        let range = range.start.min(self.plain)..range.end.min(self.plain);
        self.plain = self.plain - range.len() + bytes.len();
        self.input.splice((range.start, range.end), bytes);
    }

    /// Frames the first `count` body bytes as one chunk where they lie. See [`Buffer::frame_chunk`].
    pub fn frame_chunk(&mut self, count: usize, tail: &'static [u8]) -> Framed {
        self.input.frame_chunk(count, tail)
    }

    /// The framed chunk.
    #[must_use]
    pub fn framed(&self, chunk: &Framed) -> &[u8] {
        self.input.framed(chunk)
    }

    /// Ends [`Self::frame_chunk`] and counts its bytes as used.
    pub fn unframe(&mut self, chunk: &Framed, count: usize) {
        self.plain -= count.min(self.plain);
        self.input.unframe(chunk);
    }

    /// Whether the body's end has been read and decoded.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Decodes what has arrived; reads more only if that gave nothing new. Afterwards either [`Self::body`] is longer or
    /// the body has ended.
    ///
    /// # Errors
    /// [`Cut`].
    pub async fn read_body(&mut self, down: &mut Downstream) -> Result<(), Cut> {
        loop {
            let before = self.plain;
            self.decode()?;
            if self.plain > before || self.ended {
                return Ok(());
            }
            self.wait(down).await?;
            let wanted = match self.body {
                Body::Length(left) => usize::try_from(left).unwrap_or(READ_BYTES_MAX).clamp(1, READ_BYTES_MAX),
                _ => 2048,
            };
            match self.read_some(wanted) {
                Err(Cut::Closed { orderly: true }) if matches!(self.body, Body::Close) => self.ended = true,
                other => other?,
            }
        }
    }

    /// Reads the whole body, which then is [`Self::body`]. The caller has set the deadline of the first wait; each later one
    /// ends after `idle`, and all of them by `until`.
    ///
    /// # Errors
    /// [`Cut`]; [`Cut::BodyTooLarge`] past `bytes_max`.
    pub async fn read_whole_body(
        &mut self,
        bytes_max: usize,
        (idle, until): (Duration, Instant),
        down: &mut Downstream,
    ) -> Result<(), Cut> {
        if let Body::Length(left) = self.body
            && usize::try_from(left).unwrap_or(usize::MAX) > bytes_max
        {
            return Err(Cut::BodyTooLarge);
        }
        while !self.ended {
            self.read_body(down).await?;
            if self.plain > bytes_max {
                return Err(Cut::BodyTooLarge);
            }
            if !self.ended {
                down.deadline.set(idle.min(until.saturating_duration_since(now())));
            }
        }
        Ok(())
    }

    /// Decodes as much of the raw input as there is; body bytes move together at the front.
    fn decode(&mut self) -> Result<(), Cut> {
        match &mut self.body {
            Body::End => self.ended = true,
            Body::Close => self.plain = self.input.len(),
            Body::Length(left) => {
                let raw = self.input.len() - self.plain;
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(raw);
                self.plain += count;
                *left -= u64::try_from(count).unwrap_or(0);
                self.ended = *left == 0;
            }
            Body::Chunked(decoder) => {
                let mut at = self.plain;
                while at < self.input.len() && !self.ended {
                    match decoder.step(self.input.filled(), &mut at).map_err(|_| Cut::Framing)? {
                        Step::Content(range) => {
                            // The first chunk stays where it is; later ones move up to it, each of them once.
                            let gap = if self.plain == 0 { range.start } else { 0 };
                            self.input.consume(gap);
                            let range = range.start - gap..range.end - gap;
                            at = range.end;
                            self.plain += range.len();
                            self.input.move_up(range, self.plain);
                        }
                        Step::More => break,
                        Step::End => self.ended = true,
                    }
                }
                self.drop_raw(at);
            }
        }
        Ok(())
    }

    /// Drops the framing bytes between the body and `at`, which the decoder has used.
    fn drop_raw(&mut self, at: usize) {
        if self.plain > 0 {
            self.input.close_gap(self.plain, at);
        } else if at > 0 {
            self.input.consume(at);
        }
    }

    /// Whether the exchange is complete and nothing was left over, so that the connection may be pooled.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.ended && self.sent && self.keep_alive && self.input.len() == self.plain
    }

    /// Gives the read buffer back before the connection is pooled.
    pub fn rest(&mut self) {
        self.plain = 0;
        self.input.release();
    }

    async fn wait(&self, down: &mut Downstream) -> Result<(), Cut> {
        if self.input.is_empty() {
            // Nothing is held while waiting: the buffer went back when its last byte was used.
            debug_assert_eq!(self.plain, 0);
        }
        // The deadline is borrowed apart, so that the client can be watched mutably at the same time.
        let deadline = down.deadline.handle();
        let readable = pin!(self.stream.readable());
        let either = pin!(down.unless_gone(readable));
        match deadline.guard(either).await {
            Err(_) => Err(Cut::TimedOut),
            Ok(Err(_)) => Err(Cut::ClientGone),
            Ok(Ok(Err(_))) => Err(Cut::Closed { orderly: false }),
            Ok(Ok(Ok(()))) => Ok(()),
        }
    }

    fn read_some(&mut self, wanted: usize) -> Result<(), Cut> {
        let outcome = self.stream.try_read(self.input.space(wanted));
        match outcome {
            Ok(0) => Err(Cut::Closed { orderly: true }),
            Ok(count) => {
                self.input.fill(count);
                self.received += u64::try_from(count).unwrap_or(0);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.input.consume(0);
                Ok(())
            }
            Err(_) => Err(Cut::Closed { orderly: false }),
        }
    }
}

/// What a wait within a request ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The kernel takes more of the request.
    Room,
    /// There are bytes to be read.
    Answer,
}

/// What has come of an answer before its request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Early {
    /// Nothing that says anything. Interim answers ask us to go on.
    Nothing,
    /// A success: the provider reads on while it answers.
    Success,
    /// A refusal, or something that is no answer at all: nobody will read the rest.
    Refusal,
}

/// Looks at the first bytes of an answer.
fn early(bytes: &[u8]) -> Early {
    const VERSION: &[u8] = b"HTTP/1.";
    let mut rest = bytes;
    loop {
        if VERSION.starts_with(rest) {
            return Early::Nothing;
        }
        match (rest.starts_with(VERSION), rest.get(VERSION.len() + 2)) {
            (true, None) => return Early::Nothing,
            (true, Some(b'2')) => return Early::Success,
            (true, Some(b'1')) if bytes.len() <= HEAD_BYTES_MAX => {}
            _ => return Early::Refusal,
        }
        let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
            return Early::Nothing;
        };
        rest = rest.get(end + 4..).unwrap_or_default();
    }
}

/// Fills `slices` with what is left of `pieces` after `sent` bytes; returns how many are filled.
fn remaining<'a>(pieces: &[&'a [u8]], sent: usize, slices: &mut [IoSlice<'a>]) -> usize {
    let (mut skip, mut count) = (sent, 0);
    for piece in pieces {
        if skip >= piece.len() {
            skip -= piece.len();
            continue;
        }
        let Some(slot) = slices.get_mut(count) else {
            break;
        };
        *slot = IoSlice::new(piece.get(skip..).unwrap_or_default());
        skip = 0;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_refusal_is_told_from_interim_answers_and_success() {
        let interim = "HTTP/1.1 102 Processing\r\na: b\r\n\r\n";
        for (name, bytes, want) in [
            ("nothing", String::new(), Early::Nothing),
            ("too short to tell", "HTTP/1.1 ".to_owned(), Early::Nothing),
            ("refusal", "HTTP/1.1 4".to_owned(), Early::Refusal),
            ("redirect", "HTTP/1.1 302 Found".to_owned(), Early::Refusal),
            ("success", "HTTP/1.1 200 OK".to_owned(), Early::Success),
            ("HTTP/1.0", "HTTP/1.0".to_owned(), Early::Nothing),
            ("refusal of HTTP/1.0", "HTTP/1.0 5".to_owned(), Early::Refusal),
            ("HTTP/2", "HTTP/2".to_owned(), Early::Refusal),
            ("garbage", "S".to_owned(), Early::Refusal),
            ("interim, cut", interim[..20].to_owned(), Early::Nothing),
            ("interim", interim.to_owned(), Early::Nothing),
            ("two", interim.repeat(2), Early::Nothing),
            ("two, then too short to tell", interim.repeat(2) + "HT", Early::Nothing),
            ("two, then success", interim.repeat(2) + "HTTP/1.1 2", Early::Success),
            ("two, then garbage", interim.repeat(2) + "X", Early::Refusal),
            ("too many", interim.repeat(4096), Early::Refusal),
        ] {
            assert_eq!(early(bytes.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn rest_of_a_request_starts_where_the_kernel_stopped() {
        let pieces: [&[u8]; 3] = [b"head", b"", b"body"];
        for (sent, want) in [(0, "headbody"), (2, "adbody"), (4, "body"), (7, "y")] {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = remaining(&pieces, sent, &mut slices);
            let left: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(left, want.as_bytes(), "{sent}");
        }
    }
}

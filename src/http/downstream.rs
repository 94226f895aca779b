//! A client's connection: heads and bodies in, answers out.
//!
//! Each wait has a bound. The request in hand stays at the front of the input buffer, head first, then the body; bytes
//! behind it are the next request of a pipelining client and are never mixed in.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use crate::base::{Instant, now};

use super::{
    buffer::{Buffer, ahead_bytes},
    chunk::{ChunkDecoder, Step},
    deadline::Deadline,
    head::{Framing, HeadError, HeadLimits, RequestHead, parse_request},
    lines::{find_end, leading_blank},
    socket::Socket,
};

/// A client that ends its sending side this soon after its request went on its way only half-closes; later it is leaving.
/// TCP does not tell the two apart, and a client that gave up must free its provider connection at once. The edge's socket
/// does tell.
const HALF_CLOSE_GRACE: Duration = Duration::from_millis(50);
/// Unread body that is read and dropped after a local answer, so that the connection can be used again.
const DISCARD_BYTES_MAX: u64 = 64 * 1024;
/// Time for it, and for a client to read our last answer before the connection is cut.
const LINGER: Duration = Duration::from_secs(1);
/// Pipelined bytes that are taken in while a request is in progress.
const PIPELINED_BYTES_MAX: usize = 64 * 1024;

/// Bounds of a client's connection.
#[derive(Debug, Clone, Copy)]
pub struct DownstreamLimits {
    /// Bounds of a head.
    pub head: HeadLimits,
    /// From the first byte of a head to its end.
    pub head_timeout: Duration,
    /// Longest wait between two requests.
    pub idle_timeout: Duration,
    /// Largest body in bytes.
    pub body_bytes_max: u64,
    /// Largest form with a file in bytes.
    pub form_bytes_max: u64,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Least bytes per second of a body, counted after [`Self::body_rate_grace`].
    pub body_rate_min: u64,
    /// Time before the least rate holds.
    pub body_rate_grace: Duration,
    /// Longest wait for a client that does not read.
    pub write_timeout: Duration,
}

/// What a body is, which decides how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// A document of text.
    Text,
    /// A form with a file in it.
    Form,
}

/// What came instead of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHead {
    /// The client closed between two requests, or nothing came in time: close without an answer.
    Closed,
    /// A head began and did not end in time: answer 408.
    TooSlow,
    /// The head breaks a rule: answer and close.
    Refused(HeadError),
}

/// Why a body was not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBody {
    /// Larger than the limit: answer 413 and close.
    TooLarge,
    /// Too slow: answer 408 and close.
    TooSlow,
    /// Malformed chunked coding: answer 400 and close.
    Malformed,
    /// The client is gone.
    Gone,
}

/// The client is gone, or reads nothing for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// A client's connection.
pub struct Downstream {
    socket: Socket,
    input: Buffer,
    seen: usize,
    limits: DownstreamLimits,
    peer: SocketAddr,
    received_at: Instant,
    /// Since when somebody else has had the request in hand; the end of the input soon after that is a half-close.
    waits_since: Instant,
    half_closed: Cell<bool>,
    /// Bytes at the front of the input that belong to the request in hand.
    request_len: usize,
    /// Length of the last request: the next one is likely to be as long.
    likely_len: usize,
    /// The deadline of whatever this connection waits for at present.
    pub deadline: Deadline,
}

impl Downstream {
    /// Takes over an accepted socket.
    #[must_use]
    pub fn new(socket: Socket, peer: SocketAddr, limits: DownstreamLimits) -> Self {
        let accepted_at = now();
        Self {
            socket,
            input: Buffer::default(),
            seen: 0,
            limits,
            peer,
            received_at: accepted_at,
            waits_since: accepted_at,
            half_closed: Cell::new(false),
            request_len: 0,
            likely_len: 0,
            deadline: Deadline::new(),
        }
    }

    /// Says when we began to work for the request in hand elsewhere. Until then a client had no reason to give up, however
    /// long the reading of a large request took us.
    pub fn begin_wait(&mut self, at: Instant) {
        self.waits_since = at;
    }

    /// When the request in hand was complete, as far as it was waited for: its head, then its body.
    #[must_use]
    pub fn received_at(&self) -> Instant {
        self.received_at
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The bytes of the request in hand and what follows it.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        self.input.filled()
    }

    /// Waits for the next request and parses its head, which stays at the front of [`Self::input`].
    ///
    /// # Errors
    /// [`NoHead`] says how to end the connection.
    pub async fn read_head(&mut self) -> Result<RequestHead, NoHead> {
        self.seen = 0;
        let mut started = false;
        loop {
            if self.seen == 0 {
                let blank = leading_blank(self.input.filled());
                self.input.consume(blank);
            }
            if !self.input.is_empty() {
                let found = find_end(self.input.filled(), &mut self.seen, self.limits.head.bytes_max);
                if let Some(end) = found.map_err(NoHead::Refused)? {
                    self.received(now());
                    let bytes = self.input.filled().get(..end).unwrap_or_default();
                    return parse_request(bytes, self.limits.head).map_err(NoHead::Refused);
                }
                if !started {
                    started = true;
                    self.deadline.set(self.limits.head_timeout);
                }
            } else if !started {
                self.deadline.set(self.limits.idle_timeout);
            }
            let idle = !started;
            if idle && self.half_closed.get() {
                return Err(NoHead::Closed);
            }
            self.deadline.set_idle(idle);
            let waited = self.deadline.guard(pin!(self.socket.readable())).await;
            self.deadline.set_idle(false);
            match waited {
                Err(_) if started => return Err(NoHead::TooSlow),
                Err(_) | Ok(Err(_)) => return Err(NoHead::Closed),
                Ok(Ok(())) => {}
            }
            // With room for all of it, a long request is read at once and never moved.
            let wanted = if idle { self.likely_len.min(ahead_bytes()).max(2048) } else { 2048 };
            if self.read_some(wanted).is_err() {
                return Err(NoHead::Closed);
            }
        }
    }

    /// Tells the client to send the body it holds back.
    ///
    /// # Errors
    /// [`Gone`] when it cannot be told.
    pub async fn send_continue(&mut self) -> Result<(), Gone> {
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await
    }

    /// Receives the whole body behind the head; returns its length in bytes.
    ///
    /// # Errors
    /// [`NoBody`] says why not; the connection must be closed after the answer.
    pub async fn read_body(&mut self, head: &RequestHead, kind: BodyKind) -> Result<usize, NoBody> {
        let bytes_max = match kind {
            BodyKind::Text => self.limits.body_bytes_max,
            BodyKind::Form => self.limits.form_bytes_max,
        };
        let length = match head.framing {
            Framing::None | Framing::Close => 0,
            Framing::Length(length) if length > bytes_max => return Err(NoBody::TooLarge),
            Framing::Length(length) => usize::try_from(length).map_err(|_| NoBody::TooLarge)?,
            Framing::Chunked => self.read_chunked(head.len, bytes_max).await?,
        };
        if matches!(head.framing, Framing::Length(_)) && self.input.len() < head.len + length {
            let started = now();
            while self.input.len() < head.len + length {
                let missing = head.len + length - self.input.len();
                self.read_body_some(started, self.input.len() - head.len, missing).await?;
            }
            self.received(now());
        }
        self.request_len = head.len + length;
        Ok(length)
    }

    async fn read_chunked(&mut self, head_len: usize, bytes_max: u64) -> Result<usize, NoBody> {
        let started = now();
        let mut decoder = ChunkDecoder::default();
        // Body bytes decoded so far stand right behind the head; `at` is where the raw input goes on.
        let (mut length, mut at) = (0usize, head_len);
        loop {
            match decoder.step(self.input.filled(), &mut at).map_err(|_| NoBody::Malformed)? {
                Step::Content(range) => {
                    let count = range.len();
                    self.input.close_gap(head_len + length, range.start);
                    length += count;
                    at = head_len + length;
                    if u64::try_from(length).unwrap_or(u64::MAX) > bytes_max {
                        return Err(NoBody::TooLarge);
                    }
                }
                Step::More => self.read_body_some(started, length, 2048).await?,
                Step::End => {
                    self.input.close_gap(head_len + length, at);
                    self.received(now());
                    return Ok(length);
                }
            }
        }
    }

    /// Waits for more of a body, no longer than the total time and the least rate allow.
    async fn read_body_some(&mut self, started: Instant, received: usize, wanted: usize) -> Result<(), NoBody> {
        let received_bytes = u64::try_from(received).unwrap_or(u64::MAX);
        // No least rate: only the total time counts.
        let earned = received_bytes.checked_div(self.limits.body_rate_min).map_or(Duration::MAX, Duration::from_secs);
        let allowed = self.limits.body_rate_grace.max(earned).min(self.limits.body_timeout);
        let elapsed = now().saturating_duration_since(started);
        if elapsed > allowed {
            return Err(NoBody::TooSlow);
        }
        self.deadline.set(allowed - elapsed);
        match self.deadline.guard(pin!(self.socket.readable())).await {
            Err(_) => return Err(NoBody::TooSlow),
            Ok(Err(_)) => return Err(NoBody::Gone),
            Ok(Ok(())) => {}
        }
        // Memory grows with what has arrived, not with what was announced; but a few large buffers are at hand.
        self.read_some(wanted.min((received + 16 * 1024).max(ahead_bytes()))).map_err(|_| NoBody::Gone)
    }

    /// Reads once. The end of the input is an error here: a message is incomplete.
    fn read_some(&mut self, wanted: usize) -> io::Result<()> {
        let read = self.socket.try_read(self.input.space(wanted));
        match read {
            Ok(0) => {
                self.input.consume(0);
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(count) => {
                self.input.fill(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.input.consume(0);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn received(&mut self, at: Instant) {
        self.received_at = at;
        self.waits_since = at;
    }

    /// Counts the request in hand as used: its head and `body_len` bytes of body.
    pub fn finish_request(&mut self, head: &RequestHead, body_len: usize) {
        self.input.consume(head.len + body_len);
        self.request_len = 0;
        self.likely_len = head.len + body_len;
    }

    /// Largest body that [`Self::discard_body`] would read: what has arrived already, and a little more.
    #[must_use]
    pub fn discard_bytes_max(&self, head: &RequestHead) -> u64 {
        let there = self.input.len().saturating_sub(head.len);
        u64::try_from(there).unwrap_or(u64::MAX).saturating_add(DISCARD_BYTES_MAX)
    }

    /// Reads and drops a body that nobody wants. Returns whether the connection can serve another request.
    pub async fn discard_body(&mut self, head: &RequestHead) -> bool {
        let Framing::Length(length) = head.framing else {
            self.input.consume(head.len);
            return head.framing == Framing::None;
        };
        let there = self.input.len().saturating_sub(head.len);
        let there = u64::try_from(there).unwrap_or(u64::MAX);
        if head.expects_continue || length.saturating_sub(there) > DISCARD_BYTES_MAX {
            return false;
        }
        self.input.consume(head.len);
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        self.deadline.set(LINGER);
        loop {
            let count = left.min(self.input.len());
            self.input.consume(count);
            left -= count;
            if left == 0 {
                return true;
            }
            let waited = self.deadline.guard(pin!(self.socket.readable())).await;
            if !matches!(waited, Ok(Ok(()))) || self.read_some(2048).is_err() {
                return false;
            }
        }
    }

    /// Ends a connection whose client may still be sending: without this, closing would reset the connection and the
    /// client might lose our answer.
    pub async fn linger(&mut self) {
        self.socket.shutdown_write();
        self.input.release();
        self.deadline.set(LINGER);
        let mut budget = DISCARD_BYTES_MAX * 16;
        // A buffer of the free list and not an array: an array would make every connection's task larger.
        let mut sink = Buffer::default();
        while budget > 0 {
            match self.deadline.guard(pin!(self.socket.readable())).await {
                Ok(Ok(())) => {}
                _ => return,
            }
            match self.socket.try_read(sink.space(4096)) {
                Ok(0) => return,
                Ok(count) => budget = budget.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// [`Gone`] when the client is gone or takes nothing for the write timeout.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let mut rest = bytes;
        loop {
            match self.socket.try_write(rest) {
                Ok(count) if count == rest.len() => return Ok(()),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_writable().await?,
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Writes two slices, with one system call if the kernel takes them at once.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_both(&mut self, head: &[u8], body: &[u8]) -> Result<(), Gone> {
        let sent = match self.socket.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(Gone),
        };
        if sent < head.len() {
            self.write(head.get(sent..).unwrap_or_default()).await?;
        }
        let rest = body.get(sent.saturating_sub(head.len())..).unwrap_or_default();
        if rest.is_empty() { Ok(()) } else { self.write(rest).await }
    }

    async fn wait_writable(&mut self) -> Result<(), Gone> {
        self.deadline.set(self.limits.write_timeout);
        match self.deadline.guard(pin!(self.socket.writable())).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    /// Ends when the client has left, and takes nothing of what it sends: for a wait during which the request in hand is
    /// read. Never ends for a client that half-closed, nor for one that pipelines.
    pub(super) async fn gone(&self) {
        while !self.half_closed.get() {
            if self.socket.readable().await.is_err() {
                return;
            }
            match self.socket.try_peek() {
                Ok(0) if is_half_close(self.waits_since) => self.half_closed.set(true),
                Ok(0) => return,
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        std::future::pending().await
    }

    /// Watches the client no more: what is waited for goes on although it has left.
    pub fn forget_client(&mut self) {
        self.half_closed.set(true);
    }

    /// Waits for `other`, which the caller pins, while watching for the client to leave.
    ///
    /// # Errors
    /// [`Gone`] when the client left first. Time is bounded by the caller's use of [`Self::deadline`].
    pub async fn unless_gone<F: Future + Unpin>(&mut self, mut other: F) -> Result<F::Output, Gone> {
        let Self { socket, input, waits_since, half_closed, request_len, .. } = self;
        let input_max = *request_len + PIPELINED_BYTES_MAX;
        let mut gone = pin!(watch(socket, (input, input_max), *waits_since, half_closed));
        poll_fn(|context| {
            if let Poll::Ready(output) = Pin::new(&mut other).poll(context) {
                return Poll::Ready(Ok(output));
            }
            gone.as_mut().poll(context).map(|()| Err(Gone))
        })
        .await
    }
}

/// Whether an end of the input at this moment only means that the client sends no more.
fn is_half_close(waits_since: Instant) -> bool {
    now().saturating_duration_since(waits_since) < HALF_CLOSE_GRACE
}

/// Ends when the client has left; never ends for one that only half-closed or pipelines.
async fn watch(
    socket: &Socket,
    (input, input_max): (&mut Buffer, usize),
    waits_since: Instant,
    half_closed: &Cell<bool>,
) {
    while !half_closed.get() && input.len() < input_max {
        if socket.readable().await.is_err() {
            return;
        }
        match socket.try_read(input.space(1024)) {
            Ok(0) if is_half_close(waits_since) && !socket.is_abandoned() => half_closed.set(true),
            Ok(0) => return,
            Ok(count) => input.fill(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if input.is_empty() {
            input.release();
        }
    }
    std::future::pending().await
}

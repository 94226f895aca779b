//! Counts the frames of a client that ask for nothing.
//!
//! `h2` bounds what each kind of frame may cost in memory, but answers any number of `PING`, `SETTINGS`, `PRIORITY`,
//! `WINDOW_UPDATE` and unknown frames (threat T-06). Here they are paid for: each takes one from an allowance that grows
//! with time, with requests, and with what the gateway sends. A client that has none left is cut off.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use async_trait::async_trait;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client says first (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

/// Frames at the start, and most that time gives back.
const ALLOWANCE: u32 = 1_000;
const ALLOWANCE_PER_SECOND: u32 = 10;
/// Browsers send the priority of each request.
const ALLOWANCE_PER_REQUEST: u32 = 10;
/// A client may open its windows, that of the stream and that of the connection, for each frame that it gets.
const ALLOWANCE_PER_SENT: u32 = 4;
/// Most in all: answers to a fast stream come late and together.
const ALLOWANCE_MAX: u32 = 100_000;

/// A connection whose frames are counted.
#[derive(Debug)]
pub(super) struct Counted {
    stream: Stream,
    received: Frames,
    sent: Frames,
    allowance: Allowance,
}

impl Counted {
    /// Takes a connection before its first byte.
    pub(super) fn new(stream: Stream) -> Self {
        let allowance = Allowance { left: ALLOWANCE, since: Instant::now() };
        Self { stream, received: Frames::behind(PREFACE_BYTES), sent: Frames::behind(0), allowance }
    }

    fn count_sent(&mut self, bytes: &[u8]) {
        let allowance = &mut self.allowance;
        self.sent.follow(bytes, |frame| {
            if frame.kind == Kind::Data {
                allowance.add(ALLOWANCE_PER_SENT);
            }
        });
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        let Self { received, allowance, .. } = &mut *self;
        let mut paid = true;
        received.follow(into.filled().get(before..).unwrap_or_default(), |frame| paid &= allowance.take(frame));
        if !paid {
            return Poll::Ready(Err(io::Error::other("too many frames that ask for nothing")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.count_sent(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts))?;
        let mut left = written;
        for part in parts {
            let count = left.min(part.len());
            self.count_sent(part.get(..count).unwrap_or_default());
            left -= count;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Counted {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Counted {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl GetTimingDigest for Counted {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Counted {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Counted {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

impl Ssl for Counted {}

impl Peek for Counted {}

/// What a client may still send without asking for something.
#[derive(Debug)]
struct Allowance {
    left: u32,
    /// When time gave back last.
    since: Instant,
}

impl Allowance {
    /// Pays for a frame; false when nothing is left.
    fn take(&mut self, frame: Frame) -> bool {
        match frame.kind {
            Kind::Data if frame.len > 0 => return true,
            Kind::Headers => {
                self.add(ALLOWANCE_PER_REQUEST);
                return true;
            }
            Kind::Data | Kind::Other => {}
        }
        if self.left == 0 {
            self.give_back(Instant::now());
        }
        let paid = self.left > 0;
        self.left = self.left.saturating_sub(1);
        paid
    }

    fn add(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(ALLOWANCE_MAX);
    }

    fn give_back(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            let given = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(ALLOWANCE_PER_SECOND);
            self.add(given.min(ALLOWANCE));
            self.since = now;
        }
    }
}

/// A frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    kind: Kind,
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Headers,
    Other,
}

/// Follows the frames of one direction. Keeps no payload.
#[derive(Debug)]
struct Frames {
    /// Bytes that belong to no head: of the preface, or of a payload.
    skipped: usize,
    head: [u8; HEAD_BYTES],
    head_count: usize,
}

impl Frames {
    fn behind(preface_bytes: usize) -> Self {
        Self { skipped: preface_bytes, head: [0; HEAD_BYTES], head_count: 0 }
    }

    /// Tells of every frame whose head ends within `bytes`.
    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skipped.min(bytes.len());
            self.skipped -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let count = (HEAD_BYTES - self.head_count).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
            if let Some(place) = self.head.get_mut(self.head_count..self.head_count + count) {
                place.copy_from_slice(part);
            }
            self.head_count += count;
            bytes = rest;
            if self.head_count == HEAD_BYTES {
                let frame = frame(self.head);
                self.skipped = frame.len;
                self.head_count = 0;
                each(frame);
            }
        }
    }
}

/// Reads a head (RFC 9113, section 4.1).
fn frame([high, middle, low, kind, ..]: [u8; HEAD_BYTES]) -> Frame {
    let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    let kind = match kind {
        0 => Kind::Data,
        1 => Kind::Headers,
        _ => Kind::Other,
    };
    Frame { kind, len }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn encoded(kind: u8, len: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, len, kind, 0, 0, 0, 0, 1];
        bytes.resize(HEAD_BYTES + usize::from(len), 0xff);
        bytes
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut bytes = vec![b'P'; PREFACE_BYTES];
        for (kind, len) in [(4, 0), (1, 200), (0, 0), (0, 17), (6, 8)] {
            bytes.extend(encoded(kind, len));
        }
        let of = |kind, len| Frame { kind, len };
        let want =
            [of(Kind::Other, 0), of(Kind::Headers, 200), of(Kind::Data, 0), of(Kind::Data, 17), of(Kind::Other, 8)];
        for size in [1, 2, 7, 9, 10, 64, 1000] {
            let (mut frames, mut seen) = (Frames::behind(PREFACE_BYTES), Vec::new());
            for part in bytes.chunks(size) {
                frames.follow(part, |frame| seen.push(frame));
            }
            assert_eq!(seen, want, "in parts of {size}");
        }
    }

    #[test]
    fn allowance_grows_with_requests_answers_and_time() {
        let started = Instant::now();
        let mut allowance = Allowance { left: ALLOWANCE, since: started };
        let (ping, empty) = (Frame { kind: Kind::Other, len: 8 }, Frame { kind: Kind::Data, len: 0 });
        for turn in 0..ALLOWANCE {
            assert!(allowance.take(if turn % 2 == 0 { ping } else { empty }), "{turn}");
        }
        assert!(!allowance.take(ping));
        assert!(allowance.take(Frame { kind: Kind::Data, len: 1 }), "a body is paid for by its deadlines");
        for (name, given) in [("request", ALLOWANCE_PER_REQUEST), ("answer", ALLOWANCE_PER_SENT)] {
            match name {
                "request" => assert!(allowance.take(Frame { kind: Kind::Headers, len: 9 })),
                _ => allowance.add(ALLOWANCE_PER_SENT),
            }
            for _ in 0..given {
                assert!(allowance.take(ping), "{name}");
            }
            assert!(!allowance.take(ping), "{name}");
        }
        for (name, seconds, want) in
            [("at once", 0, 0), ("a second", 1, ALLOWANCE_PER_SECOND), ("an hour", 3600, ALLOWANCE)]
        {
            let mut spent = Allowance { left: 0, since: started };
            spent.give_back(started + Duration::from_secs(seconds));
            assert_eq!(spent.left, want, "{name}");
        }
    }
}

//! A client of HTTP/2 that writes any frame.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Identity, TlsStream};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const ACK: u8 = 1;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;

/// A frame that came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a `GOAWAY`.
    pub(super) fn goaway(&self) -> Option<u32> {
        (self.kind == GOAWAY).then(|| u32::from_be_bytes(self.payload[4..8].try_into().unwrap()))
    }
}

/// How a connection ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) closed: bool,
    /// The code of the last `GOAWAY`.
    pub(super) goaway: Option<u32>,
    pub(super) resets: u32,
    /// Answers, by their `HEADERS`.
    pub(super) answers: u32,
}

/// A connection of raw frames.
pub(super) struct Raw {
    stream: TlsStream,
    unread: Vec<u8>,
    pub(super) end: End,
}

impl Raw {
    /// Agrees on HTTP/2 and says nothing.
    pub(super) fn silent(edge: SocketAddr, identity: &Identity) -> Self {
        let tcp = TcpStream::connect(edge).unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        tcp.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream: identity.stream(tcp, &[b"h2"]), unread: Vec::new(), end: End::default() }
    }

    /// Opens a connection with these settings.
    pub(super) fn open(edge: SocketAddr, identity: &Identity, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::silent(edge, identity);
        let mut bytes = PREFACE.to_vec();
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        frame(SETTINGS, 0, 0, &payload, &mut bytes);
        frame(SETTINGS, ACK, 0, &[], &mut bytes);
        assert!(raw.send(&bytes));
        raw
    }

    /// Writes; false when the peer has closed.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes).and_then(|()| self.stream.flush()) {
            Ok(()) => true,
            Err(error) => {
                assert!(!waits(&error), "the peer reads no more, but lets the connection stand");
                self.end.closed = true;
                false
            }
        }
    }

    /// The next frame that comes within `at_most`; `None` behind the last, or in time.
    pub(super) fn next(&mut self, at_most: Duration) -> Option<Frame> {
        let until = Instant::now() + at_most;
        loop {
            if let Some(frame) = self.take() {
                self.end.goaway = frame.goaway().or(self.end.goaway);
                self.end.resets += u32::from(frame.kind == RST_STREAM);
                self.end.answers += u32::from(frame.kind == HEADERS);
                return Some(frame);
            }
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.sock.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(count @ 1..) => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if waits(&error) && Instant::now() < until => {}
                Err(error) if waits(&error) => return None,
                Ok(_) | Err(_) => {
                    self.end.closed = true;
                    return None;
                }
            }
        }
    }

    /// Reads what has come already.
    pub(super) fn drain(&mut self) {
        while self.next(Duration::from_millis(1)).is_some() {}
    }

    /// Waits until the peer has answered a `PING`, and so read all before it, or has ended the connection.
    pub(super) fn keep_step(&mut self) {
        const STEP: &[u8] = b"in step?";
        let mut ping = Vec::new();
        frame(PING, 0, 0, STEP, &mut ping);
        self.send(&ping);
        while let Some(frame) = self.next(DEADLINE) {
            if (frame.kind == PING && frame.payload == STEP) || frame.goaway().is_some_and(|code| code != 0) {
                return;
            }
        }
        assert!(self.end.closed, "neither an answer nor an end");
    }

    /// Reads until the peer closes, or until `at_most` has passed.
    pub(super) fn wait(&mut self, at_most: Duration) -> End {
        let until = Instant::now() + at_most;
        while !self.end.closed && Instant::now() < until {
            self.next(until.saturating_duration_since(Instant::now()));
        }
        self.end
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; HEAD_BYTES] = self.unread.get(..HEAD_BYTES)?.try_into().unwrap();
        let len = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let payload = self.unread.get(HEAD_BYTES..HEAD_BYTES + len)?.to_vec();
        self.unread.drain(..HEAD_BYTES + len);
        Some(Frame { kind: head[3], payload })
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Appends a frame (RFC 9113, section 4.1).
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    out.extend_from_slice(&len[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends a field that is not put into the table, neither part compressed (RFC 7541, section 6.2.2).
pub(super) fn literal(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    text(name, out);
    text(value, out);
}

/// Appends a field that is put into the table (RFC 7541, section 6.2.1). The youngest has the index 62.
pub(super) fn remembered(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0x40);
    text(name, out);
    text(value, out);
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    integer(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(value: usize, out: &mut Vec<u8>) {
    if value < 127 {
        out.push(u8::try_from(value).unwrap());
        return;
    }
    out.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

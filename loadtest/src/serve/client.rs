//! A raw client for tests: sends bytes, shows what came back.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How a connection ended, as the client saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ended {
    /// With FIN.
    Fin,
    /// With RST.
    Reset,
    /// Not within the time that the client waited.
    Open,
}

/// A plain TCP connection.
pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Sends a JSON request.
    pub(crate) fn post(&mut self, path: &str, body: &str) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: mock\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body.as_bytes()].concat());
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads until the connection ends or stays silent for `silence_ms`.
    pub(crate) fn drain(&mut self, silence_ms: u64) -> (Vec<u8>, Ended) {
        self.stream.set_read_timeout(Some(Duration::from_millis(silence_ms))).unwrap();
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return (all, Ended::Fin),
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return (all, Ended::Reset);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return (all, Ended::Open);
                }
                Err(error) => panic!("cannot read: {error}"),
            }
        }
    }

    /// Reads until the connection ends, or what came is enough, or ten seconds are over.
    pub(crate) fn drain_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, Ended) {
        let until = std::time::Instant::now() + Duration::from_secs(10);
        let mut all = Vec::new();
        loop {
            let (more, ended) = self.drain(20);
            all.extend_from_slice(&more);
            if ended != Ended::Open || is_enough(&all) || std::time::Instant::now() > until {
                return (all, ended);
            }
        }
    }

    /// Reads one whole answer by its own framing and leaves the connection open. Panics when it is malformed.
    pub(crate) fn answer(&mut self) -> Answer {
        self.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(answer) = Answer::read(&bytes) {
                return answer;
            }
            let count = self.stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "closed within an answer: {}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&buffer[..count]);
        }
    }
}

/// One answer, without its framing.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// How many chunks the body had; 0 for a body with a length.
    pub(crate) chunk_count: usize,
}

impl Answer {
    /// Reads an answer that is framed by a length or by chunks; `None` while it is incomplete.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let head_bytes = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
        let head = String::from_utf8(bytes[..head_bytes].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let rest = &bytes[head_bytes..];
        if !head.contains("transfer-encoding: chunked\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let body = rest.get(..length.parse().unwrap())?.to_vec();
            return Some(Self { status, head, body, chunk_count: 0 });
        }
        let (mut body, mut chunk_count, mut rest) = (Vec::new(), 0, rest);
        loop {
            let end = memchr::memmem::find(rest, b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            let piece = rest.get(end + 2..end + 2 + size + 2)?;
            assert_eq!(&piece[size..], b"\r\n");
            if size == 0 {
                return Some(Self { status, head, body, chunk_count });
            }
            body.extend_from_slice(&piece[..size]);
            chunk_count += 1;
            rest = &rest[end + 2 + size + 2..];
        }
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

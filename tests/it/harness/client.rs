//! A client that writes any bytes and reads answers singly.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::gateway::KEY;
use super::process::DEADLINE;
use super::tls_client::{Identity, TlsStream};

/// One connection, with the bytes that were read too far.
pub(crate) struct Client {
    wire: Wire,
    unread: Vec<u8>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// One answer, its body without chunk framing.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection ended before the framing said so.
    pub(crate) cut: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.text()))
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self { wire: Wire::Plain(dial(address)), unread: Vec::new() }
    }

    /// HTTP/1.1 inside TLS, with the certificate that `identity` shows and no other.
    pub(crate) fn connect_tls(address: SocketAddr, identity: &Identity) -> Self {
        Self { wire: Wire::Tls(Box::new(identity.stream(dial(address), &[b"http/1.1"]))), unread: Vec::new() }
    }

    /// The certificate that the peer showed; none without TLS.
    pub(crate) fn certificate(&self) -> Option<Vec<u8>> {
        match &self.wire {
            Wire::Plain(_) => None,
            Wire::Tls(stream) => Some(stream.conn.peer_certificates()?.first()?.to_vec()),
        }
    }

    /// Writes everything; a peer that closed meanwhile is no error here, its answer is still read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self.wire.write_all(bytes) {
            Ok(()) => {}
            Err(error) if gone(&error) => {}
            Err(error) => panic!("cannot write: {error}"),
        }
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)
    }

    pub(crate) fn half_close(&mut self) {
        if let Wire::Tls(stream) = &mut self.wire {
            stream.conn.send_close_notify();
            // A peer that closed meanwhile hears nothing.
            let _ = stream.flush();
        }
        let _ = self.wire.tcp().shutdown(Shutdown::Write);
    }

    /// Closes with RST instead of FIN.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(self.wire.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn shrink_receive_buffer(&self) {
        socket2::SockRef::from(self.wire.tcp()).set_recv_buffer_size(4096).unwrap();
    }

    /// Reads one whole answer; `None` when the peer closed without one.
    pub(crate) fn read(&mut self) -> Option<Reply> {
        let mut reply = self.read_head()?;
        let chunked = reply.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        if chunked {
            reply.cut = !self.read_chunks(&mut reply.body);
        } else if let Some(length) = reply.header("content-length") {
            let length: usize = length.parse().unwrap();
            reply.cut = !self.fill(length);
            reply.body = self.take(length);
        } else if !matches!(reply.status, 204 | 304) {
            while self.read_more() {}
            reply.body = std::mem::take(&mut self.unread);
        }
        Some(reply)
    }

    /// Reads until the head of a final answer is there; interim answers are skipped.
    pub(crate) fn read_head(&mut self) -> Option<Reply> {
        loop {
            let reply = self.read_any_head()?;
            if reply.status >= 200 {
                return Some(reply);
            }
        }
    }

    /// Reads the next head, be it interim.
    pub(crate) fn read_any_head(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                break at;
            }
            if !self.read_more() {
                assert!(self.unread.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        let head = self.take(end + 4);
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|code| code.parse().ok());
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("bad line {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        };
        Some(Reply {
            status: status.unwrap_or_else(|| panic!("bad status line {status_line:?}")),
            headers: lines.map(pair).collect(),
            body: Vec::new(),
            cut: false,
        })
    }

    /// Reads body bytes of a chunked answer until `marker` was seen; for streams that are still open.
    pub(crate) fn read_until(&mut self, marker: &[u8]) -> bool {
        loop {
            if memchr::memmem::find(&self.unread, marker).is_some() {
                return true;
            }
            if !self.read_more() {
                return false;
            }
        }
    }

    /// Whether the peer closes within `at_most` without another byte.
    pub(crate) fn is_closed_within(&mut self, at_most: Duration) -> bool {
        self.wire.tcp().set_read_timeout(Some(at_most)).unwrap();
        let until = Instant::now() + at_most;
        let mut byte = [0; 1];
        let closed = self.unread.is_empty()
            && match self.wire.read(&mut byte) {
                Ok(count) => count == 0,
                Err(error) => gone(&error) && Instant::now() < until,
            };
        self.wire.tcp().set_read_timeout(Some(DEADLINE)).unwrap();
        closed
    }

    /// Whether a byte of an answer, or the end, comes within `at_most`.
    pub(crate) fn has_answer_within(&mut self, at_most: Duration) -> bool {
        self.wire.tcp().set_read_timeout(Some(at_most)).unwrap();
        let mut buffer = [0; 4096];
        let came = match self.wire.read(&mut buffer) {
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        self.wire.tcp().set_read_timeout(Some(DEADLINE)).unwrap();
        came
    }

    /// Everything until the peer closes; panics when it does not.
    pub(crate) fn read_to_close(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.unread)
    }

    /// Reads at most `count` bytes off the socket, for a client that is slow on purpose.
    pub(crate) fn sip(&mut self, count: usize) -> usize {
        let mut buffer = vec![0; count];
        self.wire.read(&mut buffer).unwrap_or(0)
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(line) = self.read_line() else {
                return false;
            };
            let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16)
                .unwrap_or_else(|_| panic!("bad chunk size {line:?}"));
            if size == 0 {
                while let Some(trailer) = self.read_line() {
                    if trailer.is_empty() {
                        return true;
                    }
                }
                return false;
            }
            let whole = self.fill(size + 2);
            let mut chunk = self.take(size + 2);
            chunk.truncate(size);
            body.append(&mut chunk);
            if !whole {
                return false;
            }
        }
    }

    fn read_line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.unread, b"\r\n") {
                let mut line = self.take(at + 2);
                line.truncate(at);
                return Some(String::from_utf8(line).unwrap());
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    fn fill(&mut self, count: usize) -> bool {
        while self.unread.len() < count {
            if !self.read_more() {
                return false;
            }
        }
        true
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.unread.len());
        self.unread.drain(..count).collect()
    }

    /// Reads what is there; false at the end. A silence of [`DEADLINE`] fails the test.
    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.wire.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if gone(&error) => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!(
                "no answer: {error}; read so far: {:?}",
                String::from_utf8_lossy(&self.unread[..self.unread.len().min(2000)])
            ),
        }
    }
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn gone(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// A POST with the usual headers and [`KEY`].
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A plain chat request to `model`.
pub(crate) fn chat(model: &str) -> Vec<u8> {
    chat_with(model, "")
}

/// A chat request with more fields, such as `,"stream":true`.
pub(crate) fn chat_with(model: &str, more: &str) -> Vec<u8> {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]{more}}}"#);
    post("/v1/chat/completions", &body)
}

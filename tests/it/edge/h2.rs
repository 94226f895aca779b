//! A client of HTTP/2 by the book, and one of any frame.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hyper::body::Bytes;
use rustls::pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::harness::{DEADLINE, Identity, KEY, NAME, TlsStream};

use super::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, literal};

/// A connection; its driver runs on the test's runtime.
#[derive(Clone)]
pub(super) struct H2 {
    sender: SendRequest<Bytes>,
    driver: AbortHandle,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Vec<u8>,
    /// The stream was reset behind its head.
    pub(super) reset: Option<h2::Error>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Runs a test of one client.
pub(super) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("in time") })
}

impl H2 {
    pub(super) async fn connect(edge: SocketAddr, identity: &Identity) -> Self {
        Self::connect_from([127, 0, 0, 1].into(), edge, identity).await
    }

    pub(super) async fn connect_from(from: IpAddr, edge: SocketAddr, identity: &Identity) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let tcp = socket.connect(edge).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let tls = TlsConnector::from(identity.config(&[b"h2"])).connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        // Answers that are not read yet must not keep those that are from coming.
        let mut builder = h2::client::Builder::new();
        let (sender, connection) = builder.initial_connection_window_size(1 << 20).handshake(tls).await.unwrap();
        Self { sender, driver: tokio::spawn(connection).abort_handle() }
    }

    /// Sends a chat request and returns what its answer will be.
    pub(super) async fn chat(&self, model: &str, more: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]{more}}}"#);
        self.send(request("/v1/chat/completions"), body.into()).await
    }

    pub(super) async fn send(
        &self,
        request: http::Request<()>,
        body: Bytes,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (answer, mut stream) = sender.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            stream.send_data(body, true).unwrap();
        }
        (answer, stream)
    }

    /// A chat request and its whole answer.
    pub(super) async fn ask(&self, model: &str, more: &str) -> Answer {
        let (answer, _stream) = self.chat(model, more).await;
        whole(answer.await.unwrap()).await
    }

    /// Closes the socket without a word.
    pub(super) fn vanish(self) {
        self.driver.abort();
    }

    /// Whether the peer takes one more stream.
    pub(super) async fn is_open(&self) -> bool {
        self.sender.clone().ready().await.is_ok()
    }

    /// Waits until the peer has told that it takes no more streams.
    pub(super) async fn is_closed(&self) -> bool {
        let asked = async {
            loop {
                match self.sender.clone().ready().await {
                    Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(_) => return,
                }
            }
        };
        tokio::time::timeout(DEADLINE, asked).await.is_ok()
    }
}

/// A POST with the key; `content-length` is left out.
pub(super) fn request(path: &str) -> http::Request<()> {
    http::Request::post(format!("https://{NAME}{path}"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(())
        .unwrap()
}

/// Reads an answer to its end or its reset.
pub(super) async fn whole(answer: http::Response<RecvStream>) -> Answer {
    let (head, mut stream) = answer.into_parts();
    let (mut body, mut reset) = (Vec::new(), None);
    while let Some(frame) = stream.data().await {
        match frame {
            Ok(bytes) => {
                stream.flow_control().release_capacity(bytes.len()).unwrap();
                body.extend_from_slice(&bytes);
            }
            Err(error) => {
                reset = Some(error);
                break;
            }
        }
    }
    Answer { status: head.status.as_u16(), headers: head.headers, body, reset }
}

/// Reads until `marker` has come.
pub(super) async fn until(stream: &mut RecvStream, marker: &str) -> bool {
    let mut seen = Vec::new();
    while let Some(Ok(bytes)) = stream.data().await {
        stream.flow_control().release_capacity(bytes.len()).unwrap();
        seen.extend_from_slice(&bytes);
        if memchr::memmem::find(&seen, marker.as_bytes()).is_some() {
            return true;
        }
    }
    false
}

/// What came of a stream of raw frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer; only 200 is told apart.
    Served,
    /// An answer that is not 200.
    Refused,
    /// `RST_STREAM`.
    Reset,
    /// `GOAWAY`, or the end of the connection.
    Closed,
}

/// One request as raw frames: fields are never compressed, and may be anything.
pub(super) fn raw(edge: SocketAddr, identity: &Identity, fields: &[(Vec<u8>, Vec<u8>)], body: &[u8]) -> Outcome {
    let tcp = TcpStream::connect(edge).unwrap();
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut stream = identity.stream(tcp, &[b"h2"]);
    let mut block = Vec::new();
    for (name, value) in fields {
        literal(name, value, &mut block);
    }
    let mut bytes = PREFACE.to_vec();
    frame(SETTINGS, 0, 0, &[], &mut bytes);
    let end_stream = if body.is_empty() { END_STREAM } else { 0 };
    frame(HEADERS, END_HEADERS | end_stream, 1, &block, &mut bytes);
    if !body.is_empty() {
        frame(DATA, END_STREAM, 1, body, &mut bytes);
    }
    // It may have closed before the last byte.
    let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
    outcome(&mut stream)
}

fn outcome(stream: &mut TlsStream) -> Outcome {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Outcome::Closed;
        }
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        if stream.read_exact(&mut payload).is_err() {
            return Outcome::Closed;
        }
        match head[3] {
            // The first field of an answer is its status; 0x88 is 200 in the static table.
            1 => return if payload.first() == Some(&0x88) { Outcome::Served } else { Outcome::Refused },
            3 => return Outcome::Reset,
            7 => return Outcome::Closed,
            _ => {}
        }
    }
}

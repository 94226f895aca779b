//! Providers that answer or leave too early: F-22.
//!
//! Before they have read the request, that is. It is larger than what sockets hold on their way, so that sending it must stop in its middle.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::{COMPLETION, Client, DEADLINE, Gateway, Reply, Settings, chat_with, eventually, project};

/// Of the text in a request; the kernel holds no more than some of it for a peer that does not read.
const TEXT_BYTES: usize = 8 << 20;
/// Longer than [`DEADLINE`], so that nothing here comes of itself.
const TIMEOUTS: &str = "timeouts: {connect: 30 s, first_byte: 2 minutes, idle: 2 minutes, total: 5 minutes}";
/// For a provider that never answers.
const SHORT: &str = "timeouts: {connect: 6 s, first_byte: 6 s, idle: 30 s, total: 60 s}";

/// What a provider does after the first bytes of a request and its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Reads nothing more until the test says so.
    Stay,
    /// As before, with its own side ended.
    End,
    /// Reads the rest and drops it.
    Read,
    /// Closes with unread bytes, which resets the connection.
    Close,
}

struct Provider {
    address: SocketAddr,
    may_read: Arc<AtomicBool>,
    /// Connections that brought something.
    begun: Arc<AtomicUsize>,
    /// How many bytes each connection brought until the gateway closed it.
    rests: Receiver<usize>,
}

impl Provider {
    /// Writes `pieces`, a moment apart, to each connection that sends something.
    fn new(pieces: Vec<Vec<u8>>, then: Then) -> Self {
        // Set before `listen`: accepted sockets inherit it.
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_recv_buffer_size(64 * 1024).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(16).unwrap();
        let listener: TcpListener = listener.into();
        let address = listener.local_addr().unwrap();
        let (sender, rests) = channel();
        let may_read = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicUsize::new(0));
        let (go, count) = (Arc::clone(&may_read), Arc::clone(&begun));
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let seen = stream.read(&mut [0; 4096]).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let (pieces, go, sender) = (pieces.clone(), Arc::clone(&go), sender.clone());
                thread::spawn(move || {
                    // The test may be over by then.
                    let _ = sender.send(seen + play(stream, &pieces, then, &go));
                });
            }
        });
        Self { address, may_read, begun, rests }
    }

    fn gateway(&self, timeouts: &str) -> Gateway {
        Gateway::serve(&Settings::demo(project(&["any"], self.address, timeouts), self.address))
    }
}

fn play(mut stream: TcpStream, pieces: &[Vec<u8>], then: Then, go: &AtomicBool) -> usize {
    let mut buffer = vec![0; 64 * 1024];
    let mut seen = 0;
    for piece in pieces {
        stream.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    match then {
        Then::Close => return seen,
        Then::End => stream.shutdown(Shutdown::Write).unwrap(),
        Then::Stay | Then::Read => {}
    }
    if then != Then::Read {
        eventually(DEADLINE, || go.load(Ordering::Relaxed));
    }
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        seen += count;
    }
    seen
}

fn answer(status: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n{body}")
        .into()
}

const REFUSAL: &str = r#"{"error":{"message":"mock: no","type":"invalid_request_error","param":null,"code":null}}"#;

fn ask(client: &mut Client, name: &str) -> Reply {
    client.send(&chat_with("demo/r0", &format!(r#","user":"{}""#, "x".repeat(TEXT_BYTES))));
    client.read().unwrap_or_else(|| panic!("{name}: closed without an answer"))
}

#[test]
fn answer_before_the_end_of_the_request_counts_and_ends_its_sending() {
    let refusal = answer("413 Content Too Large", "", REFUSAL);
    let closing = answer("413 Content Too Large", "connection: close\r\n", REFUSAL);
    let interim = b"HTTP/1.1 102 Processing\r\n\r\n".to_vec();
    let halves = [refusal[..5].to_vec(), refusal[5..40].to_vec(), refusal[40..].to_vec()].to_vec();
    for (name, pieces, then, status) in [
        ("413, reads no more", vec![refusal.clone()], Then::Stay, 413),
        ("413, reads the rest", vec![closing.clone()], Then::Read, 413),
        ("413, ends its side", vec![closing.clone()], Then::End, 413),
        ("413 in pieces", halves, Then::Stay, 413),
        ("413 behind interim answers", vec![interim.clone(), interim.clone(), refusal], Then::Stay, 413),
        ("400", vec![answer("400 Bad Request", "", REFUSAL)], Then::Stay, 400),
        ("401", vec![answer("401 Unauthorized", "", REFUSAL)], Then::Stay, 502),
        ("503", vec![answer("503 Service Unavailable", "", REFUSAL)], Then::Stay, 502),
        // A success is no reason to stop: its provider reads on, or ends its side.
        ("success, reads the rest", vec![answer("200 OK", "connection: close\r\n", COMPLETION)], Then::Read, 200),
        ("success, ends its side", vec![answer("200 OK", "", COMPLETION)], Then::End, 200),
        ("garbage", vec![b"no http at all, not even nearly\r\n\r\n".to_vec()], Then::Stay, 502),
        ("nothing, ends its side", Vec::new(), Then::End, 502),
        ("nothing, resets", Vec::new(), Then::Close, 502),
        ("interim answers only, resets", vec![interim], Then::Close, 502),
    ] {
        let provider = Provider::new(pieces, then);
        let gateway = provider.gateway(TIMEOUTS);
        let mut client = gateway.client();
        // Twice on one connection of the client: half a request is on the provider's, so the next needs another.
        for turn in 0..2 {
            let reply = ask(&mut client, name);
            assert_eq!(reply.status, status, "{name}, turn {turn}: {}", reply.text());
            assert!(!reply.cut && !reply.closes(), "{name}, turn {turn}");
            assert!(!reply.text().contains("mock: no") || status < 500, "{name}, turn {turn}: {}", reply.text());
            assert_eq!(reply.header("x-millrace-attempts"), Some("1"), "{name}, turn {turn}");
        }
        gateway.assert_idle();
        provider.may_read.store(true, Ordering::Relaxed);
        for turn in 0..2 {
            let seen = provider.rests.recv_timeout(DEADLINE);
            let seen = seen.unwrap_or_else(|_| panic!("{name}: connection {turn} stays open"));
            let whole = seen > TEXT_BYTES;
            assert!(!whole || then == Then::Read, "{name}: {seen} bytes were sent to a provider that reads no more");
            assert!(whole || status != 200 || then == Then::End, "{name}: only {seen} bytes were sent");
        }
    }
}

#[test]
fn client_gone_while_its_request_is_sent_frees_the_provider() {
    // F-24: the provider takes nothing, so that the request is stuck on its way.
    let provider = Provider::new(Vec::new(), Then::Stay);
    let gateway = provider.gateway(TIMEOUTS);
    for (turn, by_reset) in [true, false].into_iter().enumerate() {
        let mut client = gateway.client();
        client.send(&chat_with("demo/r0", &format!(r#","user":"{}""#, "x".repeat(TEXT_BYTES))));
        let begun = || provider.begun.load(Ordering::Relaxed) > turn;
        assert!(eventually(DEADLINE, begun), "reset {by_reset}: the request is not on its way");
        // The end of a client that just sent its request means only that it sends no more.
        thread::sleep(Duration::from_millis(200));
        if by_reset {
            client.reset();
        } else {
            drop(client);
        }
        gateway.assert_idle();
    }
}

#[test]
fn half_closed_client_gets_its_answer_although_its_request_was_stuck() {
    // F-27, with a provider that reads only after a while.
    let provider = Provider::new(vec![b"HTTP/1.1 102 Processing\r\n\r\n".to_vec()], Then::Stay);
    let gateway = provider.gateway(SHORT);
    let mut client = gateway.client();
    client.send(&chat_with("demo/r0", &format!(r#","user":"{}""#, "x".repeat(TEXT_BYTES))));
    client.half_close();
    assert!(!client.has_answer_within(Duration::from_millis(500)), "an answer to half a request");
    provider.may_read.store(true, Ordering::Relaxed);
    // It never answers: the time for the first byte ends, and the client is still there to be told.
    assert_eq!(client.read().map(|reply| reply.status), Some(504));
    gateway.assert_idle();
}

//! Providers behind TLS: F-04, and what a good one gets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;

use crate::harness::{
    Authority, Client, DEADLINE, Gateway, NameServer, Reply, Says, Seen, Settings, TlsProvider, chat, chat_with,
    eventually,
};

const NAME: &str = "models.test";
/// What no unverified provider may ever see, in whatever form.
const PROVIDER_KEY: &str = "sk-canary-4711";

/// A gateway that trusts `authority` alone and whose route `demo/r0` is the provider at this address, by its name.
fn gateway(names: &NameServer, authority: &Authority, provider: SocketAddr) -> Gateway {
    let port = provider.port();
    let project = format!(
        "chat_models:\n  - model_id: m0\n    model: openai/any\n    credentials: {{base_url: \"https://{NAME}:{port}/v1\", \
         api_key: !secret PROVIDER_KEY}}\n    timeouts: {{connect: 8 s, first_byte: 60 s, idle: 60 s, total: 120 s}}\n\
         routes:\n  r0: {{chat_models: [m0]}}\n"
    );
    Gateway::serve(&Settings {
        server_lines: format!(
            "tls: {{roots: {{file: roots.pem}}}}\nupstream: {{dns_servers: [\"{}\"]}}\nsecrets: {{PROVIDER_KEY: {{file: \
             provider.key}}}}\n",
            names.address
        ),
        files: vec![("roots.pem".to_owned(), authority.pem()), ("provider.key".to_owned(), PROVIDER_KEY.to_owned())],
        ..Settings::demo(project, provider)
    })
}

fn names() -> NameServer {
    NameServer::start(Says::Addresses(&[[127, 0, 0, 1]], 60))
}

fn ask(client: &mut Client) -> Reply {
    client.send(&chat("demo/r0"));
    client.read().expect("an answer")
}

fn assert_refused(reply: &Reply, (status, code): (u16, &str), name: &str) {
    assert_eq!(reply.status, status, "{name}: {}", reply.text());
    let error = &reply.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&"server_error".into(), &code.into()), "{name}: {error}");
    assert_eq!(reply.header("x-millrace-attempts"), Some("1"), "{name}");
}

/// Nothing of a request is in these bytes off the wire: neither plain text nor the key.
fn assert_nothing_of_ours(wire: &[u8], name: &str) {
    assert_eq!(wire.first(), Some(&22), "{name}: a handshake comes first");
    for ours in [PROVIDER_KEY, "POST", "HTTP/1.1\r\n", "authorization", "hello"] {
        let found = memchr::memmem::find(wire, ours.as_bytes());
        assert!(found.is_none(), "{name}: {ours:?} at byte {found:?}");
    }
}

#[test]
fn unverified_provider_is_refused_and_sees_no_byte_of_the_request() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let names = names();
    for (name, provider) in [
        ("wrong name", ours.serve("other.test")),
        ("parent name", ours.serve("test")),
        ("address instead of the name", ours.serve("127.0.0.1")),
        ("unknown authority", theirs.serve(NAME)),
        ("expired", ours.serve_expired(NAME)),
    ] {
        let gateway = gateway(&names, &ours, provider.address);
        let mut client = gateway.client();
        // Again and again: a refused provider is not let in by asking once more.
        for _ in 0..3 {
            assert_refused(&ask(&mut client), (502, "upstream_error"), name);
        }
        let refused = |seen: &Seen| seen.wire.len();
        assert!(eventually(DEADLINE, || provider.seen(refused) > 0), "{name}: it was never asked");
        provider.seen(|seen| {
            assert!(seen.requests.is_empty(), "{name}: {:?}", seen.requests);
            assert_nothing_of_ours(&seen.wire, name);
        });
        gateway.assert_idle();
    }
}

/// Accepts one connection after the other, says `answer`, and tells what each brought until its end.
fn raw_provider(answer: &'static [u8]) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, wires) = channel();
    thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut wire = vec![0; 4096];
                let count = socket.read(&mut wire).unwrap_or(0);
                wire.truncate(count);
                // The peer may be gone before it has read this; what it sent is what counts.
                let _ = socket.write_all(answer);
                let _ = socket.read_to_end(&mut wire);
                let _ = sender.send(wire);
            });
        }
    });
    (address, wires)
}

#[test]
fn provider_without_a_handshake_is_refused_and_never_spoken_to_plainly() {
    let authority = Authority::new("ours");
    let names = names();
    for (name, answer, want) in [
        ("plain HTTP", &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..], (502, "upstream_error")),
        ("plain success", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", (502, "upstream_error")),
        ("noise", &[0xaa; 64], (502, "upstream_error")),
        // A fatal alert: protocol_version.
        ("old version", &[21, 3, 1, 0, 2, 2, 70], (502, "upstream_error")),
        ("stall", b"", (504, "upstream_timeout")),
    ] {
        let (address, wires) = raw_provider(answer);
        let gateway = gateway(&names, &authority, address);
        let started = Instant::now();
        assert_refused(&ask(&mut gateway.client()), want, name);
        // A stall ends with the connect timeout, which holds for TCP and TLS together.
        let least = if want.0 == 504 { Duration::from_secs(8) } else { Duration::ZERO };
        assert!(started.elapsed() >= least, "{name}: {:?}", started.elapsed());
        let wire = wires.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{name}: the connection is still open"));
        assert_nothing_of_ours(&wire, name);
        gateway.assert_idle();
    }
}

#[test]
fn trusted_provider_answers_keeps_its_connection_and_resumes_its_session() {
    let authority = Authority::new("ours");
    let names = names();
    let provider: TlsProvider = authority.serve(NAME);
    let gateway = gateway(&names, &authority, provider.address);
    let mut client = gateway.client();
    for turn in 0..6 {
        let reply = ask(&mut client);
        assert_eq!(reply.status, 200, "turn {turn}: {}", reply.text());
        assert_eq!(reply.json()["choices"][0]["message"]["content"], "hello", "turn {turn}");
    }
    provider.seen(|seen| {
        // Two requests a connection, and one full handshake among three.
        let want = [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed];
        assert_eq!(seen.handshakes, want);
        assert_eq!(seen.requests.len(), 6);
        for request in &seen.requests {
            assert!(request.contains(&format!("authorization: Bearer {PROVIDER_KEY}\r\n")), "{request}");
            assert!(request.contains(&format!("host: {NAME}:{}\r\n", provider.address.port())), "{request}");
        }
        assert_nothing_of_ours(&seen.wire, "trusted");
    });
    gateway.assert_idle();
}

#[test]
fn large_request_passes_whole_or_ends_with_an_early_answer() {
    let authority = Authority::new("ours");
    let names = names();
    let large = chat_with("demo/r0", &format!(r#","user":"{}""#, "x".repeat(8 << 20)));
    for (name, provider, status) in [
        ("honest", authority.serve(NAME), 200),
        // F-22: more than the kernel holds is on its way when the answer comes.
        ("refusing", authority.serve_refusing(NAME), 413),
    ] {
        let gateway = gateway(&names, &authority, provider.address);
        let mut client = gateway.client();
        for turn in 0..2 {
            client.send(&large);
            let reply = client.read().expect("an answer");
            assert_eq!(reply.status, status, "{name}, turn {turn}: {}", reply.text());
        }
        let whole = |seen: &Seen| seen.requests.iter().filter(|request| request.len() > 8 << 20).count();
        assert_eq!(provider.seen(whole), if status == 200 { 2 } else { 0 }, "{name}");
        gateway.assert_idle();
    }
}

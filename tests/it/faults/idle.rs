//! Idle connections that speak or close: F-10.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::harness::{COMPLETION, DEADLINE, Gateway, Settings, chat, project};

/// What the provider does with a connection whose answer it has written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Close,
    Reset,
    /// Writes an answer that nobody has asked for.
    Speak,
    Stay,
}

/// A provider that says when it has done its part: what it did lies in the gateway's socket then.
fn provider(then: Then) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, done) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || serve(stream, then, &sender));
        }
    });
    (address, done)
}

fn serve(mut stream: TcpStream, then: Then, done: &Sender<()>) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..count]);
        if !seen.ends_with(b"}") {
            continue;
        }
        seen.clear();
        answer(&mut stream, COMPLETION);
        match then {
            Then::Close => drop(stream),
            Then::Reset => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                drop(stream);
            }
            Then::Speak | Then::Stay => {
                if then == Then::Speak {
                    answer(&mut stream, r#"{"choices":[],"id":"belongs to nobody"}"#);
                }
                // The test may be over by then.
                let _ = done.send(());
                continue;
            }
        }
        let _ = done.send(());
        return;
    }
}

fn answer(stream: &mut TcpStream, body: &str) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).unwrap();
}

#[test]
fn connection_that_spoke_or_closed_while_idle_is_not_used_again() {
    for (then, reused) in [(Then::Close, false), (Then::Reset, false), (Then::Speak, false), (Then::Stay, true)] {
        let (address, done) = provider(then);
        let gateway = Gateway::serve(&Settings::demo(project(&["any"], address, ""), address));
        let mut client = gateway.client();
        for turn in 0..20 {
            client.send(&chat("demo/r0"));
            let reply = client.read().expect("an answer");
            assert_eq!(reply.status, 200, "{then:?}, turn {turn}: {}", reply.text());
            assert!(!reply.text().contains("belongs to nobody"), "{then:?}, turn {turn}");
            // Never a second attempt: the connection is seen to be over before anything is sent on it.
            assert_eq!(reply.header("x-millrace-attempts"), Some("1"), "{then:?}, turn {turn}");
            done.recv_timeout(DEADLINE).unwrap();
        }
        gateway.assert_idle();
        let opened = gateway.metric("millrace_upstream_connections_total", "event=\"opened\"");
        assert_eq!(opened, Some(if reused { 1.0 } else { 20.0 }), "{then:?}");
    }
}

//! A stop finishes what is open, refuses what is new, and ends.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{DEADLINE, Gateway, Mock, Settings, chat, chat_with, eventually, project};

fn gateway(mock: &Mock) -> Gateway {
    // A stream of about a second, and one that never ends.
    let models = ["fast", "stream/events=50,gap_ms=20", "hold", "fault/stall"];
    Gateway::serve(&Settings { workers: Some(2), ..Settings::demo(project(&models, mock.address, ""), mock.address) })
}

#[test]
fn stop_finishes_streams_refuses_new_connections_and_exits_cleanly() {
    let mock = Mock::start();
    let mut gateway = gateway(&mock);
    let mut streams: Vec<_> = (0..4)
        .map(|_| {
            let mut client = gateway.client();
            client.send(&chat_with("demo/r1", r#","stream":true"#));
            assert!(client.read_until(b"data:"));
            client
        })
        .collect();
    let mut idle = gateway.client();
    idle.send(&chat("demo/r0"));
    assert_eq!(idle.read().expect("an answer").status, 200);

    gateway.signal(Signal::SIGTERM);
    let refused = eventually(Duration::from_secs(1), || TcpStream::connect(gateway.address).is_err());
    assert!(refused, "still accepts");
    assert!(idle.is_closed_within(Duration::from_secs(1)), "an idle connection outlives the stop");
    for (turn, client) in streams.iter_mut().enumerate() {
        let reply = client.read().expect("a stream");
        assert_eq!((reply.status, reply.cut), (200, false), "stream {turn}");
        assert!(reply.text().trim_end().ends_with("data: [DONE]"), "stream {turn}: {}", reply.text());
    }
    let status = gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn idle_gateway_stops_at_once() {
    let mock = Mock::start();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut gateway = gateway(&mock);
        let started = Instant::now();
        gateway.signal(signal);
        let status = gateway.wait(DEADLINE);
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert!(started.elapsed() < Duration::from_secs(3), "{signal}: {:?}", started.elapsed());
    }
}

#[test]
fn second_stop_ends_open_streams_with_an_error() {
    let mock = Mock::start();
    let mut gateway = gateway(&mock);
    let mut client = gateway.client();
    client.send(&chat_with("demo/r2", r#","stream":true"#));
    assert!(client.read_until(b"data:"));
    gateway.signal(Signal::SIGTERM);
    // The first stop waits for the stream, which never ends.
    assert!(eventually(Duration::from_secs(1), || TcpStream::connect(gateway.address).is_err()));
    let started = Instant::now();
    gateway.signal(Signal::SIGTERM);
    gateway.wait(DEADLINE);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let rest = client.read().expect("a stream").text();
    assert!(!rest.contains("[DONE]"), "a cut stream ended cleanly: {rest}");
}

#[test]
fn second_stop_answers_a_waiting_request_with_when_to_try_again() {
    let mock = Mock::start();
    let mut gateway = gateway(&mock);
    let mut client = gateway.client();
    client.send(&chat("demo/r3"));
    assert!(eventually(DEADLINE, || gateway.metric("millrace_inflight_requests", "") == Some(1.0)));
    gateway.signal(Signal::SIGTERM);
    assert!(eventually(Duration::from_secs(1), || TcpStream::connect(gateway.address).is_err()));
    gateway.signal(Signal::SIGTERM);
    let reply = client.read().expect("an answer");
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (503, Some("overloaded")));
    assert_eq!((reply.header("retry-after"), reply.header("retry-after-ms")), (Some("1"), Some("1000")));
    gateway.wait(DEADLINE);
}

#[test]
fn stop_under_load_fails_no_request_in_progress() {
    let mock = Mock::start();
    let mut gateway = gateway(&mock);
    let address = gateway.address;
    let lanes: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut client = crate::harness::Client::connect(address);
                let mut served = 0;
                loop {
                    client.send(&chat("demo/r0"));
                    // The end between two answers is how a keep-alive connection is told to go elsewhere.
                    let Some(reply) = client.read() else { return served };
                    assert_eq!((reply.status, reply.cut), (200, false), "after {served}: {}", reply.text());
                    served += 1;
                    if reply.closes() {
                        return served;
                    }
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    gateway.signal(Signal::SIGTERM);
    for lane in lanes {
        assert!(lane.join().unwrap() > 0, "nothing was served before the stop");
    }
    assert_eq!(gateway.wait(DEADLINE).code(), Some(0));
}

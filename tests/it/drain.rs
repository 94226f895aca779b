//! A stop finishes what is open, refuses what is new, and ends.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::harness::{DEADLINE, Gateway, Holding, Mock, Settings, chat, chat_with, eventually, project};

fn gateway(mock: &Mock) -> Gateway {
    // The second is a stream that never ends, the third never begins.
    let models = ["fast", "hold", "fault/stall"];
    Gateway::serve(&Settings { workers: Some(2), ..Settings::demo(project(&models, mock.address, ""), mock.address) })
}

/// Whether nobody is let in any more, although the process still runs.
fn refuses(gateway: &Gateway) -> bool {
    eventually(DEADLINE, || TcpStream::connect(gateway.address).is_err())
}

#[test]
fn f_36_stop_finishes_streams_refuses_new_connections_and_exits_cleanly() {
    let provider = Holding::start();
    let demo = Settings::demo(project(&["any"], provider.address, ""), provider.address);
    let mut gateway = Gateway::serve(&Settings { workers: Some(2), ..demo });
    let mut streams: Vec<_> = (0..4)
        .map(|_| {
            let mut client = gateway.client();
            client.send(&chat_with("demo/r0", r#","stream":true"#));
            assert!(client.read_until(b"begun"));
            client
        })
        .collect();
    let mut idle = gateway.client();
    idle.send(b"GET /livez HTTP/1.1\r\nhost: gateway.test\r\n\r\n");
    assert_eq!(idle.read().expect("an answer").status, 200);

    // Both while the streams are open: their provider waits for us.
    gateway.signal(Signal::SIGTERM);
    assert!(refuses(&gateway), "still accepts");
    assert!(idle.is_closed_within(DEADLINE), "an idle connection outlives the stop");
    provider.let_go();
    for (turn, client) in streams.iter_mut().enumerate() {
        assert!(client.read_until(b"finished"), "stream {turn}");
        let rest = String::from_utf8(client.read_to_close()).unwrap();
        assert!(rest.contains("data: [DONE]") && rest.ends_with("0\r\n\r\n"), "stream {turn}: {rest}");
    }
    let status = gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn idle_gateway_stops_at_once() {
    let mock = Mock::start();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut gateway = gateway(&mock);
        gateway.signal(signal);
        // Long before the time of grace, which is five minutes.
        let status = gateway.wait(DEADLINE);
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
    }
}

#[test]
fn second_stop_ends_open_streams_with_an_error() {
    let mock = Mock::start();
    let mut gateway = gateway(&mock);
    let mut client = gateway.client();
    client.send(&chat_with("demo/r1", r#","stream":true"#));
    assert!(client.read_until(b"data:"));
    gateway.signal(Signal::SIGTERM);
    // The first stop waits for the stream, which never ends.
    assert!(refuses(&gateway), "still accepts");
    gateway.signal(Signal::SIGTERM);
    gateway.wait(DEADLINE);
    let rest = client.read().expect("a stream").text();
    assert!(!rest.contains("[DONE]"), "a cut stream ended cleanly: {rest}");
}

#[test]
fn second_stop_answers_a_waiting_request_with_when_to_try_again() {
    let mock = Mock::start();
    let mut gateway = gateway(&mock);
    let mut client = gateway.client();
    client.send(&chat("demo/r2"));
    assert!(eventually(DEADLINE, || gateway.metric("millrace_inflight_requests", "") == Some(1.0)));
    gateway.signal(Signal::SIGTERM);
    assert!(refuses(&gateway), "still accepts");
    gateway.signal(Signal::SIGTERM);
    let reply = client.read().expect("an answer");
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (503, Some("overloaded")));
    assert_eq!((reply.header("retry-after"), reply.header("retry-after-ms")), (Some("1"), Some("1000")));
    gateway.wait(DEADLINE);
}

#[test]
fn f_36_stop_under_load_fails_no_request_in_progress() {
    let mock = Mock::start();
    let mut gateway = gateway(&mock);
    let address = gateway.address;
    let served: [AtomicUsize; 4] = std::array::from_fn(|_| AtomicUsize::new(0));
    thread::scope(|scope| {
        for served in &served {
            scope.spawn(move || {
                let mut client = crate::harness::Client::connect(address);
                loop {
                    client.send(&chat("demo/r0"));
                    // The end between two answers is how a keep-alive connection is told to go elsewhere.
                    let Some(reply) = client.read() else { return };
                    assert_eq!((reply.status, reply.cut), (200, false), "{served:?}: {}", reply.text());
                    served.fetch_add(1, Ordering::Relaxed);
                    if reply.closes() {
                        return;
                    }
                }
            });
        }
        let all_busy = || served.iter().all(|served| served.load(Ordering::Relaxed) > 10);
        assert!(eventually(DEADLINE, all_busy), "{served:?}");
        gateway.signal(Signal::SIGTERM);
    });
    assert_eq!(gateway.wait(DEADLINE).code(), Some(0));
}

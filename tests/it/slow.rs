//! Slow clients are ended in time and disturb nobody.
//!
//! Limits are set as low as the configuration allows, so that a test takes seconds.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, DEADLINE, Gateway, KEY, Mock, Settings, chat, chat_with, eventually, project};

const LIMITS: &str = "limits:\n  header_timeout: 500 ms\n  body_timeout: 1 s\n  write_timeout: 1 s\n  \
                      keepalive_timeout: 1 s\n";

/// A healthy request on a machine that also builds: far above what it needs, far below what a blocked worker needs.
const HEALTHY: Duration = Duration::from_millis(500);

fn gateway(mock: &Mock) -> Gateway {
    let models = ["fast", "stream/events=2000,gap_ms=1,bytes=20000"];
    let mut settings = Settings::demo(project(&models, mock.address, ""), mock.address);
    settings.server_lines = LIMITS.to_owned();
    Gateway::serve(&settings)
}

/// Sends `piece` again and again, slowly, until an answer comes; returns its status and when it came.
fn dribble(mut client: Client, start: &str, piece: &str) -> (Option<u16>, Duration) {
    let started = Instant::now();
    client.send(start.as_bytes());
    while started.elapsed() < DEADLINE {
        if client.try_send(piece.as_bytes()).is_err() {
            break;
        }
        if client.has_answer_within(Duration::from_millis(50)) {
            break;
        }
    }
    (client.read().map(|reply| reply.status), started.elapsed())
}

/// Asks one after the other while `busy` goes on; every answer is good and quick enough.
fn assert_healthy_during(gateway: &Gateway, busy: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let noise = scope.spawn(busy);
        let mut client = gateway.client();
        let mut turns = 0;
        let mut late = 0;
        while !noise.is_finished() || turns < 20 {
            let started = Instant::now();
            client.send(&chat("demo/r0"));
            let reply = client.read().expect("an answer");
            assert_eq!(reply.status, 200, "turn {turns}: {}", reply.text());
            late += usize::from(started.elapsed() > HEALTHY);
            // A connection serves a bounded number of requests, and says so with the last.
            if reply.closes() {
                client = gateway.client();
            }
            turns += 1;
        }
        assert!(late * 100 <= turns, "{late} of {turns} healthy requests took over {HEALTHY:?}");
        noise.join().unwrap();
    });
}

#[test]
fn slow_heads_are_ended_and_disturb_nobody() {
    let mock = Mock::start();
    let gateway = gateway(&mock);
    assert_healthy_during(&gateway, || {
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    let start = "POST /v1/chat/completions HTTP/1.1\r\n";
                    let (status, after) = dribble(gateway.client(), start, "x-a: 1\r\n");
                    assert!(matches!(status, Some(408) | None), "{status:?}");
                    assert!(after < Duration::from_secs(5), "{after:?}");
                });
            }
        });
    });
    gateway.assert_idle();
}

#[test]
fn slow_bodies_are_ended_and_disturb_nobody() {
    let mock = Mock::start();
    let gateway = gateway(&mock);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\ncontent-type: \
         application/json\r\n"
    );
    assert_healthy_during(&gateway, || {
        thread::scope(|scope| {
            for lane in 0..32 {
                let (head, gateway) = (&head, &gateway);
                scope.spawn(move || {
                    let (start, piece) = if lane % 2 == 0 {
                        (format!("{head}content-length: 100000\r\n\r\n"), " ")
                    } else {
                        (format!("{head}transfer-encoding: chunked\r\n\r\n"), "1\r\n \r\n")
                    };
                    let (status, after) = dribble(gateway.client(), &start, piece);
                    assert!(matches!(status, Some(408) | None), "{status:?}");
                    assert!(after < Duration::from_secs(6), "{after:?}");
                });
            }
        });
    });
    gateway.assert_idle();
}

#[test]
fn slow_readers_are_cut_hold_little_memory_and_disturb_nobody() {
    // F-26: 40 MB a stream are on their way, and nobody takes them.
    let mock = Mock::start();
    let gateway = gateway(&mock);
    let before = gateway.resident_kib();
    let mut peak = 0;
    assert_healthy_during(&gateway, || {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let mut client = gateway.client();
                client.shrink_receive_buffer();
                client.send(&chat_with("demo/r1", r#","stream":true"#));
                client
            })
            .collect();
        let all_open = eventually(DEADLINE, || gateway.metric("millrace_open_streams", "").unwrap_or(0.0) >= 8.0);
        assert!(all_open, "{:?}", gateway.series("millrace_open_streams", ""));
        let cut = eventually(DEADLINE, || {
            peak = peak.max(gateway.resident_kib());
            gateway.metric("millrace_open_streams", "") == Some(0.0)
        });
        assert!(cut, "{:?}", gateway.series("millrace_open_streams", ""));
        drop(readers);
    });
    let grown = peak.saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for 8 slow readers, 1 MiB each at most");
    gateway.assert_idle();
}

#[test]
fn idle_connection_is_closed_without_a_word() {
    let mock = Mock::start();
    let gateway = gateway(&mock);
    let mut fresh = gateway.client();
    let mut used = gateway.client();
    used.send(&chat("demo/r0"));
    assert_eq!(used.read().expect("an answer").status, 200);
    for (name, client) in [("fresh", &mut fresh), ("used", &mut used)] {
        assert!(client.is_closed_within(Duration::from_secs(5)), "{name}");
    }
}

#[test]
fn thousand_silent_connections_cost_little_and_disturb_nobody() {
    let mock = Mock::start();
    let gateway = gateway(&mock);
    let before = gateway.resident_kib();
    assert_healthy_during(&gateway, || {
        let silent: Vec<_> = (0..900).map(|_| gateway.client()).collect();
        let open = eventually(DEADLINE, || gateway.metric("millrace_connections", "").unwrap_or(0.0) >= 100.0);
        assert!(open, "{:?}", gateway.series("millrace_connections", ""));
        drop(silent);
    });
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB after 900 silent connections");
}

//! Slow clients are ended in time and disturb nobody.
//!
//! What must hold is an order: others are answered while slow clients are held, not only after they were ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, DEADLINE, Gateway, KEY, Mock, Settings, chat, chat_with, eventually, project};

/// So long that others are answered meanwhile on any machine, below [`DEADLINE`].
const LIMITS: &str =
    "limits: {header_timeout: 10 s, body_timeout: 10 s, body_rate_min_bytes: 0, write_timeout: 10 s}\n";
/// Answers to others while slow clients are held. A worker that waits for one of these gives none.
const MEANWHILE: usize = 5;
/// Slow clients of one kind.
const SLOW: usize = 32;

fn gateway(mock: &Mock, limits: &str) -> Gateway {
    let models = ["fast", "stream/events=2000,gap_ms=1,bytes=20000"];
    let mut settings = Settings::demo(project(&models, mock.address, ""), mock.address);
    settings.server_lines = limits.to_owned();
    Gateway::serve(&settings)
}

/// Sends `piece` again and again, slowly, until an answer comes; returns its status.
fn dribble(mut client: Client, start: &str, piece: &str) -> Option<u16> {
    let started = Instant::now();
    client.send(start.as_bytes());
    while started.elapsed() < DEADLINE {
        if client.try_send(piece.as_bytes()).is_err() || client.has_answer_within(Duration::from_millis(50)) {
            break;
        }
    }
    client.read().map(|reply| reply.status)
}

/// A client that asks one thing after the other, and how many answers it has.
struct Healthy(AtomicUsize);

impl Healthy {
    /// Waits for answers to requests that are sent from now on.
    fn is_answered(&self) {
        let before = self.0.load(Ordering::Relaxed);
        // The next answer may be to a request of before.
        let answered = eventually(DEADLINE, || self.0.load(Ordering::Relaxed) > before + MEANWHILE);
        assert!(answered, "nobody else is answered");
    }
}

/// Asks as long as `busy` goes on; every answer is good.
fn beside_a_healthy_client(gateway: &Gateway, busy: impl FnOnce(&Healthy) + Send) {
    let healthy = Healthy(AtomicUsize::new(0));
    thread::scope(|scope| {
        let noise = scope.spawn(|| busy(&healthy));
        let mut client = gateway.client();
        while !noise.is_finished() {
            client.send(&chat("demo/r0"));
            let reply = client.read().expect("an answer");
            assert_eq!(reply.status, 200, "{}", reply.text());
            healthy.0.fetch_add(1, Ordering::Relaxed);
            // A connection serves a bounded number of requests, and says so with the last.
            if reply.closes() {
                client = gateway.client();
            }
        }
        noise.join().unwrap();
    });
}

/// Dribbles on many connections; others are answered before the first of them is ended, and each is ended in time.
fn assert_dribblers_disturb_nobody(gateway: &Gateway, of_lane: impl Fn(usize) -> (String, &'static str) + Sync) {
    let ended = AtomicUsize::new(0);
    beside_a_healthy_client(gateway, |healthy| {
        thread::scope(|scope| {
            for lane in 0..SLOW {
                let (of_lane, ended) = (&of_lane, &ended);
                scope.spawn(move || {
                    let (start, piece) = of_lane(lane);
                    let status = dribble(gateway.client(), &start, piece);
                    ended.fetch_add(1, Ordering::Relaxed);
                    assert!(matches!(status, Some(408) | None), "{status:?}");
                });
            }
            let open = || gateway.metric("millrace_connections", "").unwrap_or(0.0) > 32.0;
            assert!(eventually(DEADLINE, open), "{:?}", gateway.series("millrace_connections", ""));
            healthy.is_answered();
            assert_eq!(ended.load(Ordering::Relaxed), 0, "slow clients were ended before others were answered");
        });
    });
    gateway.assert_idle();
}

#[test]
fn slow_heads_are_ended_and_disturb_nobody() {
    let mock = Mock::start();
    let gateway = gateway(&mock, LIMITS);
    assert_dribblers_disturb_nobody(&gateway, |_| ("POST /v1/chat/completions HTTP/1.1\r\nx-a: ".to_owned(), "a"));
}

#[test]
fn slow_bodies_are_ended_and_disturb_nobody() {
    let mock = Mock::start();
    let gateway = gateway(&mock, LIMITS);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\ncontent-type: \
         application/json\r\n"
    );
    assert_dribblers_disturb_nobody(&gateway, |lane| {
        if lane % 2 == 0 {
            (format!("{head}content-length: 100000\r\n\r\n"), " ")
        } else {
            (format!("{head}transfer-encoding: chunked\r\n\r\n"), "1\r\n \r\n")
        }
    });
}

#[test]
fn slow_readers_are_cut_hold_little_memory_and_disturb_nobody() {
    // F-26: 40 MB a stream are on their way, and nobody takes them.
    let mock = Mock::start();
    let gateway = gateway(&mock, LIMITS);
    let before = gateway.resident_kib();
    let mut peak = 0;
    let open = || gateway.metric("millrace_open_streams", "");
    beside_a_healthy_client(&gateway, |healthy| {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let mut client = gateway.client();
                client.shrink_receive_buffer();
                client.send(&chat_with("demo/r1", r#","stream":true"#));
                client
            })
            .collect();
        assert!(eventually(DEADLINE, || open() == Some(8.0)), "{:?} streams are open", open());
        healthy.is_answered();
        assert_eq!(open(), Some(8.0), "slow readers were cut before others were answered");
        let cut = eventually(DEADLINE, || {
            peak = peak.max(gateway.resident_kib());
            open() == Some(0.0)
        });
        assert!(cut, "{:?} streams are open", open());
        drop(readers);
    });
    let grown = peak.saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for 8 slow readers, 1 MiB each at most");
    gateway.assert_idle();
}

#[test]
fn idle_connection_is_closed_without_a_word() {
    let mock = Mock::start();
    let gateway = gateway(&mock, "limits: {keepalive_timeout: 4 s}\n");
    let mut fresh = gateway.client();
    let mut used = gateway.client();
    used.send(&chat("demo/r0"));
    assert_eq!(used.read().expect("an answer").status, 200);
    for (name, client) in [("fresh", &mut fresh), ("used", &mut used)] {
        assert!(client.is_closed_within(DEADLINE), "{name}");
    }
}

#[test]
fn thousand_silent_connections_cost_little_and_disturb_nobody() {
    let mock = Mock::start();
    let gateway = gateway(&mock, "");
    let before = gateway.resident_kib();
    let mut held = 0;
    beside_a_healthy_client(&gateway, |healthy| {
        let silent: Vec<_> = (0..900).map(|_| gateway.client()).collect();
        let open = || gateway.metric("millrace_connections", "").unwrap_or(0.0);
        assert!(eventually(DEADLINE, || open() > 900.0), "{} connections", open());
        healthy.is_answered();
        held = gateway.resident_kib();
        assert!(open() > 900.0, "silent connections were closed before others were answered");
        drop(silent);
    });
    let grown = held.saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for 900 silent connections");
}

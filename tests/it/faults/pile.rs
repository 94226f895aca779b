//! Requests that pile up before a slow provider: F-12.
//!
//! A cap per target and a queue come with concurrency limiting. What bounds the pile today are the connections; what must
//! hold is that the pile costs little, is in nobody's way, and is gone when it is answered or left.

use std::time::{Duration, Instant};

use crate::harness::{Client, DEADLINE, Gateway, Mock, Reply, Settings, chat, eventually, project};

/// Requests that wait.
const WAITING: usize = 500;
/// Connections that are served; some are left for those who do not wait.
const CONNECTIONS: usize = 520;
/// Bytes of a waiting request: 16 KiB of input until its answer comes, as much for the head that is sent, and both its
/// tasks. Builds without optimisation have larger ones.
const WAITING_KIB: u64 = 32;

fn gateway(mock: &Mock, slow: &str) -> Gateway {
    let models = ["fast", slow];
    let lines = "timeouts: {connect: 3 s, first_byte: 60 s, idle: 60 s, total: 60 s}";
    Gateway::serve(&Settings {
        server_lines: format!("limits: {{max_connections: {CONNECTIONS}, keepalive_requests: 100000}}\n"),
        ..Settings::demo(project(&models, mock.address, lines), mock.address)
    })
}

fn pile_up(gateway: &Gateway) -> Vec<Client> {
    let mut clients: Vec<_> = (0..WAITING).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(&chat("demo/r1"));
    }
    let all_in = || gateway.metric("millrace_inflight_requests", "").unwrap_or(0.0) >= 500.0;
    assert!(eventually(DEADLINE, all_in), "{:?}", gateway.series("millrace_inflight_requests", ""));
    clients
}

fn is_good(reply: &Reply) -> bool {
    reply.status == 200 && !reply.cut
}

#[test]
fn pile_before_a_slow_provider_costs_little_and_is_in_nobodys_way() {
    let mock = Mock::start();
    let gateway = gateway(&mock, "fast/latency_ms=10000");
    assert!(is_good(&gateway.ask(&chat("demo/r0"))));
    let before = gateway.resident_kib();
    let started = Instant::now();
    let mut waiting = pile_up(&gateway);
    assert!(started.elapsed() < Duration::from_secs(9), "the machine is too slow for this test");
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < WAITING_KIB * 500, "{grown} KiB for {WAITING} waiting requests");

    // Other routes of the same worker, on a connection that is there and on new ones.
    let mut client = gateway.client();
    let mut late = 0;
    for _ in 0..50 {
        let asked = Instant::now();
        client.send(&chat("demo/r0"));
        assert!(is_good(&client.read().expect("an answer")));
        assert!(is_good(&gateway.ask(&chat("demo/r0"))));
        late += usize::from(asked.elapsed() > Duration::from_millis(500));
    }
    assert!(late <= 5, "{late} of 50 requests of another route were late");

    // Whoever comes when all connections are taken is let go at once and counted.
    let mut more: Vec<_> = (0..CONNECTIONS - WAITING - 1).map(|_| gateway.client()).collect();
    let full = || gateway.metric("millrace_connections", "").unwrap_or(0.0) >= 520.0;
    assert!(eventually(DEADLINE, full), "{:?}", gateway.series("millrace_connections", ""));
    for turn in 0..20 {
        let mut refused = gateway.client();
        // The refusal may come before the request has been written.
        let _ = refused.try_send(&chat("demo/r0"));
        assert!(refused.read_to_close().is_empty(), "refusal {turn} has an answer");
    }
    let counted = gateway.metric("millrace_connections_refused_total", "");
    assert_eq!(counted, Some(20.0), "{:?}", gateway.series("millrace_connections_refused_total", ""));
    for client in [&mut client, &mut more[0]] {
        client.send(&chat("demo/r0"));
        assert!(is_good(&client.read().expect("an answer")), "a connection from before the refusals");
    }

    for (turn, client) in waiting.iter_mut().enumerate() {
        let reply = client.read().unwrap_or_else(|| panic!("no answer for {turn}"));
        assert!(is_good(&reply), "{turn}: {} {}", reply.status, reply.text());
    }
    gateway.assert_idle();
    drop((waiting, more));
    let left = || gateway.metric("millrace_connections", "").unwrap_or(0.0) <= 1.0;
    assert!(eventually(DEADLINE, left), "{:?}", gateway.series("millrace_connections", ""));
    assert!(is_good(&gateway.ask(&chat("demo/r0"))));
}

#[test]
fn pile_whose_clients_leave_is_gone_at_once() {
    let mock = Mock::start();
    let gateway = gateway(&mock, "fault/stall");
    let waiting = pile_up(&gateway);
    // The end of a client that just sent its request means only that it sends no more.
    std::thread::sleep(Duration::from_millis(200));
    let left = Instant::now();
    drop(waiting);
    gateway.assert_idle();
    assert!(left.elapsed() < Duration::from_secs(3), "{:?}", left.elapsed());
    let open = || {
        let mut client = Client::connect(mock.address);
        client.send(b"GET /__connections HTTP/1.1\r\nhost: mock\r\n\r\n");
        client.read().expect("connections").json()["open"].as_u64()
    };
    assert!(eventually(DEADLINE, || open() <= Some(1)), "{:?} connections to the provider stay open", open());
    assert!(is_good(&gateway.ask(&chat("demo/r0"))));
}

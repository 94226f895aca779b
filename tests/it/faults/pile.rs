//! Requests that pile up before a slow provider: F-12.
//!
//! A cap per target and a queue come with concurrency limiting. What bounds the pile today are the connections; what must
//! hold is that the pile costs little, is in nobody's way, and is gone when it is answered or left.

use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::{Client, DEADLINE, Gateway, Holding, Mock, Reply, Settings, chat, eventually};

/// Requests that wait.
const WAITING: usize = 500;
/// Connections that are served; some are left for those who do not wait.
const CONNECTIONS: usize = 520;
/// Bytes of a waiting request: 16 KiB of input until its answer comes, as much for the head that is sent, and both its
/// tasks. Builds without optimisation have larger ones.
const WAITING_KIB: u64 = 32;

/// Route `r0` of an honest provider and `r1` of a slow one.
fn gateway(honest: SocketAddr, slow: SocketAddr, slow_model: &str) -> Gateway {
    let mut text = "chat_models:\n".to_owned();
    for (name, model, address) in [("m0", "fast", honest), ("m1", slow_model, slow)] {
        text += &format!(
            "  - model_id: {name}\n    model: openai/{model}\n    credentials: {{base_url: \"http://{address}/v1\"}}\n    \
             timeouts: {{connect: 30 s, first_byte: 5 minutes, idle: 5 minutes, total: 10 minutes}}\n"
        );
    }
    text += "routes:\n  r0: {chat_models: [m0]}\n  r1: {chat_models: [m1]}\n";
    Gateway::serve(&Settings {
        server_lines: format!("limits: {{max_connections: {CONNECTIONS}, keepalive_requests: 100000}}\n"),
        ports: vec![honest.port(), slow.port()],
        ..Settings::demo(text, honest)
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
    let (mock, slow) = (Mock::start(), Holding::start());
    let gateway = gateway(mock.address, slow.address, "any");
    assert!(is_good(&gateway.ask(&chat("demo/r0"))));
    let before = gateway.resident_kib();
    let mut waiting = pile_up(&gateway);
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < WAITING_KIB * 500, "{grown} KiB for {WAITING} waiting requests");

    // Other routes of the same worker, on a connection that is there and on new ones: all while the pile waits.
    let mut client = gateway.client();
    for _ in 0..50 {
        client.send(&chat("demo/r0"));
        assert!(is_good(&client.read().expect("an answer")));
        assert!(is_good(&gateway.ask(&chat("demo/r0"))));
    }

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

    slow.let_go();
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
fn pile_whose_clients_leave_is_gone_with_them() {
    let mock = Mock::start();
    let gateway = gateway(mock.address, mock.address, "fault/stall");
    let waiting = pile_up(&gateway);
    // The end of a client that just sent its request means only that it sends no more.
    std::thread::sleep(Duration::from_millis(200));
    drop(waiting);
    // Long before the time for the first byte, which is five minutes.
    gateway.assert_idle();
    let open = || {
        let mut client = Client::connect(mock.address);
        client.send(b"GET /__connections HTTP/1.1\r\nhost: mock\r\n\r\n");
        client.read().expect("connections").json()["open"].as_u64()
    };
    assert!(eventually(DEADLINE, || open() <= Some(1)), "{:?} connections to the provider stay open", open());
    assert!(is_good(&gateway.ask(&chat("demo/r0"))));
}

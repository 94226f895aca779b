//! Connections are spread over the workers, however few.

use crate::harness::{DEADLINE, Gateway, chat, eventually};

#[test]
fn connections_differ_by_one_at_most_between_workers() {
    for count in [1, 2, 3, 64] {
        let gateway = Gateway::demo(2);
        let mut clients = Vec::new();
        for turn in 0..count {
            let mut client = gateway.client();
            client.send(&chat("demo/chat"));
            let reply = client.read().expect("an answer");
            assert_eq!(reply.status, 200, "connection {turn} of {count}: {}", reply.text());
            clients.push(client);
        }
        let mut seen = Vec::new();
        // A connection is handed over after it was accepted, in its own time.
        let spread = eventually(DEADLINE, || {
            seen = gateway.series("millrace_worker_connections", "");
            let open: Vec<f64> = seen.iter().map(|(_, value)| *value).collect();
            let most = open.iter().copied().fold(0.0, f64::max);
            let least = open.iter().copied().fold(f64::INFINITY, f64::min);
            open.len() == 2 && open.iter().sum::<f64>() == f64::from(count) && most - least <= 1.0
        });
        assert!(spread, "{count} connections: {seen:?}");
        for (turn, client) in clients.iter_mut().enumerate() {
            client.send(&chat("demo/chat"));
            let reply = client.read().expect("an answer");
            assert_eq!(reply.status, 200, "second request, connection {turn} of {count}");
        }
    }
}

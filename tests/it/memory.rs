//! Memory that a burst took and that goes back when it is over.

use std::time::Duration;

use crate::harness::{Client, Gateway, Mock, Settings, chat_with, eventually, project};

/// Streams of the burst.
const STREAMS: usize = 1_500;
/// It takes some seconds; this is how long a machine with much else to do may take.
const GIVEN_BACK: Duration = Duration::from_secs(180);

fn open_streams(gateway: &Gateway, count: usize) -> Vec<Client> {
    let open = |_| {
        let mut client = gateway.client();
        client.send(&chat_with("demo/r0", r#","stream":true"#));
        assert_eq!(client.read_head().expect("a head").status, 200);
        assert!(client.read_until(b"data:"));
        client
    };
    (0..count).map(open).collect()
}

#[test]
fn memory_of_a_burst_goes_back_when_it_is_over() {
    let mock = Mock::start();
    let limits = "limits: {max_connections: 2000, max_connections_per_address: 2000}\n".to_owned();
    let settings =
        Settings { server_lines: limits, ..Settings::demo(project(&["hold"], mock.address, ""), mock.address) };
    let gateway = Gateway::serve(&settings);
    // The tables that the first requests make stay, and are no part of the burst.
    drop(open_streams(&gateway, 50));
    gateway.assert_idle();
    let before = gateway.anonymous_kib();
    let streams = open_streams(&gateway, STREAMS);
    let taken = gateway.anonymous_kib().saturating_sub(before);
    assert!(taken > 4_000, "so few streams show nothing: {taken} KiB");
    drop(streams);
    gateway.assert_idle();
    let kept = || gateway.anonymous_kib().saturating_sub(before);
    assert!(eventually(GIVEN_BACK, || kept() < taken / 5), "{} KiB of {taken} KiB are kept", kept());
}

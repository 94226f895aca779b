//! Streams of configurations that were replaced too often.

use nix::sys::signal::Signal;

use crate::harness::{Client, DEADLINE, Gateway, Holding, Settings, chat_with, eventually, project};

fn open_stream(gateway: &Gateway, route: &str, marker: &str) -> Client {
    let mut client = gateway.client();
    client.send(&chat_with(route, r#","stream":true"#));
    assert_eq!(client.read_head().expect("a head").status, 200, "{route}");
    assert!(client.read_until(marker.as_bytes()), "{route}");
    client
}

/// Replaces the configuration of `demo`, and with it, in file mode, that of every project.
fn replace(gateway: &Gateway, text: &str) {
    let generation = || gateway.metric("millrace_worker_generation", "").unwrap();
    let before = generation();
    gateway.write_project("demo", text);
    gateway.signal(Signal::SIGHUP);
    assert!(eventually(DEADLINE, || generation() >= before + 2.0), "not replaced on two workers");
}

fn gateway(projects: &[(&str, &str)], port: u16) -> Gateway {
    Gateway::serve(&Settings {
        server_lines: "drain: {replaced_grace: 0}\n".to_owned(),
        projects: projects.iter().map(|(slug, text)| ((*slug).to_owned(), (*text).to_owned())).collect(),
        ports: vec![port],
        workers: Some(2),
        ..Settings::default()
    })
}

/// The end of a stream whose configuration was replaced too often: the wire's error event and no end marker.
fn assert_outdated(mut client: Client) {
    let rest = String::from_utf8(client.read_to_close()).unwrap();
    assert!(rest.contains("replaced too often") && rest.contains("\"code\":"), "{rest:?}");
    assert!(!rest.contains("[DONE]") && !rest.ends_with("0\r\n\r\n"), "{rest:?}");
}

#[test]
fn ninth_replaced_configuration_ends_the_oldest_streams_and_no_others() {
    let provider = Holding::start();
    let text = |number: usize| project(&["m"], provider.address, "") + &format!("# {number}\n");
    let gateway = gateway(&[("demo", &text(0)), ("other", &text(0))], provider.address.port());
    let other = open_stream(&gateway, "other/r0", "begun");
    let mut streams = vec![open_stream(&gateway, "demo/r0", "begun"), open_stream(&gateway, "demo/r0", "begun")];
    for number in 1..=8 {
        replace(&gateway, &text(number));
        streams.push(open_stream(&gateway, "demo/r0", "begun"));
    }
    let old = || gateway.metric("millrace_config_old_generations", "");
    let ended = || gateway.metric("millrace_config_outdated_streams_total", "");
    assert!(eventually(DEADLINE, || old() == Some(9.0)), "8 of `demo` and 1 of `other` are held, not {:?}", old());
    assert_eq!(ended(), Some(0.0));
    replace(&gateway, &text(9));
    // Both of the first configuration, and they alone.
    streams.drain(..2).for_each(assert_outdated);
    assert!(eventually(DEADLINE, || (old(), ended()) == (Some(9.0), Some(2.0))), "{:?} {:?}", old(), ended());
    provider.let_go();
    for mut client in streams.into_iter().chain([other]) {
        assert!(client.read_until(b"[DONE]"), "a stream that was not among the oldest");
    }
    gateway.assert_idle();
    assert!(eventually(DEADLINE, || old() == Some(0.0)), "{:?} are still held", old());
    assert_eq!(ended(), Some(2.0));
}

#[test]
fn stream_of_the_mock_provider_ends_like_any_other() {
    let text = |number: usize| {
        format!(
            "chat_models:\n  - model_id: m\n    model: mock/m{number}\n    params: {{token_delay_ms: 60000}}\nroutes:\n  r0: \
             {{chat_models: [m]}}\n"
        )
    };
    let gateway = gateway(&[("demo", &text(0))], 1);
    let mut streams = Vec::new();
    for number in 0..=8 {
        streams.push(open_stream(&gateway, "demo/r0", "data: "));
        replace(&gateway, &text(number + 1));
    }
    assert_outdated(streams.remove(0));
    assert_eq!(gateway.metric("millrace_config_outdated_streams_total", ""), Some(1.0));
    drop(streams);
    gateway.assert_idle();
}

//! Providers that cannot be reached: F-02 and F-05.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    BlackHole, COMPLETION, DEADLINE, Gateway, Mock, NameServer, Reply, Says, Settings, chat, eventually, project,
};

/// Of a connection to the provider that cannot be reached. Others are answered meanwhile.
const CONNECT: Duration = Duration::from_secs(8);
/// Requests for a name that nobody answers for. A lookup takes 3 seconds at least, so that they would take a minute if each
/// waited for one.
const ASKED: usize = 20;

fn answer_everybody(listener: TcpListener) {
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer_all(socket));
        }
    });
}

/// Answers every request with a whole completion until the peer leaves.
fn answer_all(mut socket: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count) = socket.read(&mut buffer) {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{COMPLETION}", COMPLETION.len());
        if count == 0 || (buffer[..count].ends_with(b"}") && socket.write_all(answer.as_bytes()).is_err()) {
            return;
        }
    }
}

fn assert_case(reply: &Reply, (status, code): (u16, &str), name: &str) {
    assert_eq!(reply.status, status, "{name}: {}", reply.text());
    let error = &reply.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&"server_error".into(), &code.into()), "{name}: {error}");
    assert_eq!(reply.header("x-millrace-attempts"), Some("1"), "{name}");
}

/// Two projects in one: route `r0` of the honest provider and `far` of `url`.
fn two_routes(honest: SocketAddr, url: &str) -> String {
    let models = project(&["fast"], honest, "");
    let far = format!(
        "  - model_id: far\n    model: openai/any\n    credentials: {{base_url: \"{url}\"}}\n    timeouts: {{connect: 8 s, \
         first_byte: 60 s, idle: 60 s, total: 120 s}}\n"
    );
    models.replacen("routes:\n", &format!("{far}routes:\n  far: {{chat_models: [far]}}\n"), 1)
}

#[test]
fn dropped_syns_end_with_the_connect_timeout_and_block_nobody() {
    // F-02. One worker, so that the honest requests share it with those that wait.
    let mock = Mock::start();
    let hole = BlackHole::dig();
    let text = two_routes(mock.address, &format!("http://{}/v1", hole.address));
    let settings =
        Settings { ports: vec![mock.address.port(), hole.address.port()], ..Settings::demo(text, mock.address) };
    let gateway = Gateway::serve(&settings);
    let started = Instant::now();
    let mut waiting: Vec<_> = (0..20).map(|_| gateway.client()).collect();
    for client in &mut waiting {
        client.send(&chat("demo/far"));
    }
    let in_flight = || gateway.metric("millrace_inflight_requests", "").unwrap_or(0.0);
    assert!(eventually(DEADLINE, || in_flight() >= 20.0), "{} requests are on their way", in_flight());
    let mut client = gateway.client();
    for _ in 0..5 {
        client.send(&chat("demo/r0"));
        let reply = client.read().expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert!(in_flight() >= 20.0, "nothing was served while the others waited");
    for client in &mut waiting {
        assert_case(&client.read().expect("an answer"), (504, "upstream_timeout"), "black hole");
    }
    assert!(started.elapsed() >= CONNECT, "{:?}", started.elapsed());
    gateway.assert_idle();
    let timeouts = gateway.metric("millrace_upstream_attempts_total", "outcome=\"timeout\"");
    assert_eq!(timeouts, Some(20.0), "{:?}", gateway.series("millrace_upstream_attempts_total", ""));
    // The provider comes back, and nothing remembers that it was away.
    answer_everybody(hole.fill_in());
    let back = eventually(DEADLINE, || gateway.ask(&chat("demo/far")).status == 200);
    assert!(back, "the provider is back and not used");
    gateway.assert_idle();
}

/// A gateway that asks `names` for `models.test`, for each connection anew and again after 100 ms.
fn named(names: &NameServer, honest: SocketAddr, provider: SocketAddr) -> Gateway {
    let text = two_routes(honest, &format!("http://models.test:{}/v1", provider.port()));
    let dns = format!("dns_servers: [\"{}\"], dns_ttl_min: 100 ms, dns_ttl_max: 1 s", names.address);
    Gateway::serve(&Settings {
        server_lines: format!("upstream: {{pool_idle_max: 0, {dns}}}\n"),
        ports: vec![honest.port(), provider.port()],
        ..Settings::demo(text, honest)
    })
}

/// Waits for a line of the log with all of these texts.
fn assert_logged(gateway: &mut Gateway, texts: &[&str]) {
    let mut lines = Vec::new();
    let logged = eventually(DEADLINE * 2, || {
        lines.extend(gateway.printed());
        lines.iter().any(|line| texts.iter().all(|text| line.contains(text)))
    });
    assert!(logged, "no line with {texts:?} in {lines:#?}");
}

#[test]
fn name_without_an_answer_is_told_at_once_and_looked_up_again() {
    // F-05.
    let mock = Mock::start();
    for (name, says, reason) in [
        ("NXDOMAIN", Says::NoName, "NXDOMAIN"),
        ("SERVFAIL", Says::Failure, "the name server failed"),
        ("no address", Says::NoAddress, "the name has no address"),
        ("silence", Says::Silence, "no name server answered in time"),
    ] {
        let names = NameServer::start(says);
        let mut gateway = named(&names, mock.address, mock.address);
        let mut client = gateway.client();
        let started = Instant::now();
        for _ in 0..ASKED {
            let reply = gateway.ask(&chat("demo/far"));
            assert_case(&reply, (502, "upstream_error"), name);
            client.send(&chat("demo/r0"));
            assert_eq!(client.read().expect("an answer").status, 200, "{name}");
        }
        assert!(started.elapsed() < DEADLINE, "{name}: requests waited {:?} for names", started.elapsed());
        assert_logged(&mut gateway, &["provider name not resolved", "models.test", reason]);
        assert!(names.asked().iter().any(|asked| asked == "models.test"), "{name}: {:?}", names.asked());
        names.say(Says::Addresses(&[[127, 0, 0, 1]], 60));
        // A silent server is waited for, several times over, before it is asked again.
        let back = eventually(DEADLINE * 2, || gateway.ask(&chat("demo/far")).status == 200);
        assert!(back, "{name}: the name is back and not used");
        gateway.assert_idle();
    }
}

#[test]
fn known_name_outlives_its_name_server() {
    // F-05: the answer was to be used for a second at most, and still is while no newer one can be had.
    let mock = Mock::start();
    let good = Says::Addresses(&[[127, 0, 0, 1]], 0);
    for (name, says) in [("NXDOMAIN", Says::NoName), ("SERVFAIL", Says::Failure), ("silence", Says::Silence)] {
        let names = NameServer::start(good);
        let mut gateway = named(&names, mock.address, mock.address);
        assert_eq!(gateway.ask(&chat("demo/far")).status, 200, "{name}");
        names.say(says);
        assert_logged(&mut gateway, &["provider name not resolved", "\"older_addresses_kept\":true"]);
        let started = Instant::now();
        for _ in 0..ASKED {
            let reply = gateway.ask(&chat("demo/far"));
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        }
        assert!(started.elapsed() < DEADLINE, "{name}: requests waited {:?} for names", started.elapsed());
        gateway.assert_idle();
    }
}

#[test]
fn name_that_turns_private_is_left_at_once_and_nothing_is_sent_there() {
    // F-05, and T-31 by rebinding: 127.0.0.2 stands for a private network that nobody allowed.
    let mock = Mock::start();
    let mut inside = None;
    let provider = (0..100).find_map(|_| {
        let allowed = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = allowed.local_addr().unwrap().port();
        inside = TcpListener::bind(("127.0.0.2", port)).ok();
        inside.as_ref().map(|_| allowed)
    });
    let (provider, inside) = (provider.unwrap(), inside.unwrap());
    let address = provider.local_addr().unwrap();
    thread::spawn(move || {
        for socket in provider.incoming().map_while(Result::ok) {
            thread::spawn(move || answer_all(socket));
        }
    });
    let strangers = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&strangers);
    thread::spawn(move || {
        for _ in inside.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });

    let good = Says::Addresses(&[[127, 0, 0, 1]], 0);
    for (name, says) in [
        ("private only", Says::Addresses(&[[127, 0, 0, 2]], 0)),
        ("private beside the good one", Says::Addresses(&[[127, 0, 0, 1], [127, 0, 0, 2]], 0)),
        ("metadata address", Says::Addresses(&[[169, 254, 169, 254]], 0)),
    ] {
        let names = NameServer::start(good);
        let mut gateway = named(&names, mock.address, address);
        assert_eq!(gateway.ask(&chat("demo/far")).status, 200, "{name}");
        names.say(says);
        assert_logged(&mut gateway, &["provider name not resolved", "refused", "\"older_addresses_kept\":false"]);
        for _ in 0..5 {
            assert_case(&gateway.ask(&chat("demo/far")), (502, "upstream_error"), name);
        }
        names.say(good);
        let back = eventually(DEADLINE, || gateway.ask(&chat("demo/far")).status == 200);
        assert!(back, "{name}: the name is good again and not used");
        gateway.assert_idle();
    }
    assert_eq!(strangers.load(Ordering::Relaxed), 0, "connections to the private address");
}

//! TLS and HTTP/2 in front of the workers: rules E-01 to E-09.

mod attack;
mod frames;
mod h2;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Client, DEADLINE, Gateway, Identity, KEY, Mock, Settings, chat, chat_with, eventually, project};

use h2::{H2, Outcome, block_on, raw, request, until, whole};

const STREAM: &str = r#","stream":true"#;

fn mock_project() -> Settings {
    let project = "chat_models: [{model_id: m, model: mock/chat}]\nroutes: {chat: {chat_models: [m]}}\n";
    Settings { projects: vec![("demo".to_owned(), project.to_owned())], ..Settings::default() }
}

fn start(settings: Settings, identity: &Identity) -> Gateway {
    let server_lines = settings.server_lines + &identity.server_lines();
    Gateway::serve(&Settings { server_lines, ..settings })
}

/// A provider in the hands of the test, behind a gateway with an edge.
fn origin(identity: &Identity) -> (TcpListener, Gateway) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = start(Settings::demo(project(&["any"], address, ""), address), identity);
    (listener, gateway)
}

/// Accepts one connection and reads one request.
fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.ends_with(b"}") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "closed within a request");
        seen.extend_from_slice(&buffer[..count]);
    }
    stream
}

fn begin_stream(upstream: &mut TcpStream) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    upstream.write_all(head.as_bytes()).unwrap();
}

fn send_event(upstream: &mut TcpStream, text: &str) {
    let event = format!(r#"data: {{"id":"c","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#) + "\n\n";
    upstream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).unwrap();
}

fn end_stream(upstream: &mut TcpStream) {
    let event = r#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned()
        + "\n\ndata: [DONE]\n\n";
    upstream.write_all(format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len()).as_bytes()).unwrap();
}

/// Waits for the end or a reset, both of which say that the gateway has gone; fails long before it would go by itself.
fn assert_closed(upstream: &mut TcpStream) {
    match upstream.read(&mut [0; 1]) {
        Ok(0) => {}
        Ok(_) => panic!("more bytes instead of the end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn both_protocols_serve_plain_answers_and_streams() {
    let identity = Identity::new();
    let mut gateway = start(mock_project(), &identity);
    let edge = gateway.edge();
    let mut client = Client::connect_tls(edge, &identity);
    for more in ["", STREAM, ""] {
        client.send(&chat_with("demo/chat", more));
        let reply = client.read().expect("an answer");
        assert_eq!((reply.status, reply.cut), (200, false), "{more:?}: {}", reply.text());
        assert!(reply.text().contains(if more.is_empty() { "chat.completion\"" } else { "data: [DONE]" }));
    }
    block_on(async {
        let client = H2::connect(edge, &identity).await;
        for more in ["", STREAM, ""] {
            let answer = client.ask("demo/chat", more).await;
            assert_eq!((answer.status, answer.reset.is_some()), (200, false), "{more:?}: {answer:?}");
            assert!(answer.text().contains(if more.is_empty() { "chat.completion\"" } else { "data: [DONE]" }));
            assert!(answer.headers.contains_key("x-request-id") && !answer.headers.contains_key("connection"));
        }
        // Many at once: each has a connection of its own to a worker.
        let all: Vec<_> = (0..50).map(|_| client.clone()).collect();
        let asked = all.iter().map(|client| client.chat("demo/chat", STREAM));
        let mut answers = Vec::new();
        for sent in asked {
            answers.push(sent.await);
        }
        for (answer, _) in answers {
            assert!(whole(answer.await.unwrap()).await.text().contains("data: [DONE]"));
        }
    });
    gateway.assert_idle();
}

#[test]
fn event_is_passed_on_at_once() {
    let identity = Identity::new();
    let (listener, mut gateway) = origin(&identity);
    let edge = gateway.edge();
    let mut client = Client::connect_tls(edge, &identity);
    client.send(&chat_with("demo/r0", STREAM));
    let mut upstream = accept(&listener);
    begin_stream(&mut upstream);
    for turn in 0..10 {
        let text = format!("word{turn}-");
        send_event(&mut upstream, &text);
        assert!(client.read_until(text.as_bytes()), "event {turn} came only with the end");
    }
    block_on(async {
        let client = H2::connect(edge, &identity).await;
        let (answer, _stream) = client.chat("demo/r0", STREAM).await;
        let mut upstream = tokio::task::spawn_blocking(move || accept(&listener)).await.unwrap();
        begin_stream(&mut upstream);
        send_event(&mut upstream, "word0-");
        let mut body = answer.await.unwrap().into_body();
        assert!(until(&mut body, "word0-").await);
        for turn in 1..10 {
            let text = format!("word{turn}-");
            send_event(&mut upstream, &text);
            assert!(until(&mut body, &text).await, "event {turn} came only with the end");
        }
    });
}

#[test]
fn errors_have_our_shape_and_an_id() {
    let identity = Identity::new();
    let limits = "limits: {max_connections_per_address: 2}\n".to_owned();
    let mock = Mock::start();
    let demo = Settings::demo(project(&["hold"], mock.address, ""), mock.address);
    let mut gateway = start(Settings { server_lines: limits, ..demo }, &identity);
    let edge = gateway.edge();
    block_on(async {
        let client = H2::connect(edge, &identity).await;
        let (nowhere, _) = client.send(request("/v1/nope"), hyper::body::Bytes::new()).await;
        let unknown = whole(nowhere.await.unwrap()).await;
        // Two that hold all connections of this address at the worker; the third is refused there without a word.
        let (first, _one) = client.chat("demo/r0", STREAM).await;
        let (second, _two) = client.chat("demo/r0", STREAM).await;
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        let mut third = request("/v1/models");
        third.headers_mut().insert("x-request-id", "mine-1".parse().unwrap());
        let (third, _) = client.send(third, hyper::body::Bytes::new()).await;
        let third = whole(third.await.unwrap()).await;
        drop((first, second));
        for (name, answer, status) in [("of the worker", unknown, 404), ("of the edge", third, 503)] {
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let names: Vec<_> = body["error"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!((answer.status, names), (status, vec!["message", "type", "param", "code"]), "{name}");
            assert!(answer.headers.contains_key("x-request-id"), "{name}");
            assert!(status == 404 || answer.headers["x-request-id"] == "mine-1");
        }
    });
    gateway.assert_idle();
}

#[test]
fn client_is_who_connected_whatever_it_says() {
    let identity = Identity::new();
    let mut gateway = start(mock_project(), &identity);
    let edge = gateway.edge();
    let forged = format!(
        "GET /v1/models HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\nx-request-id: over-one\r\n\
         x-forwarded-for: 192.0.2.9\r\nforwarded: for=192.0.2.9\r\nx-real-ip: 192.0.2.9\r\n\r\n"
    );
    let mut client = Client::connect_tls(edge, &identity);
    client.send(forged.as_bytes());
    assert_eq!(client.read().unwrap().status, 200);
    block_on(async {
        let client = H2::connect_from([127, 0, 0, 2].into(), edge, &identity).await;
        let mut request = request("/v1/models");
        *request.method_mut() = http::Method::GET;
        request.headers_mut().insert("x-request-id", "over-two".parse().unwrap());
        request.headers_mut().insert("x-forwarded-for", "192.0.2.9".parse().unwrap());
        let (answer, _) = client.send(request, hyper::body::Bytes::new()).await;
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    let mut lines = Vec::new();
    for (id, address) in [("over-one", "127.0.0.1"), ("over-two", "127.0.0.2")] {
        let logged = eventually(DEADLINE, || {
            lines.extend(gateway.printed());
            lines.iter().any(|line: &String| line.contains(id))
        });
        assert!(logged, "{id}: {lines:?}");
        let line = lines.iter().find(|line| line.contains(id)).unwrap();
        assert!(line.contains(&format!(r#""client_ip":"{address}""#)), "{line}");
    }
}

#[test]
fn preamble_is_taken_from_nobody_but_the_edge() {
    let identity = Identity::new();
    let mut gateway = start(mock_project(), &identity);
    let edge = gateway.edge();
    let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    two.extend_from_slice(&[192, 0, 2, 9, 127, 0, 0, 1, 0, 7, 1, 187]);
    let one = b"PROXY TCP4 192.0.2.9 127.0.0.1 7 443\r\n".to_vec();
    for (name, preamble) in [("version 1", one), ("version 2", two)] {
        for (port, mut client) in [("public", gateway.client()), ("edge", Client::connect_tls(edge, &identity))] {
            let mut bytes = preamble.clone();
            bytes.extend_from_slice(&chat("demo/chat"));
            client.send(&bytes);
            let reply = client.read().expect("a refusal");
            assert_eq!((reply.status, reply.closes()), (400, true), "{name} on the {port} port");
            assert!(client.read_to_close().is_empty(), "{name} on the {port} port");
        }
    }
}

#[test]
fn client_that_leaves_frees_the_provider() {
    // E-06, with the provider silent: only the edge's word tells.
    let identity = Identity::new();
    let (listener, mut gateway) = origin(&identity);
    let edge = gateway.edge();
    for by_reset in [true, false] {
        let mut client = Client::connect_tls(edge, &identity);
        client.send(&chat_with("demo/r0", STREAM));
        let mut upstream = accept(&listener);
        std::thread::sleep(Duration::from_millis(100));
        if by_reset {
            client.reset();
        } else {
            drop(client);
        }
        println!("HTTP/1.1, reset {by_reset}");
        assert_closed(&mut upstream);
    }
    for whole_connection in [true, false] {
        block_on(async {
            let client = H2::connect(edge, &identity).await;
            let (answer, mut stream) = client.chat("demo/r0", STREAM).await;
            let listener = listener.try_clone().unwrap();
            let mut upstream = tokio::task::spawn_blocking(move || accept(&listener)).await.unwrap();
            begin_stream(&mut upstream);
            send_event(&mut upstream, "first");
            let mut body = answer.await.unwrap().into_body();
            assert!(until(&mut body, "first").await);
            if whole_connection {
                client.vanish();
            } else {
                stream.send_reset(::h2::Reason::CANCEL);
            }
            println!("HTTP/2, connection {whole_connection}");
            tokio::task::spawn_blocking(move || assert_closed(&mut upstream)).await.unwrap();
        });
    }
    gateway.assert_idle();
}

#[test]
fn broken_stream_never_looks_complete() {
    let identity = Identity::new();
    let (listener, mut gateway) = origin(&identity);
    let edge = gateway.edge();
    let break_one = |listener: TcpListener| {
        let mut upstream = accept(&listener);
        begin_stream(&mut upstream);
        send_event(&mut upstream, "first");
    };
    let mut client = Client::connect_tls(edge, &identity);
    client.send(&chat_with("demo/r0", STREAM));
    break_one(listener.try_clone().unwrap());
    let reply = client.read().expect("a head");
    assert!(reply.cut && reply.text().contains("first") && !reply.text().contains("[DONE]"), "{}", reply.text());
    block_on(async {
        let client = H2::connect(edge, &identity).await;
        let (answer, _stream) = client.chat("demo/r0", STREAM).await;
        tokio::task::spawn_blocking(move || break_one(listener)).await.unwrap();
        let answer = whole(answer.await.unwrap()).await;
        assert!(answer.status == 200 && answer.reset.is_some(), "{answer:?}");
        // What the worker said last must not be lost with the reset.
        assert!(answer.text().contains("first") && answer.text().contains("upstream_error"), "{answer:?}");
        assert!(!answer.text().contains("[DONE]"), "{answer:?}");
    });
    gateway.assert_idle();
}

#[test]
fn certificates_are_replaced_without_a_restart() {
    let mut identity = Identity::new();
    let mut gateway = start(mock_project(), &identity);
    let edge = gateway.edge();
    let mut kept = Client::connect_tls(edge, &identity);
    let first = kept.certificate();
    // By the change of the file alone.
    let second = identity.renew();
    let shown = || Client::connect_tls(edge, &identity).certificate();
    assert!(eventually(DEADLINE, || shown().as_ref() == Some(&second)), "the first is still shown");
    assert_ne!(first.as_ref(), Some(&second));
    // A connection from before goes on.
    kept.send(&chat("demo/chat"));
    assert_eq!(kept.read().unwrap().status, 200);
    // What is no certificate changes nothing and is reported.
    identity.spoil();
    gateway.signal(Signal::SIGHUP);
    let mut lines = Vec::new();
    let reported = eventually(DEADLINE, || {
        lines.extend(gateway.printed());
        lines.iter().any(|line: &String| line.contains("certificates refused") && line.contains("cert.pem"))
    });
    assert!(reported, "{lines:?}");
    assert_eq!(Client::connect_tls(edge, &identity).certificate(), Some(second));
}

/// Fields behind those of a good request.
const BAD_FIELDS: &[(&str, &str)] = &[
    ("content-length", "1"),
    ("content-length", "999"),
    ("content-length", "+5"),
    ("content-length", "0x44"),
    ("content-length", "68, 68"),
    ("content-length", ""),
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "identity"),
    ("connection", "close"),
    ("connection", "x-request-id"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("upgrade", "h2c"),
    ("te", "gzip"),
    ("host", "other.test"),
    ("x-a", "b\r\ntransfer-encoding: chunked"),
    ("x-a", "b\nx-c: d"),
    ("x-a", "b\0c"),
    ("x-a\r\nx-b", "c"),
    ("x-a: b", "c"),
    ("X-Upper", "case"),
    ("x a", "b"),
    ("", "empty"),
    (":path", "/v1/models"),
    (":unknown", "x"),
    ("x_under", "score"),
];

/// Another value of a field of a good request, by its place.
const BAD_VALUES: &[(usize, &str)] = &[
    (0, "CONNECT"),
    (0, "PO ST"),
    (0, "POST /v1/models HTTP/1.1\r\nx:"),
    (2, ""),
    (2, "a@gateway.test"),
    (2, "gateway.test\r\nx: y"),
    (3, ""),
    (3, "v1/chat/completions"),
    (3, "https://other.test/v1/chat/completions"),
    (3, "/v1/chat/completions HTTP/1.1\r\nhost: other.test"),
    (3, "/v1/chat/completions\r\n"),
    (3, "*"),
];

#[test]
fn ambiguous_requests_of_http_2_are_never_served() {
    // H2.CL, H2.TE and their kin (rule E-05).
    let identity = Identity::new();
    let mut gateway = start(mock_project(), &identity);
    let edge = gateway.edge();
    let body = br#"{"model":"demo/chat","messages":[{"role":"user","content":"hello"}]}"#;
    let key = format!("Bearer {KEY}");
    let good = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "gateway.test"),
        (":path", "/v1/chat/completions"),
        ("authorization", &key),
        ("content-type", "application/json"),
    ];
    let ask = |pairs: &[(&str, &str)]| {
        let fields: Vec<_> =
            pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        raw(edge, &identity, &fields, body)
    };
    let exact = body.len().to_string();
    assert_eq!(ask(&good), Outcome::Served);
    assert_eq!(ask(&[&good[..], &[("content-length", &exact)]].concat()), Outcome::Served);
    let mut served = Vec::new();
    for bad in BAD_FIELDS {
        if ask(&[&good[..], &[*bad]].concat()) == Outcome::Served {
            served.push(*bad);
        }
    }
    for (index, value) in BAD_VALUES {
        let mut pairs = good;
        pairs[*index].1 = value;
        if ask(&pairs) == Outcome::Served {
            served.push(pairs[*index]);
        }
    }
    assert!(served.is_empty(), "{served:?}");
    assert_eq!(gateway.ask(&chat("demo/chat")).status, 200);
    gateway.assert_idle();
}

#[test]
fn f_36_stop_finishes_what_is_open_at_the_edge() {
    let identity = Identity::new();
    let (listener, mut gateway) = origin(&identity);
    let edge = gateway.edge();
    let mut one = Client::connect_tls(edge, &identity);
    one.send(&chat_with("demo/r0", STREAM));
    let mut of_one = accept(&listener);
    begin_stream(&mut of_one);
    send_event(&mut of_one, "first");
    assert!(one.read_until(b"first"));
    let mut idle = Client::connect_tls(edge, &identity);
    idle.send(b"GET /livez HTTP/1.1\r\nhost: gateway.test\r\n\r\n");
    assert_eq!(idle.read().unwrap().status, 200);
    block_on(async {
        let two = H2::connect(edge, &identity).await;
        let resting = H2::connect(edge, &identity).await;
        let (answer, _stream) = two.chat("demo/r0", STREAM).await;
        let mut of_two = tokio::task::spawn_blocking(move || accept(&listener)).await.unwrap();
        begin_stream(&mut of_two);
        send_event(&mut of_two, "first");
        let answer = answer.await.unwrap();
        // Both while the streams are open: their provider is in our hands.
        gateway.signal(Signal::SIGTERM);
        assert!(resting.is_closed().await, "an idle client of HTTP/2 hears nothing of the stop");
        let closed = tokio::task::spawn_blocking(move || idle.is_closed_within(DEADLINE)).await.unwrap();
        assert!(closed, "an idle connection outlives the stop");
        end_stream(&mut of_one);
        end_stream(&mut of_two);
        let answer = whole(answer).await;
        assert!(answer.reset.is_none() && answer.text().trim_end().ends_with("data: [DONE]"), "{answer:?}");
    });
    let rest = String::from_utf8(one.read_to_close()).unwrap();
    assert!(rest.contains("data: [DONE]") && rest.ends_with("0\r\n\r\n"), "{rest}");
    let status = gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{status}");
}

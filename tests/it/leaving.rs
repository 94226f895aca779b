//! Clients that leave, half-close or pipeline: F-24 to F-28.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::harness::{DEADLINE, Gateway, Settings, chat, chat_with, eventually, post, project};

/// A provider in the hands of the test.
struct Origin {
    listener: TcpListener,
}

impl Origin {
    fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn gateway(&self) -> Gateway {
        let address = self.listener.local_addr().unwrap();
        Gateway::serve(&Settings::demo(project(&["any"], address, ""), address))
    }

    /// Accepts one connection and reads one request.
    fn request(&self) -> TcpStream {
        let (mut stream, _) = self.listener.accept().unwrap();
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
}

/// Waits until the other side has closed; fails long before the gateway would end the wait for an answer by itself.
fn assert_closed(stream: &mut TcpStream) {
    let mut byte = [0; 1];
    match stream.read(&mut byte) {
        Ok(0) => {}
        Ok(_) => panic!("more bytes instead of the end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn send_event(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    let event = format!(r#"data: {{"id":"c","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#) + "\n\n";
    stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
}

#[test]
fn client_gone_before_the_answer_frees_the_provider() {
    // F-24, by RST and by FIN.
    let origin = Origin::new();
    let gateway = origin.gateway();
    for by_reset in [true, false] {
        for more in ["", r#","stream":true"#] {
            let mut client = gateway.client();
            client.send(&chat_with("demo/r0", more));
            let mut upstream = origin.request();
            // The end of a client that just sent its request means only that it sends no more.
            std::thread::sleep(Duration::from_millis(100));
            if by_reset {
                client.reset();
            } else {
                drop(client);
            }
            println!("reset {by_reset}, {more:?}");
            assert_closed(&mut upstream);
        }
    }
    gateway.assert_idle();
}

#[test]
fn client_gone_within_a_stream_frees_the_provider() {
    // F-25: the provider is silent, so only watching the client tells.
    let origin = Origin::new();
    let gateway = origin.gateway();
    for by_reset in [true, false] {
        let mut client = gateway.client();
        client.send(&chat_with("demo/r0", r#","stream":true"#));
        let mut upstream = origin.request();
        upstream.write_all(STREAM_HEAD).unwrap();
        send_event(&mut upstream, "first").unwrap();
        assert!(client.read_until(b"first"));
        std::thread::sleep(Duration::from_millis(100));
        if by_reset {
            client.reset();
        } else {
            drop(client);
        }
        println!("reset {by_reset}");
        assert_closed(&mut upstream);
    }
    gateway.assert_idle();
}

/// The final event alone states them, and it never comes.
#[test]
fn client_gone_within_a_stream_pays_for_the_searches_it_has_seen() {
    let origin = Origin::new();
    let address = origin.listener.local_addr().unwrap();
    let prices = "prices:\n  - {model: \"openai/*\", input: 0, output: 0, per_web_search: 0.01}\n";
    let gateway = Gateway::serve(&Settings::demo(format!("{prices}{}", project(&["any"], address, "")), address));
    let mut client = gateway.client();
    client.send(&post("/v1/responses", r#"{"model":"demo/r0","input":"hello","stream":true}"#));
    let mut upstream = origin.request();
    upstream.write_all(STREAM_HEAD).unwrap();
    for (kind, item) in [
        ("added", r#"{"id":"1","type":"web_search_call","status":"in_progress"}"#),
        ("done", r#"{"id":"1","type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}}"#),
        ("added", r#"{"id":"2","type":"web_search_call","status":"in_progress"}"#),
        ("done", r#"{"id":"2","type":"web_search_call","status":"completed","action":{"type":"open_page","url":"u"}}"#),
        ("added", r#"{"id":"3","type":"web_search_call","status":"in_progress"}"#),
    ] {
        let kind = format!("response.output_item.{kind}");
        let event = format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"item\":{item}}}\n\n");
        upstream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).unwrap();
    }
    assert!(client.read_until(br#""id":"3""#));
    client.reset();
    assert_closed(&mut upstream);
    gateway.assert_idle();
    // One search, one page that was opened, and one call that nobody saw the end of.
    assert_eq!(gateway.metric("millrace_cost_usd_total", "route=\"r0\""), Some(0.02));
}

#[test]
fn event_is_passed_on_at_once() {
    let origin = Origin::new();
    let gateway = origin.gateway();
    let mut client = gateway.client();
    client.send(&chat_with("demo/r0", r#","stream":true"#));
    let mut upstream = origin.request();
    upstream.write_all(STREAM_HEAD).unwrap();
    for turn in 0..20 {
        let text = format!("word{turn}-");
        send_event(&mut upstream, &text).unwrap();
        // Nothing else is sent meanwhile: a gateway that waits for more would wait for ever.
        assert!(client.read_until(text.as_bytes()), "event {turn} came only with the end");
    }
}

#[test]
fn half_closed_client_gets_its_whole_answer() {
    // F-27.
    let gateway = Gateway::demo(1);
    for more in ["", r#","stream":true"#] {
        let mut client = gateway.client();
        client.send(&chat_with("demo/chat", more));
        client.half_close();
        let reply = client.read().expect("an answer");
        assert_eq!((reply.status, reply.cut), (200, false), "{more:?}: {}", reply.text());
        assert!(client.read_to_close().is_empty());
    }
    gateway.assert_idle();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    // F-28.
    let gateway = Gateway::demo(1);
    let mut client = gateway.client();
    let mut bytes = Vec::new();
    for turn in 0..20 {
        let more = if turn % 3 == 0 { r#","stream":true"# } else { "" };
        let request = String::from_utf8(chat_with("demo/chat", more)).unwrap();
        bytes.extend(request.replacen("host:", &format!("x-request-id: turn-{turn}\r\nhost:"), 1).into_bytes());
    }
    client.send(&bytes);
    for turn in 0..20 {
        let reply = client.read().expect("an answer");
        assert_eq!((reply.status, reply.cut), (200, false), "turn {turn}: {}", reply.text());
        assert_eq!(reply.header("x-request-id"), Some(format!("turn-{turn}").as_str()));
    }
    gateway.assert_idle();
}

#[test]
fn garbage_behind_a_request_is_refused_after_its_answer() {
    let gateway = Gateway::demo(1);
    let mut client = gateway.client();
    let mut bytes = chat("demo/chat");
    bytes.extend_from_slice(b"\x00garbage\r\n\r\n");
    client.send(&bytes);
    assert_eq!(client.read().expect("an answer").status, 200);
    assert_eq!(client.read().expect("a refusal").status, 400);
    assert!(client.read_to_close().is_empty());
}

// I-6: each request is settled, and none twice.
#[test]
fn hundred_aborts_at_random_points_leak_nothing() {
    let gateway = Gateway::demo(2);
    fastrand::seed(7);
    let mut whole = 0;
    for _ in 0..100 {
        let mut client = gateway.client();
        let request = chat_with("demo/chat", r#","stream":true"#);
        let cut = if fastrand::bool() { request.len() } else { fastrand::usize(..request.len()) };
        client.send(&request[..cut]);
        if cut == request.len() {
            whole += 1;
            client.sip(fastrand::usize(1..400));
        }
        if fastrand::bool() {
            client.reset();
        }
    }
    gateway.assert_idle();
    let none_left = eventually(DEADLINE, || gateway.metric("millrace_connections", "").unwrap_or(0.0) == 0.0);
    assert!(none_left, "{:?}", gateway.series("millrace_connections", ""));
    let settled = gateway.metric("millrace_requests_total", "").unwrap_or(0.0);
    assert!((f64::from(whole)..=100.0).contains(&settled), "{settled} settled, {whole} of 100 were whole");
}

//! A panic ends its own request, and nothing else.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{base::KeyHasher, metrics::Registry, snapshot::Edit};

use super::tests::{Running, put_key, served};

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\
                       \"response\":{\"id\":\"resp_1\"}}\n\n";
const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n";

/// A provider that answers one request a connection: with a whole answer, or with the first event of a stream that goes on
/// until somebody hangs up.
fn provider() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length, mut responses) = (String::new(), 0, false);
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        responses |= line.starts_with("POST /v1/responses");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let text = if String::from_utf8(body).unwrap().contains("\"stream\":true") {
        let event = if responses { CREATED } else { CHUNK };
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{event}")
    } else {
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"choices\":[]}".to_owned()
    };
    // The gateway may have hung up already.
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.read(&mut [0; 1]);
}

struct Case {
    stage: &'static str,
    path: &'static str,
    model: &'static str,
    stream: bool,
    status: u16,
    has: &'static str,
}

const fn case(
    stage: &'static str,
    (path, model): (&'static str, &'static str),
    status: u16,
    has: &'static str,
) -> Case {
    Case { stage, path, model, stream: status == 200, status, has }
}

const CHAT: &str = "/v1/chat/completions";
const WHOLE: &str = "\"type\":\"server_error\",\"param\":null,\"code\":\"internal_error\"}}";

fn running() -> (Running, Arc<Registry>) {
    let (hasher, registry) = (KeyHasher::keyed(&[5; 32]), Arc::new(Registry::new(1)));
    let text = format!(
        "chat_models:\n  - {{model_id: real, model: openai/m, credentials: {{base_url: \"http://{}/v1\"}}}}\n  - {{model_id: \
         mock, model: mock/m}}\nroutes:\n  real: {{chat_models: [real]}}\n  mock: {{chat_models: [mock]}}\n",
        provider()
    );
    let mut edit = Edit::empty(hasher.clone());
    edit.put_project("prj".into(), served("p", &text, &registry));
    put_key(&mut edit, &hasher, ("key", "prj"));
    (Running::start(edit.finish(1), Arc::clone(&registry)), registry)
}

fn body(model: &str, stream: bool) -> String {
    format!("{{\"model\":\"p/{model}\",\"stream\":{stream},\"messages\":[],\"input\":\"a\"}}")
}

/// Asks on a connection that is kept, and returns the status line.
fn ask_healthy(stream: &mut TcpStream) -> String {
    let body = body("real", false);
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-api-key: key\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0; 1024];
    while !answer.ends_with(b"{\"choices\":[]}") {
        let count = stream.read(&mut byte).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&byte[..count]);
    }
    String::from_utf8(answer).unwrap().lines().next().unwrap().to_owned()
}

#[test]
fn f_30_panic_at_any_stage_is_answered_and_touches_nobody_else() {
    let (running, registry) = running();
    let block = registry.worker(0).unwrap();
    let mut healthy = TcpStream::connect(running.address).unwrap();
    let error = "data: {\"error\":{\"message\":\"the gateway failed on this request; please try again\",";
    let failed = "\"type\":\"response.failed\",\"sequence_number\":1,\"response\":{\"id\":\"resp_1\"";
    let cases = [
        case("dispatch", (CHAT, "real"), 500, WHOLE),
        case("body", (CHAT, "real"), 500, WHOLE),
        case("attempt", (CHAT, "real"), 500, WHOLE),
        case("reply", (CHAT, "real"), 500, WHOLE),
        case("event", (CHAT, "real"), 200, error),
        case("event", (CHAT, "mock"), 200, error),
        case("event", ("/v1/responses", "real"), 200, failed),
    ];
    for (turn, case) in cases.iter().cycle().take(10 * cases.len()).enumerate() {
        let name = format!("{} {} {}", case.stage, case.path, case.model);
        let fields = format!("x-request-id: panic-at-{}\r\n", case.stage);
        let line = format!("POST {}", case.path);
        let answer = running.ask_with("key", (&line, &fields), &body(case.model, case.stream));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {} ", case.status)) && answer.contains(case.has),
            "{name}: {answer}"
        );
        let complete = ["[DONE]", "\r\n0\r\n", "response.completed"].iter().any(|end| answer.contains(end));
        assert!(!complete, "{name} looks complete: {answer}");
        assert_eq!(answer.contains("\r\nconnection: close\r\n"), !case.stream, "{name}: {answer}");
        let mut seen = Vec::new();
        running.shared.queue.drain(8, |record| seen.push((record.status, record.error_code)));
        // The healthy request of the turn before may be settled only now.
        seen.retain(|(_, code)| !code.is_empty());
        assert_eq!(seen, [(case.status, "internal_error")], "{name}");
        assert_eq!(ask_healthy(&mut healthy), "HTTP/1.1 200 OK", "after {name}");
        assert_eq!(block.panics.get(), u64::try_from(turn + 1).unwrap());
    }
    drop(healthy);
    let until = Instant::now() + Duration::from_secs(60);
    while block.connections.get() > 0 {
        assert!(Instant::now() < until, "a connection was never given back");
        std::thread::yield_now();
    }
    assert_eq!((block.inflight_requests.get(), block.open_streams.get()), (0, 0));
}

/// Half an event has gone out, or none can say how much: whatever followed would be read as a part of it.
#[test]
fn f_30_nothing_follows_half_an_event() {
    let (running, _registry) = running();
    let fields = "x-request-id: panic-at-write\r\n";
    let answer = running.ask_with("key", (&format!("POST {CHAT}"), fields), &body("mock", true));
    let (_, events) = answer.split_once("\r\n\r\n").unwrap();
    assert!(events.contains("data: ") && !events.contains("error") && !events.contains("[DONE]"), "{answer}");
}

//! Tests of honest answers, refusals and the truth log.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::serve::{Answer, Client, Ended, IoDriver, for_tests, for_tests_on};

pub(super) const DONE: &str = "data: [DONE]\n\n";

pub(super) fn mock() -> Mock {
    Mock::new(1)
}

pub(super) fn request(model: &str, stream: bool) -> String {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

pub(super) fn contains(bytes: &[u8], part: &str) -> bool {
    memchr::memmem::find(bytes, part.as_bytes()).is_some()
}

#[test]
fn plain_answers_are_valid_json_of_the_size_asked_for() {
    let mut client = Client::connect(for_tests(mock()));
    for (path, model, bytes) in [
        ("/v1/chat/completions", "fast", 600),
        ("/v1/chat/completions", "any-name/at-all", 600),
        ("/base/v1/completions", "fast/size=2000", 2_000),
        ("/v1/responses", "fast/size=5000,chunked", 5_000),
    ] {
        client.post(path, &request(model, false));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.len()), (200, bytes), "{path} {model}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(body["usage"]["total_tokens"] == 120, "{path} {model}");
    }
}

#[test]
fn streams_number_their_events_and_end_properly() {
    let mut client = Client::connect(for_tests(mock()));
    for (path, body, events, chunk_count) in [
        ("/v1/chat/completions", json!({"model": "stream/events=3,gap_ms=1", "stream": true}), 6, 6),
        (
            "/v1/chat/completions",
            json!({"model": "stream/events=3,gap_ms=1,stamp", "stream": true, "stream_options": {"include_usage": true}}),
            7,
            7,
        ),
        ("/v1/completions", json!({"model": "stream/events=2,gap_ms=0", "stream": true}), 5, 5),
        ("/v1/responses", json!({"model": "stream/events=2,gap_ms=0", "stream": true}), 4, 4),
    ] {
        client.post(path, &body.to_string());
        let answer = client.answer();
        let text = answer.text();
        assert_eq!(answer.chunk_count, chunk_count, "{path}: {text}");
        assert_eq!(text.matches("\n\n").count(), events, "{path}: {text}");
        assert!(text.contains("w0000000 ") && text.contains("w0000001 "), "{path}: {text}");
        for line in text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|line| *line != "[DONE]") {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{path}: {error}: {line}"));
        }
        assert_eq!(text.ends_with("data: [DONE]\n\n"), path != "/v1/responses", "{path}: {text}");
    }
}

#[test]
fn embeddings_have_one_vector_an_input() {
    let mut client = Client::connect(for_tests(mock()));
    client.post("/v1/embeddings", r#"{"model":"fast/dims=3","input":["a","b"]}"#);
    let body: Value = serde_json::from_slice(&client.answer().body).unwrap();
    assert_eq!(body["data"].as_array().unwrap().len(), 2);
    assert_eq!(body["data"][1]["embedding"].as_array().unwrap().len(), 3);
    client.post("/v1/embeddings", r#"{"model":"fast/dims=3","input":"a","encoding_format":"base64"}"#);
    let body: Value = serde_json::from_slice(&client.answer().body).unwrap();
    assert_eq!(body["data"][0]["embedding"].as_str().unwrap().len(), 16);
}

#[test]
fn pipelined_and_chunked_requests_are_answered_in_order() {
    for driver in [IoDriver::Epoll, IoDriver::Auto] {
        let mut client = Client::connect(for_tests_on(mock(), driver));
        let one = |word: &str| {
            let body = json!({"model": "fast/echo", "prompt": word}).to_string();
            let (left, right) = body.split_at(9);
            format!(
                "POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{left}\r\n{:x}\r\n{right}\r\n0\r\n\r\n",
                right.len()
            )
        };
        client.send((one("first") + &one("second") + &one("third")).as_bytes());
        let (wire, ended) = client.drain(150);
        let places: Vec<_> =
            ["first", "second", "third"].iter().map(|word| memchr::memmem::find(&wire, word.as_bytes())).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
        assert_eq!(ended, Ended::Open);
    }
}

#[test]
fn wrong_requests_are_refused_with_a_reason() {
    let address = for_tests(mock());
    for (body, want) in [
        (r#"{"model":"fast/speed=1"}"#, "unknown option `speed`"),
        (r#"{"model":"fault/nothing"}"#, "unknown fault `nothing`"),
        (r#"{"model":"fault/no-done"}"#, "needs `\\\"stream\\\": true`"),
        (r#"{"model":"fault/onebyte=3","stream":true}"#, "takes no value"),
        (r#"{"model":"fault/reset@chunk=9"}"#, "no number from 0 to 8"),
        (r#"{"model":"fast/request_bytes=7"}"#, "body has 32 bytes, not 7"),
        (r#"{"model":"fast","model":"slow"}"#, "duplicate field `model`"),
        ("{", "malformed body"),
    ] {
        let mut client = Client::connect(address);
        client.post("/v1/chat/completions", body);
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(want), "{body}: {}", answer.text());
    }
}

fn truth(address: std::net::SocketAddr, wanted: usize) -> Vec<Value> {
    let until = Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let mut client = Client::connect(address);
        client.send(b"GET /__truth HTTP/1.1\r\n\r\n");
        let answer: Answer = client.answer();
        let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if lines.len() >= wanted || Instant::now() > until {
            return lines;
        }
    }
}

#[test]
fn truth_log_tells_what_was_received_and_sent() {
    let address = for_tests(mock());
    let mut client = Client::connect(address);
    let body = request("fast", false);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nX-Request-Id: r1\r\nAuthorization: Bearer key\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.send((head + &body).as_bytes());
    let answered = client.answer();
    client.post("/v1/chat/completions", &request("stream/events=2,gap_ms=0", true));
    client.answer();
    let lines = truth(address, 2);
    let first = &lines[0];
    assert_eq!((&first["connection"], &first["request"]), (&json!(1), &json!(1)));
    assert_eq!((&first["request_id"], &first["headers"][1]), (&json!("r1"), &json!(["Authorization", "Bearer key"])));
    assert_eq!((&first["body"], &first["end"]), (&json!(body), &json!("complete")));
    assert_eq!(first["bytes_out"], json!(answered.head.len() + answered.body.len()));
    assert_eq!((&first["input_tokens"], &first["output_tokens"]), (&json!(100), &json!(20)));
    assert_eq!((&lines[1]["request"], &lines[1]["events"], &lines[1]["stream"]), (&json!(2), &json!(5), &json!(true)));
}

#[test]
fn truth_log_tells_how_answers_ended() {
    let address = for_tests(mock());
    for (model, want) in
        [("fault/reset@chunk=1", "reset_sent"), ("fault/fin@chunk=1", "fin_sent"), ("fault/close@chunk=1", "closed")]
    {
        let mut client = Client::connect(address);
        client.send(b"DELETE /__truth HTTP/1.1\r\n\r\n");
        client.answer();
        client.post("/v1/chat/completions", &request(model, true));
        client.drain(1_000);
        drop(client);
        let lines = truth(address, 1);
        assert_eq!(lines[0]["end"], json!(want), "{model}");
        assert_eq!(lines[0]["events"], json!(2), "{model}");
    }
}

#[test]
fn leaving_clients_are_noticed_within_100_ms() {
    for driver in [IoDriver::Epoll, IoDriver::Auto] {
        let address = for_tests_on(mock(), driver);
        for model in ["hold", "fault/stall", "stream/gap_ms=5000", "fast/latency_ms=5000", "fault/comments@ms=5000"] {
            let mut client = Client::connect(address);
            client.send(b"DELETE /__truth HTTP/1.1\r\n\r\n");
            client.answer();
            client.post("/v1/chat/completions", &request(model, true));
            client.drain(100);
            let left_us = crate::serve::now_us();
            drop(client);
            let lines = truth(address, 1);
            assert_eq!(lines[0]["end"], json!("client_closed"), "{model}");
            let noticed_us = lines[0]["received_us"].as_u64().unwrap() + lines[0]["client_gone_us"].as_u64().unwrap();
            assert!(noticed_us < left_us + 100_000, "{model}: {} us", noticed_us - left_us);
        }
    }
}

#[test]
fn smuggling_requests_are_refused_and_logged() {
    let address = for_tests(mock());
    let mut client = Client::connect(address);
    client.send(
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    let (wire, _) = client.drain(1_000);
    assert!(wire.starts_with(b"HTTP/1.1 400"));
    let lines = truth(address, 1);
    assert_eq!(
        (&lines[0]["end"], &lines[0]["reason"]),
        (&json!("refused"), &json!("both content-length and transfer-encoding"))
    );
}

#[test]
fn open_connections_are_counted() {
    let address = for_tests(mock());
    let _first = Client::connect(address);
    let mut second = Client::connect(address);
    second.post("/v1/chat/completions", &request("fast", false));
    second.answer();
    let mut asking = Client::connect(address);
    asking.send(b"GET /__connections HTTP/1.1\r\n\r\n");
    assert_eq!(asking.answer().text(), "{\"open\":2,\"accepted\":3,\"requests\":1}\n");
}

#[test]
fn old_clients_get_no_chunks() {
    let mut client = Client::connect(for_tests(mock()));
    let body = request("stream/events=2,gap_ms=0", true);
    client
        .send(format!("POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    let (wire, ended) = client.drain(1_000);
    assert!(!contains(&wire, "chunked") && contains(&wire, "connection: close") && contains(&wire, DONE));
    assert_eq!(ended, Ended::Fin);
}

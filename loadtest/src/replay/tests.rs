//! Tests of replaying recordings.

use super::*;
use crate::serve::{Client, for_tests};

const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\u{20ac}\"}}]}\r\n\r\ndata: [DONE]\n\n";

fn record(id: &str, stream: bool, status: u16) -> Record {
    let kind = if stream { "text/event-stream" } else { "application/json" };
    Record {
        id: id.to_owned(),
        dialect: "openai-chat".to_owned(),
        provider: "openai".to_owned(),
        path: "POST /v1/chat/completions".to_owned(),
        endpoint: Endpoint::Chat,
        status,
        stream,
        model: Some("gpt-mock".to_owned()),
        request: Some(json!({"model": "gpt-mock", "stream": stream})),
        headers: vec![("content-type".to_owned(), kind.to_owned()), ("x-request-id".to_owned(), "req_1".to_owned())],
        body: if stream { STREAM.into() } else { b"{\"recorded\": true}".to_vec() },
    }
}

fn client() -> Client {
    let shelf = Shelf::of(vec![record("aa", true, 200), record("bb", false, 429)]);
    Client::connect(for_tests(Replay { shelf, split: Split::Whole }))
}

#[test]
fn model_names_choose_record_and_split() {
    let whole = |id| Choice { id, split: Split::Whole, gap: Delay::NONE };
    for (model, want) in [
        ("rec/aa", Some(whole("aa"))),
        ("rec/aa/split=seed:7", Some(Choice { split: Split::Seed(7), ..whole("aa") })),
        (
            "rec/aa/split=utf8,gap_ms=2",
            Some(Choice { split: Split::Characters, gap: Delay::Fixed(2.0), ..whole("aa") }),
        ),
        ("rec/aa/cut=1", None),
        ("rec/aa/split=x", None),
        ("aa", None),
    ] {
        assert_eq!(Choice::parse(model, Split::Whole).ok(), want, "{model}");
    }
}

#[test]
fn recorded_streams_are_the_same_bytes_however_they_are_cut() {
    let mut client = client();
    for (split, chunk_count) in
        [("whole", Some(1)), ("one-byte", Some(STREAM.len())), ("utf8", Some(3)), ("crlf", Some(4)), ("seed:7", None)]
    {
        client.post("/v1/chat/completions", &format!(r#"{{"model":"rec/aa/split={split}","stream":true}}"#));
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{split}");
        assert!(answer.head.contains("content-type: text/event-stream\r\nx-request-id: req_1\r\n"), "{split}");
        assert_eq!(answer.text(), STREAM, "{split}");
        assert_eq!(answer.chunk_count, chunk_count.unwrap_or(answer.chunk_count), "{split}");
    }
}

#[test]
fn recorded_errors_keep_their_status_and_body() {
    let mut client = client();
    client.post("/v1/chat/completions", r#"{"model":"rec/bb"}"#);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text(), answer.chunk_count), (429, "{\"recorded\": true}", 0));
}

#[test]
fn wrong_requests_are_refused_with_a_reason() {
    let mut client = client();
    for (path, model, status, want) in [
        ("/v1/chat/completions", "rec/zz", 400, "no record `zz`"),
        ("/v1/embeddings", "rec/aa", 400, "record `aa` is of dialect openai-chat"),
        ("/v1/audio", "rec/aa", 404, "no such endpoint"),
    ] {
        client.post(path, &format!(r#"{{"model":"{model}"}}"#));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{path} {model}");
        assert!(answer.text().contains(want), "{}", answer.text());
    }
}

#[test]
fn records_are_listed_and_filtered() {
    let mut client = client();
    for (query, want) in
        [("", 2), ("?stream=true", 1), ("?status=429&stream=true", 0), ("?dialect=openai-chat&limit=1", 1)]
    {
        client.send(format!("GET /__records{query} HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!(client.answer().text().lines().count(), want, "{query}");
    }
    client.send(b"GET /__records/aa/body HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().text(), STREAM);
    client.send(b"GET /__records/bb HTTP/1.1\r\n\r\n");
    let shown: serde_json::Value = serde_json::from_slice(&client.answer().body).unwrap();
    assert_eq!((&shown["status"], &shown["headers"][1][1]), (&json!(429), &json!("req_1")));
}

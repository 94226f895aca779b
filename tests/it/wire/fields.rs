//! The header fields of requests and answers.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use super::{gateway, request};
use crate::harness::{DEADLINE, Gateway, KEY, Mock, Reply, Settings, chat, chat_with, eventually, project};

const BODY: &str = r#"{"model":"demo/r0","messages":[]}"#;

fn post_with(lines: &[&str]) -> Vec<u8> {
    let key = format!("authorization: Bearer {KEY}");
    let mut all = vec![key.as_str(), "content-type: application/json"];
    all.extend_from_slice(lines);
    request("POST /v1/chat/completions", &all, BODY)
}

/// The access-log line of a request.
fn logged(gateway: &mut Gateway, id: &str) -> Value {
    let mut found = None;
    eventually(DEADLINE, || {
        let lines = gateway.printed();
        let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = found.take().or_else(|| parsed.into_iter().find(|line| line["request_id"] == id));
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("no line of {id}"))
}

fn names(reply: &Reply) -> Vec<&str> {
    let mut names: Vec<&str> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn an_answer_has_exactly_the_documented_fields() {
    let (gateway, _mock) = gateway(&["fast", "fault/status=429"]);
    let every =
        ["cache-control", "content-type", "date", "server", "traceparent", "x-millrace-generation", "x-request-id"];
    let served = [
        "x-millrace-attempts",
        "x-millrace-credential",
        "x-millrace-model",
        "x-millrace-overhead-us",
        "x-millrace-provider",
        "x-millrace-route",
        "x-millrace-target",
    ];
    for (name, reply, more) in [
        ("plain", gateway.ask(&chat("demo/r0")), [&served[..], &["content-length"]].concat()),
        (
            "stream",
            gateway.ask(&chat_with("demo/r0", r#","stream":true"#)),
            [&served[..], &["transfer-encoding", "x-accel-buffering"]].concat(),
        ),
        (
            "error of the provider",
            gateway.ask(&chat("demo/r1")),
            [&served[..], &["content-length", "retry-after", "retry-after-ms"]].concat(),
        ),
        ("refusal", gateway.ask(&chat("demo/none")), vec!["content-length"]),
        ("models", gateway.ask(&request("GET /v1/models", &[&format!("api-key: {KEY}")], "")), vec!["content-length"]),
    ] {
        let mut want = [&every[..], &more].concat();
        want.sort_unstable();
        let got: Vec<&str> = names(&reply).into_iter().filter(|name| !name.starts_with("openai-")).collect();
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn fields_of_an_answer_have_their_exact_form() {
    let (gateway, _mock) = gateway(&["fast"]);
    let plain = gateway.ask(&chat("demo/r0"));
    let stream = gateway.ask(&chat_with("demo/r0", r#","stream":true"#));
    for (name, reply, cache, kind) in [
        ("plain", &plain, "no-store", "application/json"),
        ("stream", &stream, "no-cache", "text/event-stream; charset=utf-8"),
    ] {
        for (field, value) in [
            ("cache-control", cache),
            ("content-type", kind),
            ("server", "millrace"),
            ("x-millrace-route", "demo/r0"),
            ("x-millrace-provider", "openai"),
            ("x-millrace-model", "fast"),
            ("x-millrace-target", "m0"),
            ("x-millrace-attempts", "1"),
            ("x-millrace-credential", "own"),
            ("x-millrace-generation", "1"),
        ] {
            assert_eq!(reply.header(field), Some(value), "{name}: {field}");
        }
        let overhead = reply.header("x-millrace-overhead-us").unwrap();
        assert!(overhead.parse::<u64>().is_ok(), "{name}: {overhead}");
        let id = reply.header("x-request-id").unwrap().strip_prefix("req_").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{name}: {id}");
        let date = reply.header("date").unwrap();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{name}: {date}");
    }
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
}

#[test]
fn models_are_listed_with_all_their_members() {
    let (gateway, _mock) = gateway(&["fast", "stream"]);
    let get = |path: &str| gateway.ask(&request(&format!("GET {path}"), &[&format!("x-api-key: {KEY}")], "")).json();
    let list = get("/v1/models");
    assert_eq!(list["object"], "list");
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["demo/r0", "demo/r1"]);
    for path in ["/v1/models/demo/r0", "/v1/models/demo%2Fr0", "/v1/models/demo%2fr0"] {
        let model = get(path);
        assert_eq!(model, list["data"][0], "{path}");
        let names: Vec<_> = model.as_object().unwrap().keys().collect();
        assert_eq!(names, ["id", "object", "created", "owned_by"], "{path}");
        assert!(
            model["object"] == "model" && model["created"].as_u64().is_some_and(|at| at > 1_700_000_000),
            "{model}"
        );
    }
    assert_eq!(get("/v1/models/demo/none")["error"]["code"], "model_not_found");
}

#[test]
fn ids_and_traces_of_a_client_are_kept_or_replaced() {
    let (gateway, _mock) = gateway(&["fast"]);
    let longest = "a".repeat(128);
    for (id, kept) in
        [("My.id_1-x", true), (longest.as_str(), true), ("a b", false), ("a".repeat(129).as_str(), false), ("", false)]
    {
        let reply = gateway.ask(&post_with(&[&format!("x-request-id: {id}")]));
        let got = reply.header("x-request-id").unwrap();
        assert_eq!(got == id, kept, "{id:?}: {got:?}");
    }
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (parent, continued) in
        [(format!("00-{trace}-00f067aa0ba902b7-01"), true), (format!("00-{trace}-0000000000000000-01"), false)]
    {
        let reply = gateway.ask(&post_with(&[&format!("traceparent: {parent}")]));
        let got = reply.header("traceparent").unwrap();
        assert_eq!((got.contains(trace), got == parent), (continued, false), "{parent}: {got}");
    }
    // B3 is not read.
    let reply = gateway.ask(&post_with(&[&format!("x-b3-traceid: {trace}")]));
    assert!(!reply.header("traceparent").unwrap().contains(trace));
}

/// Answers one chat request as a provider would, and returns the head it got.
fn one_answer(listener: &TcpListener) -> String {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut bytes = Vec::new();
    let end = loop {
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece).unwrap();
        assert!(count > 0, "a whole head");
        bytes.extend_from_slice(&piece[..count]);
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end;
        }
    };
    let body = r#"{"id":"1","object":"chat.completion","choices":[]}"#;
    let head = format!(
        "content-type: application/json\r\nset-cookie: a=b\r\nx-ratelimit-limit-requests: 5\r\ncontent-length: {}",
        body.len()
    );
    write!(socket, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").unwrap();
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

#[test]
fn what_a_client_says_to_the_gateway_goes_no_further() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let mut gateway = Gateway::serve(&Settings::demo(project(&["m"], upstream, ""), upstream));
    let provider = thread::spawn(move || [one_answer(&listener), one_answer(&listener)]);
    let lines = [
        "x-request-id: noted",
        "x-millrace-tags: team=red,env=prod",
        "X-RB-Tags: ticket=4711",
        r#"x-millrace-metadata: {"user":"u-1","note":"a \"b\""}"#,
        "x-millrace-no-fallback: true",
        "x-millrace-unknown: 1",
        "idempotency-key: once",
        "x-stainless-lang: python",
        "user-agent: tests",
        "anthropic-beta: x",
        "tracestate: a=1",
        "connection: close",
    ];
    let reply = gateway.ask(&post_with(&lines));
    assert_eq!(reply.status, 200, "{}", reply.text());
    for name in ["set-cookie", "x-ratelimit-limit-requests"] {
        assert_eq!(reply.header(name), None, "a field of the provider's");
    }
    let line = logged(&mut gateway, "noted");
    assert_eq!(line["tags"], json!({"env": "prod", "team": "red", "ticket": "4711"}));
    assert_eq!(line["metadata"], json!({"user": "u-1", "note": "a \"b\""}));

    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(gateway.ask(&post_with(&["x-request-id: bare", trace, "tracestate: a=1"])).status, 200);
    let line = logged(&mut gateway, "bare");
    assert!(line.get("tags").is_none() && line.get("metadata").is_none(), "{line}");

    let [first, second] = provider.join().unwrap();
    let names = |head: &str| -> Vec<String> {
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut names: Vec<_> = lines.map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    };
    let mut want =
        vec!["accept-encoding", "content-length", "content-type", "host", "traceparent", "user-agent", "x-request-id"];
    assert_eq!(names(&first), want, "{first}");
    assert!(first.contains("x-request-id: noted") && !first.contains(KEY) && !first.contains("tests"), "{first}");
    // The state of a trace goes along only where the trace is continued.
    want.insert(5, "tracestate");
    want.sort_unstable();
    assert_eq!(names(&second), want, "{second}");
}

#[test]
fn client_may_shorten_the_time_and_not_lengthen_it() {
    let mock = Mock::start();
    for (total, ms) in [("2 minutes", "200"), ("1 s", "3600000")] {
        let lines = format!("timeouts: {{first_byte: {total}, idle: {total}, total: {total}}}");
        let gateway = Gateway::serve(&Settings::demo(project(&["fault/stall"], mock.address, &lines), mock.address));
        // The shorter one ends it; whoever waits for the longer one reads nothing in time.
        let reply = gateway.ask(&post_with(&[&format!("x-millrace-timeout-ms: {ms}")]));
        assert_eq!(reply.status, 504, "{ms} of {total}");
    }
}

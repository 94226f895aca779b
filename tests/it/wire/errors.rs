//! Every row of the error table that a client can cause.

use serde_json::Value;

use super::{gateway, request};
use crate::harness::{Gateway, KEY, Reply, chat, chat_with};

const CHAT: &str = "POST /v1/chat/completions";
const INVALID: &str = "invalid_request_error";

/// What must be in the answer.
struct Want {
    status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    /// Fields that must have these values; with an empty value they must be absent.
    fields: &'static [(&'static str, &'static str)],
}

const fn want(status: u16, kind: &'static str, code: Option<&'static str>) -> Want {
    Want { status, kind, code, param: None, fields: &[] }
}

fn assert_error(name: &str, reply: &Reply, want: &Want) {
    let text = reply.text();
    assert_eq!(reply.status, want.status, "{name}: {text}");
    assert_eq!(reply.header("content-type"), Some("application/json"), "{name}");
    let body = reply.json();
    let error = body.get("error").and_then(Value::as_object).unwrap_or_else(|| panic!("{name}: {text}"));
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{name}: {text}");
    let names: Vec<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(names, ["message", "type", "param", "code"], "{name}: {text}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{name}: {text}");
    assert_eq!(error["type"], want.kind, "{name}: {text}");
    assert_eq!(error["code"].as_str(), want.code, "{name}: {text}");
    assert_eq!(error["param"].as_str(), want.param, "{name}: {text}");
    for (field, value) in want.fields {
        assert_eq!(reply.header(field).unwrap_or(""), *value, "{name}: {field}");
    }
    assert!(reply.header("x-request-id").is_some_and(|id| !id.is_empty()), "{name}");
}

fn authorized(body: &str) -> Vec<u8> {
    let key = format!("authorization: Bearer {KEY}");
    request(CHAT, &[&key, "content-type: application/json"], body)
}

fn good_body() -> &'static str {
    r#"{"model":"demo/r0","messages":[]}"#
}

#[test]
fn each_mistake_of_a_client_has_its_row() {
    let (gateway, _mock) = gateway(&["fast"]);
    let key = format!("authorization: Bearer {KEY}");
    let json = "content-type: application/json";
    let large = format!(r#"{{"model":"demo/r0","user":"{}"}}"#, "x".repeat(70 << 10));
    let long_line = format!("x-long: {}", "x".repeat(20 << 10));
    let with = |line: &str| request(CHAT, &[&key, json, line], good_body());
    let no_code = |param| Want { param, ..want(400, INVALID, None) };
    let bad_value = |param| Want { param, ..want(400, INVALID, Some("invalid_value")) };
    let no_key = || Want { fields: &[("www-authenticate", "Bearer")], ..want(401, INVALID, Some("invalid_api_key")) };
    let closing = &[("connection", "close")];
    let cases: Vec<(&str, Vec<u8>, Want)> = vec![
        ("bad JSON", authorized("{"), no_code(None)),
        ("not an object", authorized("[]"), no_code(None)),
        ("no model", authorized("{}"), bad_value(Some("model"))),
        ("field of a wrong type", authorized(r#"{"model":"demo/r0","stream":1}"#), bad_value(Some("stream"))),
        (
            "name twice",
            authorized(r#"{"model":"demo/r0","model":"demo/r0"}"#),
            Want { param: Some("model"), ..want(400, INVALID, Some("duplicate_field")) },
        ),
        ("escaped name", authorized(r#"{"mod\u0065l":"demo/r0"}"#), bad_value(Some("model"))),
        ("two keys", with("x-api-key: other"), no_code(None)),
        ("no key", request(CHAT, &[json], good_body()), no_key()),
        ("unknown key", request(CHAT, &["x-api-key: nobody-knows-this-key", json], good_body()), no_key()),
        ("key in the query", request(&format!("{CHAT}?key={KEY}"), &[json], good_body()), no_key()),
        ("no model list without a key", request("GET /v1/models", &[], ""), no_key()),
        (
            "unknown route",
            chat("demo/nothing"),
            Want { param: Some("model"), ..want(404, INVALID, Some("model_not_found")) },
        ),
        (
            "foreign project",
            chat("other/r0"),
            Want { param: Some("model"), ..want(404, INVALID, Some("model_not_found")) },
        ),
        ("unknown path", request("POST /v1/nothing", &[&key], ""), want(404, INVALID, None)),
        ("endpoint of later", request("POST /v1/audio/speech", &[&key], ""), want(404, INVALID, None)),
        (
            "wrong method",
            request("GET /v1/chat/completions", &[&key], ""),
            Want { fields: &[("allow", "POST, OPTIONS")], ..want(405, INVALID, None) },
        ),
        (
            "body too large",
            authorized(&large),
            Want { fields: closing, ..want(413, INVALID, Some("request_too_large")) },
        ),
        ("head too large", with(&long_line), Want { fields: closing, ..want(431, INVALID, Some("request_too_large")) }),
        (
            "too many fields",
            with(&["x-a: 1"; 20].join("\r\n")),
            Want { fields: closing, ..want(431, INVALID, Some("request_too_large")) },
        ),
        ("no type", request(CHAT, &[&key], good_body()), want(415, INVALID, Some("unsupported_media_type"))),
        ("compressed body", with("content-encoding: gzip"), want(415, INVALID, Some("unsupported_media_type"))),
        ("broken head", b"POST / HTTP/1.1\r\n\r\n".to_vec(), Want { fields: closing, ..want(400, INVALID, None) }),
        ("timeout of no number", with("x-millrace-timeout-ms: soon"), bad_value(None)),
        ("tags of no form", with("x-millrace-tags: red"), bad_value(None)),
        ("tags under their other name", with("x-rb-tags: red"), bad_value(None)),
        ("metadata of no form", with(r#"x-millrace-metadata: {"a":1}"#), bad_value(None)),
        ("no-fallback of no form", with("x-millrace-no-fallback: yes"), bad_value(None)),
    ];
    for (name, request, want) in &cases {
        assert_error(name, &gateway.ask(request), want);
    }
    gateway.assert_idle();
}

#[test]
fn unknown_paths_are_named_without_their_query() {
    let (gateway, _mock) = gateway(&["fast"]);
    for (start, message) in [
        ("POST /v1/x?secret=1", "Invalid URL (POST /v1/x)"),
        ("GET /v1/chat/completions?secret=1", "Invalid URL (GET /v1/chat/completions)"),
    ] {
        let reply = gateway.ask(&request(start, &[], ""));
        assert_eq!(reply.json()["error"]["message"], message);
    }
}

#[test]
fn slow_requests_end_with_408_and_a_closed_connection() {
    let (gateway, _mock) = gateway(&["fast"]);
    let unfinished = format!("{CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n");
    let half_body = format!("{unfinished}content-type: application/json\r\ncontent-length: 10\r\n\r\n{{");
    for (name, bytes) in [("head", unfinished), ("body", half_body)] {
        let want = Want { fields: &[("connection", "close")], ..want(408, INVALID, Some("request_timeout")) };
        assert_error(name, &gateway.ask(bytes.as_bytes()), &want);
    }
}

const OWN_FAULT: &[(&str, &str)] = &[("x-millrace-attempts", "1"), ("retry-after", ""), ("x-should-retry", "")];
const LATER: &[(&str, &str)] = &[("retry-after", "7"), ("retry-after-ms", "7000"), ("x-millrace-attempts", "1")];
const NO_RETRY: &[(&str, &str)] = &[("x-should-retry", "false")];

/// Model of the scripted provider, whether a stream is asked for, and what the client must see.
const OF_PROVIDERS: &[(&str, bool, Want)] = &[
    ("fault/status=400", false, want(400, INVALID, None)),
    ("fault/status=404", false, want(404, INVALID, Some("model_not_found"))),
    ("fault/status=413", false, want(413, INVALID, None)),
    ("fault/status=422", false, want(422, INVALID, None)),
    ("fault/status=401", false, Want { fields: NO_RETRY, ..want(502, "server_error", Some("upstream_error")) }),
    ("fault/status=403", true, Want { fields: NO_RETRY, ..want(502, "server_error", Some("upstream_error")) }),
    ("fault/status=500", false, Want { fields: OWN_FAULT, ..want(502, "server_error", Some("upstream_error")) }),
    ("fault/body=html", false, Want { fields: OWN_FAULT, ..want(502, "server_error", Some("upstream_error")) }),
    ("fault/stall", false, Want { fields: OWN_FAULT, ..want(504, "server_error", Some("upstream_timeout")) }),
    ("fault/status=400,code=context_length_exceeded", false, want(400, INVALID, Some("context_length_exceeded"))),
    (
        "fault/status=400,code=content_filter",
        false,
        Want { fields: NO_RETRY, ..want(400, INVALID, Some("content_filter")) },
    ),
    (
        "fault/status=429,retry_after=7",
        false,
        Want { fields: LATER, ..want(429, "requests", Some("rate_limit_exceeded")) },
    ),
    (
        "fault/status=429,retry_after=7",
        true,
        Want { fields: LATER, ..want(429, "requests", Some("rate_limit_exceeded")) },
    ),
    (
        "fault/status=429,type=insufficient_quota,code=insufficient_quota",
        false,
        Want { fields: NO_RETRY, ..want(429, "insufficient_quota", Some("insufficient_quota")) },
    ),
];

#[test]
fn each_failure_of_a_provider_has_its_row() {
    let models: Vec<&str> = OF_PROVIDERS.iter().map(|(script, ..)| *script).collect();
    let (gateway, _mock) = gateway(&models);
    for (index, (script, stream, want)) in OF_PROVIDERS.iter().enumerate() {
        let more = if *stream { r#","stream":true"# } else { "" };
        assert_error(script, &ask(&gateway, index, more), want);
    }
    gateway.assert_idle();
}

fn ask(gateway: &Gateway, route: usize, more: &str) -> Reply {
    gateway.ask(&chat_with(&format!("demo/r{route}"), more))
}

//! Error answers of every provider.

use serde_json::Value;

use crate::wire::{Meaning, UpstreamError, view_upstream_error};

fn body_for(error: &UpstreamError) -> Value {
    let mut out = Vec::new();
    error.write_body(&mut out);
    serde_json::from_slice(&out).unwrap()
}

/// Name, status, body, meaning.
const SHAPES: [(&str, u16, &str, Meaning); 23] = [
    (
        "openai field",
        400,
        r#"{"error":{"message":"Missing","type":"invalid_request_error","param":"messages[0].role","code":"missing_required_parameter"}}"#,
        Meaning::Invalid,
    ),
    (
        "openai key",
        401,
        r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        Meaning::Auth,
    ),
    (
        "openai quota",
        429,
        r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        Meaning::Quota,
    ),
    (
        "openai rate",
        429,
        r#"{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
        Meaning::Rate,
    ),
    (
        "openai context",
        400,
        r#"{"error":{"message":"Too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        Meaning::Context,
    ),
    (
        "azure filter",
        400,
        r#"{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400}}"#,
        Meaning::Content,
    ),
    ("azure key", 401, r#"{"error":{"code":"401","message":"Access denied"}}"#, Meaning::Auth),
    (
        "gemini key",
        400,
        r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[]}}]"#,
        Meaning::Auth,
    ),
    (
        "gemini rate",
        429,
        r#"{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED"}}"#,
        Meaning::Rate,
    ),
    ("bedrock", 400, r#"{"message":"Input is too long for requested model."}"#, Meaning::Context),
    ("mistral", 401, r#"{"detail":"Invalid API Key"}"#, Meaning::Auth),
    ("mistral field", 422, r#"{"detail":[{"loc":["body","x"],"msg":"extra"}]}"#, Meaning::Invalid),
    ("cohere", 404, r#"{"id":"x","message":"model 'y' not found"}"#, Meaning::Invalid),
    (
        "xai bad key is 400",
        400,
        r#"{"code":"invalid-argument","error":"Incorrect API key provided. You can obtain one"}"#,
        Meaning::Auth,
    ),
    ("ollama", 404, r#"{"error":"model 'y' not found"}"#, Meaning::Invalid),
    (
        "perplexity context",
        400,
        r#"{"error":{"message":"The total length of all messages is too long.","type":"too_many_prompt_tokens","code":400}}"#,
        Meaning::Context,
    ),
    (
        "openrouter",
        429,
        r#"{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"x"}}}"#,
        Meaning::Rate,
    ),
    (
        "groq inside a stream",
        200,
        r#"{"error":{"message":"Tool choice is required","type":"invalid_request_error","code":"tool_use_failed","status_code":400}}"#,
        Meaning::Invalid,
    ),
    ("in a stream without a status", 200, r#"{"error":{"message":"x"}}"#, Meaning::Transient),
    ("no json", 503, "<html>", Meaning::Transient),
    ("no json", 404, "", Meaning::Invalid),
    ("redirect", 302, "", Meaning::Transient),
    ("payment", 402, "{}", Meaning::Quota),
];

#[test]
fn each_known_shape_is_judged_by_its_meaning() {
    for (name, status, body, want) in SHAPES {
        assert_eq!(view_upstream_error(status, body.as_bytes()).meaning, want, "{name}");
    }
}

#[test]
fn the_client_keeps_status_type_code_and_param_but_not_the_message() {
    let body = br#"{"error":{"message":"secret prompt text","type":"invalid_request_error","param":"messages[1].content[0].type","code":"missing_required_parameter"}}"#;
    let error = view_upstream_error(400, body);
    assert_eq!(error.client_status(), 400);
    let want = serde_json::json!({"error": {
        "message": "the provider refused the request: invalid value for `messages[1].content[0].type`",
        "type": "invalid_request_error",
        "param": "messages[1].content[0].type",
        "code": "missing_required_parameter",
    }});
    assert_eq!(body_for(&error), want);
}

#[test]
fn credentials_and_faults_of_the_provider_become_502() {
    for (status, body, want) in [
        (401, r#"{"error":{"message":"x","type":"invalid_request_error","code":"invalid_api_key"}}"#, 502),
        (403, "{}", 502),
        (400, r#"{"code":"invalid-argument","error":"Incorrect API key provided"}"#, 502),
        (402, "{}", 502),
        (500, r#"{"error":{"type":"server_error","code":null}}"#, 502),
        (503, "", 502),
        (301, "", 502),
        (504, "", 504),
        (404, "", 404),
        (413, "", 413),
        (422, "", 422),
        (429, "", 429),
    ] {
        let error = view_upstream_error(status, body.as_bytes());
        assert_eq!(error.client_status(), want, "{status} {body}");
        let sent = body_for(&error);
        if want >= 500 {
            assert_eq!(sent["error"]["type"], "server_error", "{status}");
            assert_eq!(sent["error"]["param"], Value::Null, "{status}");
        }
    }
}

#[test]
fn what_is_missing_in_the_provider_body_comes_from_the_table() {
    for (status, body, kind, code) in [
        (429, "", "requests", Some("upstream_rate_limited")),
        (
            400,
            r#"{"error":{"message":"maximum context length is 5","code":400}}"#,
            "invalid_request_error",
            Some("context_length_exceeded"),
        ),
        (404, r#"{"error":{"code":"404","message":"Resource not found"}}"#, "invalid_request_error", Some("404")),
        (400, r#"{"error":{"code":400,"message":"bad"}}"#, "invalid_request_error", Some("400")),
        (400, "oops", "invalid_request_error", None),
    ] {
        let sent = body_for(&view_upstream_error(status, body.as_bytes()));
        assert_eq!(sent["error"]["type"], kind, "{body}");
        assert_eq!(sent["error"]["code"].as_str(), code, "{body}");
    }
}

#[test]
fn what_may_be_a_key_or_markup_is_not_passed() {
    for word in ["sk-proj-a1b2c3d4e5f6g7", "<b>x</b>", "a b", "", "x\"y", &"a".repeat(65)] {
        let body = serde_json::json!({"error": {"type": word, "code": word, "param": format!("{word}\u{7}")}});
        let error = view_upstream_error(400, body.to_string().as_bytes());
        assert_eq!((error.kind, error.code, error.param), (None, None, None), "{word}");
    }
}

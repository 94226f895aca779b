//! The error table and the bodies written from it.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::wire::{Endpoint, ErrorCase, StreamErrorAt, write_error_body, write_stream_error};

#[test]
fn every_case_has_its_own_label_and_a_status_of_an_error() {
    let labels: HashSet<&str> = ErrorCase::ALL.iter().map(|case| case.label()).collect();
    assert_eq!(labels.len(), ErrorCase::ALL.len());
    for case in ErrorCase::ALL {
        assert!((400..=504).contains(&case.status()), "{case:?}");
        let by_status = if case.status() >= 500 { "server_error" } else { case.kind() };
        assert_eq!(case.kind(), by_status, "{case:?}");
    }
}

#[test]
fn the_table_is_that_of_the_reference() {
    let invalid = "invalid_request_error";
    let rows = [
        (ErrorCase::BadHead, 400, invalid, None, None),
        (ErrorCase::BadJson, 400, invalid, None, None),
        (ErrorCase::BadField, 400, invalid, Some("invalid_value"), None),
        (ErrorCase::DuplicateField, 400, invalid, Some("duplicate_field"), None),
        (ErrorCase::TwoKeys, 400, invalid, None, None),
        (ErrorCase::InvalidKey, 401, invalid, Some("invalid_api_key"), None),
        (ErrorCase::ModelNotAllowed, 403, "permission_error", Some("model_not_allowed"), Some(false)),
        (ErrorCase::ModelNotFound, 404, invalid, Some("model_not_found"), None),
        (ErrorCase::PathNotFound, 404, invalid, None, None),
        (ErrorCase::MethodNotAllowed, 405, invalid, None, None),
        (ErrorCase::RequestTimeout, 408, invalid, Some("request_timeout"), None),
        (ErrorCase::ProjectArchived, 410, invalid, Some("project_archived"), Some(false)),
        (ErrorCase::BodyTooLarge, 413, invalid, Some("request_too_large"), None),
        (ErrorCase::HeadTooLarge, 431, invalid, Some("request_too_large"), None),
        (ErrorCase::UnsupportedMediaType, 415, invalid, Some("unsupported_media_type"), None),
        (ErrorCase::ContextLengthExceeded, 400, invalid, Some("context_length_exceeded"), None),
        (ErrorCase::ContentFilter, 400, invalid, Some("content_filter"), Some(false)),
        (ErrorCase::RateLimited, 429, "requests", Some("rate_limit_exceeded"), None),
        (ErrorCase::TokensRateLimited, 429, "tokens", Some("rate_limit_exceeded"), None),
        (ErrorCase::ConcurrencyLimit, 429, "requests", Some("concurrency_limit_exceeded"), None),
        (ErrorCase::InsufficientQuota, 429, "insufficient_quota", Some("insufficient_quota"), Some(false)),
        (ErrorCase::QuotaReserved, 429, "insufficient_quota", Some("quota_reserved"), None),
        (ErrorCase::InsufficientCredits, 402, "insufficient_quota", Some("insufficient_credits"), Some(false)),
        (ErrorCase::LedgerUnavailable, 503, "server_error", Some("ledger_unavailable"), None),
        (ErrorCase::UpstreamRateLimited, 429, "requests", Some("upstream_rate_limited"), None),
        (ErrorCase::NoCredential, 502, "server_error", Some("no_credential"), Some(false)),
        (ErrorCase::UpstreamError, 502, "server_error", Some("upstream_error"), None),
        (ErrorCase::NoHealthyUpstream, 503, "server_error", Some("no_healthy_upstream"), None),
        (ErrorCase::UpstreamTimeout, 504, "server_error", Some("upstream_timeout"), None),
        (ErrorCase::Overloaded, 503, "server_error", Some("overloaded"), None),
        (ErrorCase::ConfigError, 503, "server_error", Some("config_error"), None),
        (ErrorCase::Internal, 500, "server_error", Some("internal_error"), None),
    ];
    assert_eq!(rows.map(|(case, ..)| case), ErrorCase::ALL);
    for (case, status, kind, code, retry) in rows {
        let row = (case.status(), case.kind(), case.code(), case.should_retry());
        assert_eq!(row, (status, kind, code, retry), "{case:?}");
    }
}

#[test]
fn a_body_has_all_four_members_and_escapes_its_text() {
    for (case, message, param, code) in [
        (ErrorCase::BadJson, "a \"b\" \\ \u{1} é\n", None, Value::Null),
        (ErrorCase::BadField, "x", Some("model"), json!("invalid_value")),
    ] {
        let mut out = Vec::new();
        write_error_body(case, message, param, &mut out);
        let want =
            json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}});
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), want);
    }
}

#[test]
fn a_stream_error_has_the_form_of_its_wire_and_no_end_marker() {
    let at = StreamErrorAt { response_id: "resp_1", sequence_number: 7 };
    let write = |endpoint| {
        let mut out = Vec::new();
        write_stream_error(endpoint, ErrorCase::UpstreamError, "cut off", at, &mut out);
        String::from_utf8(out).unwrap()
    };
    for endpoint in [Endpoint::Chat, Endpoint::Completions] {
        let event = write(endpoint);
        let text = event.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["error"]["code"], "upstream_error");
    }
    let event = write(Endpoint::Responses);
    let text = event.strip_prefix("event: response.failed\ndata: ").unwrap();
    let value: Value = serde_json::from_str(text.strip_suffix("\n\n").unwrap()).unwrap();
    assert_eq!(value["type"], "response.failed");
    assert_eq!(value["sequence_number"], 7);
    assert_eq!(value["response"]["id"], "resp_1");
    assert_eq!(value["response"]["status"], "failed");
    assert_eq!(value["response"]["error"], json!({"code": "upstream_error", "message": "cut off"}));
}

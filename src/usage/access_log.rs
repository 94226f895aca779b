//! One JSON line a request, in the access log's fields.
//!
//! Holds what operators search for, and never a body, a key, a query or a provider's error text.

use crate::base::{JsonLine, NanoUsd};

use super::record::Record;

/// Appends the line of one request to `out`, line feed included. At most 48 KiB, whatever its names
/// and annotations hold; 800 bytes are usual.
pub fn append_line(record: &Record, out: &mut Vec<u8>) {
    let mut line = JsonLine::begin(out);
    line.time("ts", record.at);
    line.constant(r#""level":"info","msg":"request","stream":"access""#);
    who(record, &mut line);
    how(record, &mut line);
    tokens(record, &mut line);
    if let Some(annotations) = &record.annotations {
        for (name, texts) in [("tags", &annotations.tags), ("metadata", &annotations.metadata)] {
            if !texts.is_empty() {
                line.texts(name, texts.iter().map(|(name, text)| (&**name, &**text)));
            }
        }
    }
    line.end();
}

fn who(record: &Record, line: &mut JsonLine<'_>) {
    line.text("request_id", record.request_id.as_str());
    if record.trace_id != [0; 16] {
        line.hex("trace_id", &record.trace_id);
    }
    if let Some(labels) = &record.labels {
        line.text("organization", &labels.organization);
        line.text("project", &labels.project);
        line.text("route", &labels.route);
        line.text_if_any("provider", &labels.provider);
        line.text_if_any("model", &labels.model);
        line.text_if_any("target", &labels.target);
    }
    line.uint("generation", record.generation);
    if let Some(version) = record.config_version {
        line.uint("config_version", version);
    }
    if let Some(caller) = &record.caller {
        line.text("key_id", &caller.key_id);
    }
    if let Some(ip) = record.client_ip {
        line.address("client_ip", ip);
    }
}

fn how(record: &Record, line: &mut JsonLine<'_>) {
    line.text("endpoint", record.endpoint);
    line.uint("status", u64::from(record.status));
    line.text_if_any("error_code", record.error_code);
    line.millis("duration_ms", record.duration);
    if let Some(ttft) = record.ttft {
        line.millis("ttft_ms", ttft);
    }
    line.micros("overhead_us", record.overhead);
    line.millis("upstream_ms", record.upstream_time);
    line.uint("attempts", u64::from(record.attempts));
    // `stream` names the log, so whether the answer was streamed has another name.
    line.flag("streamed", record.stream);
    line.flag("cancelled", record.cancelled);
    line.uint("bytes_in", record.bytes_in);
    line.uint("bytes_out", record.bytes_out);
}

fn tokens(record: &Record, line: &mut JsonLine<'_>) {
    let tokens = &record.tokens;
    line.uint("tokens_input", tokens.input);
    line.uint("tokens_output", tokens.output);
    line.uint("tokens_cache_read", tokens.cache_read);
    line.uint("tokens_cache_write", tokens.cache_write);
    line.uint("tokens_reasoning", tokens.reasoning);
    if tokens.audio_millis > 0 {
        line.uint("audio_ms", tokens.audio_millis);
    }
    if record.estimated {
        line.flag("estimated", true);
    }
    line.text_if_any("credential", record.credential.as_str());
    if record.fallback {
        line.flag("fallback", true);
    }
    if let Some(cost) = record.cost {
        line.text("cost_usd", &cost.to_string());
    }
    if let Some(price) = record.price {
        line.text("price_source", price.source.as_str());
    }
    if record.fee != NanoUsd::ZERO {
        line.text("fee_usd", &record.fee.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::annotations::Annotations;
    use super::super::record::{Credential, tests::record};
    use super::*;
    use crate::base::{Caller, Labels, TokenCounts, UnixTime};

    fn line(record: &Record) -> String {
        let mut out = Vec::new();
        append_line(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn full_record_shows_every_field() {
        let record = Record {
            trace_id: *b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c",
            labels: Some(Arc::new(Labels {
                organization: "acme".into(),
                project: "support".into(),
                route: "chat".into(),
                provider: "openai".into(),
                model: "gpt-4o".into(),
                target: "main".into(),
            })),
            config_version: Some(3),
            caller: Some(Arc::new(Caller::of_key("abc123"))),
            status: 502,
            error_code: "upstream_error",
            ttft: Some(Duration::from_micros(250_001)),
            tokens: TokenCounts {
                input: 1,
                output: 2,
                cache_read: 3,
                cache_write: 4,
                reasoning: 5,
                ..TokenCounts::default()
            },
            client_ip: Some("192.0.2.1".parse::<IpAddr>().unwrap()),
            stream: true,
            cancelled: true,
            estimated: true,
            credential: Credential::Platform,
            cost: Some(NanoUsd(1_234)),
            fee: NanoUsd(5),
            annotations: Annotations::parse([&b"team=red"[..]].into_iter(), Some(br#"{"a \"b\"":"c\n"}"#)).unwrap(),
            ..record("req-1")
        };
        let value: Value = serde_json::from_str(&line(&record)).unwrap();
        assert_eq!(
            value,
            json!({
                "ts": "2023-11-14T22:13:20.125Z", "level": "info", "msg": "request", "stream": "access",
                "request_id": "req-1", "trace_id": "0af7651916cd43dd8448eb211c80319c",
                "organization": "acme", "project": "support", "route": "chat",
                "provider": "openai", "model": "gpt-4o", "target": "main",
                "generation": 7, "config_version": 3, "key_id": "abc123", "client_ip": "192.0.2.1",
                "endpoint": "chat", "status": 502, "error_code": "upstream_error",
                "duration_ms": 1234.567, "ttft_ms": 250.001, "overhead_us": 17, "upstream_ms": 1200.0,
                "attempts": 1, "streamed": true, "cancelled": true, "bytes_in": 800, "bytes_out": 600,
                "tokens_input": 1, "tokens_output": 2, "tokens_cache_read": 3,
                "tokens_cache_write": 4, "tokens_reasoning": 5, "estimated": true,
                "credential": "platform", "cost_usd": "0.000001234", "fee_usd": "0.000000005",
                "tags": {"team": "red"}, "metadata": {"a \"b\"": "c\n"},
            })
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let value: Value = serde_json::from_str(&line(&record("req-1"))).unwrap();
        for name in [
            "trace_id",
            "project",
            "config_version",
            "key_id",
            "client_ip",
            "error_code",
            "ttft_ms",
            "estimated",
            "credential",
            "cost_usd",
            "fee_usd",
            "tags",
            "metadata",
        ] {
            assert!(value.get(name).is_none(), "{name}");
        }
    }

    #[test]
    fn lines_follow_each_other_in_one_buffer() {
        let mut out = Vec::new();
        append_line(&record("a"), &mut out);
        append_line(&record("b"), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }

    #[test]
    fn annotations_cannot_make_a_line_long_or_break_it() {
        let tags: Vec<_> = (0..680).map(|index| format!("{index:03}=\u{202e}")).collect();
        let tags = &tags.join(",")[..4_084];
        let member = |name| format!("\"{name}\":\"{}\"", "\\u001b\u{2028}".repeat(80));
        let metadata = format!("{{{}}}", ["a", "b", "c", "d", "e"].map(member).join(","));
        let annotations = Annotations::parse([tags.as_bytes()].into_iter(), Some(metadata.as_bytes())).unwrap();
        let line = line(&Record { annotations, ..record("id") });
        assert!(line.len() <= 32 * 1024, "{} bytes", line.len());
        assert!(!line.contains(['\u{1b}', '\u{202e}', '\u{2028}']) && line.find('\n') == Some(line.len() - 1));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["tags"].as_object().unwrap().len(), 511);
        assert!(value["metadata"]["a"].as_str().unwrap().len() <= 256);
    }

    proptest! {
        #[test]
        fn any_names_make_one_valid_line_of_bounded_length(
            names in proptest::collection::vec(any::<String>(), 7),
            seconds in 0..253_402_300_800_u64,
            duration in any::<u64>(),
            tokens in any::<u64>(),
        ) {
            let name = |index: usize| names[index].as_str();
            let record = Record {
                at: UnixTime(Duration::from_secs(seconds)),
                labels: Some(Arc::new(Labels {
                    organization: name(0).into(),
                    project: name(1).into(),
                    route: name(2).into(),
                    provider: name(3).into(),
                    model: name(4).repeat(50).into(),
                    target: name(5).into(),
                })),
                caller: Some(Arc::new(Caller::of_key(name(6)))),
                duration: Duration::from_secs(duration),
                tokens: TokenCounts { input: tokens, ..TokenCounts::default() },
                ..record("id")
            };
            let line = line(&record);
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert!(line.len() <= 16 * 1024);
            let value: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["tokens_input"].as_u64(), Some(tokens));
            prop_assert!(value["model"].as_str().is_none_or(|model| model.len() <= 256));
        }
    }
}

//! One JSON line a request, in the access log's fields.
//!
//! Holds what operators search for, and never a body, a key, a query or a provider's error text.

use crate::base::JsonLine;

use super::record::Record;

/// Appends the line of one request to `out`, line feed included. At most about 4 KiB, whatever the client sent.
pub fn append_line(record: &Record, out: &mut Vec<u8>) {
    let mut line = JsonLine::begin(out);
    line.time("ts", record.at);
    line.text("level", "info");
    line.text("msg", "request");
    line.text("stream", "access");
    who(record, &mut line);
    how(record, &mut line);
    tokens(record, &mut line);
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
    if let Some(key_id) = &record.key_id {
        line.text("key_id", key_id);
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
    if record.estimated {
        line.flag("estimated", true);
    }
}

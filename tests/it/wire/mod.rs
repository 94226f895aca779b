//! Statuses, error bodies and header fields, row by row.
//!
//! The rows are those of the wire's error table and of its tables of header fields, as far as this version has them: what
//! a client may rely on, asked of the real executable.

mod errors;
mod fields;

use crate::harness::{Gateway, Mock, Settings, project};

/// Small enough to be broken by a test, large enough for its other requests.
const LIMITS: &str =
    "limits: {header_bytes: 16 KiB, header_count: 20, body_bytes: 64 KiB, header_timeout: 5 s, body_timeout: 5 s}\n";

/// A gateway with one route `demo/r0`, `demo/r1` and so on for each model of the scripted provider, and the provider.
fn gateway(models: &[&str]) -> (Gateway, Mock) {
    let mock = Mock::start();
    let lines = "timeouts: {connect: 6 s, first_byte: 6 s, idle: 6 s, total: 30 s}";
    let mut settings = Settings::demo(project(models, mock.address, lines), mock.address);
    settings.server_lines = LIMITS.to_owned();
    (Gateway::serve(&settings), mock)
}

/// A request with these header lines, the length of the body among them if there is one.
fn request(start: &str, lines: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{start} HTTP/1.1\r\nhost: gateway.test\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}").into_bytes()
}

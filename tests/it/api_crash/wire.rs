//! One call of the admin API, to a process that may go away.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::harness::OPERATOR;

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: String,
    pub(super) json: Value,
}

/// Asks and reads the answer; none when the process went away before all of it was here.
pub(super) fn call(
    admin: SocketAddr,
    (method, path): (&str, &str),
    extra: &[(&str, &str)],
    body: &Value,
) -> Option<Answer> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut head =
        format!("{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {OPERATOR}\r\n");
    for (name, value) in extra {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += "content-type: application/json\r\n";
    }
    head += &format!("connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(admin).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let field = |name: &str| {
        head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| found.eq_ignore_ascii_case(name))
    };
    if let Some((_, length)) = field("content-length")
        && body.len() < length.parse().ok()?
    {
        return None;
    }
    let json = if body.is_empty() { Value::Null } else { serde_json::from_str(body).ok()? };
    let etag = field("etag").map_or("", |(_, tag)| tag).to_owned();
    Some(Answer { status: head.get(9..12)?.parse().ok()?, etag, json })
}

/// As [`call`]; panics when the change is refused.
pub(super) fn change(admin: SocketAddr, line: (&str, &str), extra: &[(&str, &str)], body: &Value) -> Option<Answer> {
    let answer = call(admin, line, extra, body)?;
    assert!((200..300).contains(&answer.status), "{line:?}: {} {}", answer.status, answer.json);
    super::answered();
    Some(answer)
}

//! The mock's own paths: truth log and connection counts.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::plan::{Plan, head};
use super::request::Request;
use super::truth::Truth;

/// What all workers of one process share.
#[derive(Default)]
pub(crate) struct Shared {
    /// The truth log, when one is kept.
    pub(crate) truth: Option<Truth>,
    /// Connections open now.
    pub(crate) open: AtomicI64,
    /// Connections accepted since the start.
    pub(crate) accepted: AtomicU64,
    /// Requests received since the start, without those to our own paths.
    pub(crate) requests: AtomicU64,
}

impl Shared {
    /// Answers `/__truth` and `/__connections`; `None` for all other paths.
    pub(crate) fn plan(&self, request: &Request) -> Option<Plan> {
        match (request.method(), request.path()) {
            ("GET", "/__connections") => Some(reply(200, "application/json", self.connections().as_bytes())),
            ("GET", "/__truth") => Some(self.truth_lines()),
            ("DELETE", "/__truth") => Some(self.clear_truth()),
            (_, "/__truth" | "/__connections") => Some(reply(405, "text/plain", b"wrong method\n")),
            _ => None,
        }
    }

    /// The connection that asks is not counted as open.
    fn connections(&self) -> String {
        let open = self.open.load(Ordering::Relaxed) - 1;
        let accepted = self.accepted.load(Ordering::Relaxed);
        let requests = self.requests.load(Ordering::Relaxed);
        format!("{{\"open\":{open},\"accepted\":{accepted},\"requests\":{requests}}}\n")
    }

    fn truth_lines(&self) -> Plan {
        let Some(truth) = &self.truth else {
            return no_truth();
        };
        match truth.read() {
            Ok((lines, 0)) => reply(200, "application/x-ndjson", &lines),
            Ok((_, dropped)) => reply(507, "text/plain", format!("{dropped} lines did not fit\n").as_bytes()),
            Err(error) => reply(500, "text/plain", format!("{error}\n").as_bytes()),
        }
    }

    fn clear_truth(&self) -> Plan {
        let Some(truth) = &self.truth else {
            return no_truth();
        };
        match truth.clear() {
            Ok(()) => reply(200, "text/plain", b""),
            Err(error) => reply(500, "text/plain", format!("{error}\n").as_bytes()),
        }
    }
}

fn no_truth() -> Plan {
    reply(404, "text/plain", b"no truth log; start with `--truth FILE` or `--truth memory`\n")
}

/// A plain answer with a content length.
pub(crate) fn reply(status: u16, content_type: &str, body: &[u8]) -> Plan {
    let mut bytes = head(status, &format!("content-type: {content_type}\r\ncontent-length: {}\r\n", body.len()));
    bytes.extend_from_slice(body);
    Plan::whole(status, bytes)
}

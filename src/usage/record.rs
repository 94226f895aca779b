//! One row a request: who, what, how long, how much.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::annotations::Annotations;
use crate::base::{Labels, RequestId, TokenCounts, UnixTime};

/// Everything the access log and the bill need to know about one request.
///
/// Holds no key, no header and nothing of a body. What a client itself put on its request
/// is kept apart, in [`Annotations`]. Making one allocates nothing, except for what a client sent: a request id, annotations.
#[derive(Clone)]
pub struct Record {
    /// When the first byte of the request arrived.
    pub at: UnixTime,
    /// Id of the request, as the client saw it.
    pub request_id: RequestId,
    /// W3C trace id; all zero when there is none.
    pub trace_id: [u8; 16],
    /// Who is counted; none when the request failed before a route was known.
    pub labels: Option<Arc<Labels>>,
    /// Generation of the snapshot that served.
    pub generation: u64,
    /// Number of the version of the project's configuration; none in file mode and before a route was known.
    pub config_version: Option<u64>,
    /// Public id of the key, never the key; none when none was accepted.
    pub key_id: Option<Arc<str>>,
    /// Name of the path that was asked, such as `chat`.
    pub endpoint: &'static str,
    /// Status sent to the client; 0 when the client left before one was sent.
    pub status: u16,
    /// Code of the error table; empty when there was no error.
    pub error_code: &'static str,
    /// From the first byte of the request to the last byte of the answer.
    pub duration: Duration,
    /// From the first byte of the request to the first content; none when there was no content.
    pub ttft: Option<Duration>,
    /// Our own share up to the first byte sent.
    pub overhead: Duration,
    /// Time spent waiting for providers, all attempts together.
    pub upstream_time: Duration,
    /// How many attempts were made.
    pub attempts: u32,
    /// Tokens of the answer.
    pub tokens: TokenCounts,
    /// Bytes received from the client: head and body.
    pub bytes_in: u64,
    /// Bytes sent to the client: head and body.
    pub bytes_out: u64,
    /// Address of the client, when it may be logged.
    pub client_ip: Option<IpAddr>,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// Whether the client left before the end.
    pub cancelled: bool,
    /// Whether the tokens were estimated because the provider stated none.
    pub estimated: bool,
    /// Tags and metadata of the client; none when it sent none.
    pub annotations: Option<Box<Annotations>>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plain successful request with this id.
    pub(crate) fn record(id: &str) -> Record {
        Record {
            at: UnixTime(Duration::from_millis(1_700_000_000_125)),
            request_id: RequestId::from_client(id.as_bytes()).unwrap(),
            trace_id: [0; 16],
            labels: None,
            generation: 7,
            config_version: None,
            key_id: None,
            endpoint: "chat",
            status: 200,
            error_code: "",
            duration: Duration::from_micros(1_234_567),
            ttft: None,
            overhead: Duration::from_micros(17),
            upstream_time: Duration::from_micros(1_200_000),
            attempts: 1,
            tokens: TokenCounts::default(),
            bytes_in: 800,
            bytes_out: 600,
            client_ip: None,
            stream: false,
            cancelled: false,
            estimated: false,
            annotations: None,
        }
    }

    #[test]
    fn record_stays_small() {
        assert!(size_of::<Record>() <= 320, "{} bytes", size_of::<Record>());
    }
}

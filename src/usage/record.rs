//! One row a request: who, what, how long, how much.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{
    annotations::Annotations,
    attempt::Attempt,
    decided::{Decided, Details},
    payload::Payload,
    price::PriceMark,
};
use crate::base::{Caller, Charge, Finish, Labels, NanoUsd, RequestId, TokenCounts, UnixTime};

/// Everything the access log and the bill need to know about one request.
///
/// Holds no key and no header, and of a body only what its project wants to be kept, as [`Payload`]. What a client itself put on its request
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
    /// Whose key was accepted; none when none was.
    pub caller: Option<Arc<Caller>>,
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
    /// Each of them, where there were several or the one did not succeed; none where this record tells it.
    pub tried: Option<Box<[Attempt]>>,
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
    /// Whose credential served.
    pub credential: Credential,
    /// Whether the platform's credential had to serve, because the own one was refused.
    pub fallback: bool,
    /// What the request cost; none when the model has no price or nothing was asked of a provider.
    pub cost: Option<NanoUsd>,
    /// By whose price; none when there was none.
    pub price: Option<PriceMark>,
    /// What the gateway takes on top of the cost.
    pub fee: NanoUsd,
    /// Whether the provider's own figures could not be true, so that others were billed.
    pub usage_suspect: bool,
    /// What it added to the durable accounts of limits; none when there are none.
    pub charges: Option<Box<[Charge]>>,
    /// Why the answer ended; known only where it is a row of its own.
    pub finish: Finish,
    /// How it was decided on.
    pub decided: Decided,
    /// Whether it becomes a row of its own whatever happens to it.
    pub is_sampled: bool,
    /// What only its row tells; none where it is no row.
    pub details: Option<Box<Details>>,
    /// Tags and metadata of the client; none when it sent none.
    pub annotations: Option<Box<Annotations>>,
    /// What was said, for a project that keeps it. Never written in clear.
    pub payload: Option<Arc<Payload>>,
}

/// Whose credential paid the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Credential {
    /// No provider was asked.
    #[default]
    None,
    /// One of the project or its organization.
    Own,
    /// One of the gateway's operator, paid from credits.
    Platform,
}

impl Credential {
    /// The word of headers and logs; empty when there was none.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Own => "own",
            Self::Platform => "platform",
        }
    }
}

impl Record {
    /// A record of which only time, id and path are known; everything else is empty.
    #[must_use]
    pub fn begun(at: UnixTime, request_id: RequestId, endpoint: &'static str) -> Self {
        Self {
            at,
            request_id,
            trace_id: [0; 16],
            labels: None,
            generation: 0,
            config_version: None,
            caller: None,
            endpoint,
            status: 0,
            error_code: "",
            duration: Duration::ZERO,
            ttft: None,
            overhead: Duration::ZERO,
            upstream_time: Duration::ZERO,
            attempts: 0,
            tried: None,
            tokens: TokenCounts::default(),
            bytes_in: 0,
            bytes_out: 0,
            client_ip: None,
            stream: false,
            cancelled: false,
            estimated: false,
            credential: Credential::None,
            fallback: false,
            cost: None,
            price: None,
            fee: NanoUsd::ZERO,
            usage_suspect: false,
            charges: None,
            finish: Finish::Unknown,
            decided: Decided::default(),
            is_sampled: false,
            details: None,
            annotations: None,
            payload: None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plain successful request with this id.
    pub(crate) fn record(id: &str) -> Record {
        let at = UnixTime(Duration::from_millis(1_700_000_000_125));
        let id = RequestId::from_client(id.as_bytes()).unwrap();
        Record {
            generation: 7,
            status: 200,
            duration: Duration::from_micros(1_234_567),
            overhead: Duration::from_micros(17),
            upstream_time: Duration::from_micros(1_200_000),
            attempts: 1,
            bytes_in: 800,
            bytes_out: 600,
            ..Record::begun(at, id, "chat")
        }
    }

    #[test]
    fn record_stays_small() {
        assert!(size_of::<Record>() <= 448, "{} bytes", size_of::<Record>());
    }
}

//! HTTP/2 inside TLS: a stream becomes a request of HTTP/1.1.
//!
//! Pingora's proxy, with the defaults that are dangerous replaced (threat T-06): there is one attempt, no upgrade, no pool,
//! no cache, no compression. The limits of a connection are in `streams.rs`. A connection to a worker carries one request and is closed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora_core::{
    Error, ErrorSource, ErrorType, Result,
    connectors::l4::Connect,
    protocols::{
        http::ServerSession,
        l4::{socket::SocketAddr as PeerAddress, stream::Stream as Transport},
    },
    server::configuration::ServerConf,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, Session};
use tokio::time::sleep;

use crate::{
    base::{RequestId, unix_time},
    http::Preamble,
    wire::{ErrorCase, write_error_body},
};

use super::{
    hop::{CONNECT_TIMEOUT, Hop},
    plan::Limits,
};

/// Time between the last bytes of an answer that broke off and the reset of its stream.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// A file without certificates. Pingora prepares to verify providers, which the edge never connects to: without a file it
/// would read the system's, and panic where one of them is odd.
const NO_ROOTS: &str = "/dev/null";

/// The proxy that turns streams into requests.
pub(super) type Downgrade = HttpProxy<Requests>;

/// Makes the proxy.
pub(super) fn new(hop: Arc<Hop>, limits: Limits) -> Arc<Downgrade> {
    let conf = ServerConf {
        // Pingora counts attempts: one means that nothing is ever repeated.
        max_retries: 1,
        ca_file: Some(NO_ROOTS.to_owned()),
        upstream_keepalive_pool_size: 0,
        ..ServerConf::default()
    };
    Arc::new(HttpProxy::new(Requests { hop, limits }, Arc::new(conf)))
}

/// Answers a `CONNECT`, which no worker would take either.
pub(super) async fn refuse_connect(mut session: ServerSession) {
    let refused = answer(session.req_header(), ErrorCase::MethodNotAllowed, "CONNECT is not served");
    let Ok((mut head, body)) = refused else { return };
    // There is no resource that a method could be allowed on (RFC 9110, section 10.2.1).
    let _ = head.insert_header("allow", "");
    let _ = session.write_error_response(head, body.into()).await;
    let _ = session.finish().await;
}

/// What the proxy asks us about each stream.
pub(super) struct Requests {
    hop: Arc<Hop>,
    limits: Limits,
}

/// The connection to a worker for one stream.
#[derive(Debug)]
struct ForClient {
    hop: Arc<Hop>,
    preamble: Preamble,
}

#[async_trait]
impl Connect for ForClient {
    async fn connect(&self, _: &PeerAddress) -> Result<Transport> {
        let opened = self.hop.connect(&self.preamble).await;
        opened.map(Transport::from).map_err(|error| Error::because(ErrorType::ConnectError, "no worker", error))
    }
}

#[async_trait]
impl ProxyHttp for Requests {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    /// Adds none: Pingora's own default would add compression.
    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, (): &mut Self::CTX) -> Result<()> {
        session.downstream_session.set_write_timeout(Some(self.limits.write_timeout));
        session.downstream_session.set_total_drain_timeout(Some(Duration::from_secs(5)));
        Ok(())
    }

    async fn upstream_peer(&self, session: &mut Session, (): &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let preamble = preamble(session).ok_or_else(|| Error::new(ErrorType::InternalError))?;
        // The name of the hop stands where Pingora wants an address; the connection is made by `ForClient`.
        let mut peer = HttpPeer::new_uds("worker", false, String::new())?;
        peer.options.custom_l4 = Some(Arc::new(ForClient { hop: Arc::clone(&self.hop), preamble }));
        peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.total_connection_timeout = Some(CONNECT_TIMEOUT * 2);
        peer.options.read_timeout = Some(self.limits.worker_silence_max);
        peer.options.write_timeout = Some(self.limits.write_timeout);
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        (): &mut Self::CTX,
    ) -> Result<()> {
        // Neither side keeps the connection: the next request may be another client's (rule E-03).
        request.insert_header("connection", "close")
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, (): &mut Self::CTX) -> FailToProxy {
        let failed = FailToProxy { error_code: 0, can_reuse_downstream: false };
        let Some((case, message)) = refusal(error) else { return failed };
        if session.response_written().is_some() {
            // Nothing can be said any more: the stream is reset, so that it does not look complete. The reset would take
            // with it what is not on the way yet, such as the worker's last event, which says what went wrong.
            sleep(LAST_WORDS).await;
            return failed;
        }
        let Ok((head, body)) = answer(session.req_header(), case, message) else { return failed };
        let _ = session.downstream_session.write_error_response(head, body.into()).await;
        FailToProxy { error_code: case.status(), ..failed }
    }
}

/// Who the client is, from the socket and from TLS.
fn preamble(session: &Session) -> Option<Preamble> {
    let digest = session.downstream_session.digest()?;
    let socket = digest.socket_digest.as_ref()?;
    let client: SocketAddr = *socket.peer_addr()?.as_inet()?;
    let local: SocketAddr = *socket.local_addr()?.as_inet()?;
    let tls_version = digest.ssl_digest.as_ref().map_or_else(String::new, |facts| facts.version.to_string());
    Some(Preamble { client, local, tls_version, alpn: "h2".to_owned() })
}

/// What a client is told; `None` when it is gone.
fn refusal(error: &Error) -> Option<(ErrorCase, &'static str)> {
    let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    match error.esource() {
        ErrorSource::Upstream if timed_out => Some((ErrorCase::UpstreamTimeout, "the request took too long")),
        ErrorSource::Upstream => {
            Some((ErrorCase::Overloaded, "the gateway takes no more requests now; try again later"))
        }
        ErrorSource::Downstream => match error.etype() {
            ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed | ErrorType::H2Error => None,
            _ if timed_out => None,
            _ => Some((ErrorCase::BadHead, "malformed request")),
        },
        ErrorSource::Internal | ErrorSource::Unset => Some((ErrorCase::Internal, "internal error")),
    }
}

/// An error in the shape of all our errors, with the id of the request.
fn answer(request: &RequestHeader, case: ErrorCase, message: &str) -> Result<(ResponseHeader, Vec<u8>)> {
    let named = request.headers.get("x-request-id");
    let id = named.and_then(|value| RequestId::from_client(value.as_bytes()));
    let id = id.unwrap_or_else(|| RequestId::begun(unix_time(), fastrand::u128(..)));
    let mut body = Vec::new();
    write_error_body(case, message, None, &mut body);
    let mut head = ResponseHeader::build(case.status(), Some(4))?;
    head.insert_header("content-type", "application/json")?;
    head.insert_header("content-length", body.len().to_string())?;
    head.insert_header("x-request-id", id.as_str())?;
    if let Some(retry) = case.should_retry() {
        head.insert_header("x-should-retry", if retry { "true" } else { "false" })?;
    }
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorType, source: ErrorSource) -> Box<Error> {
        let mut error = Error::new(kind);
        error.esource = source;
        error
    }

    #[test]
    fn errors_of_the_edge_have_their_case() {
        use {ErrorSource::*, ErrorType::*};
        for (name, kind, source, want) in [
            ("no worker", ConnectError, Upstream, Some(503)),
            ("no worker in time", ConnectTimedout, Upstream, Some(503)),
            ("worker closed", ConnectionClosed, Upstream, Some(503)),
            ("worker silent", ReadTimedout, Upstream, Some(504)),
            ("client gone", ReadError, Downstream, None),
            ("stream reset", H2Error, Downstream, None),
            ("bad head", InvalidHTTPHeader, Downstream, Some(400)),
            ("ours", InternalError, Internal, Some(500)),
        ] {
            let case = refusal(&error(kind, source)).map(|(case, _)| case.status());
            assert_eq!(case, want, "{name}");
        }
    }

    #[test]
    fn proxy_needs_no_certificates_of_the_system() {
        let limits = Limits {
            connections_max: 1,
            connections_per_address_max: 1,
            handshake_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(60),
            worker_silence_max: Duration::from_secs(1),
        };
        // Pingora panics here when it cannot read its file.
        assert_eq!(Arc::strong_count(&new(Hop::new(Vec::new()), limits)), 1);
    }
}

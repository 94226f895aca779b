//! One connection of HTTP/2: its streams, and its end.
//!
//! Pingora reads the requests and carries them. When a connection takes no more of them is decided here, as Pingora knows no
//! limit of requests over HTTP/2, waits for the first bytes without end, and forgets its limits once a drain has begun.

use std::{future::poll_fn, sync::Arc, time::Duration};

use pingora_core::{
    apps::HttpServerApp as _,
    protocols::{
        Digest, Stream,
        http::{
            ServerSession,
            v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake},
        },
    },
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    downgrade::{Downgrade, refuse_connect},
    frames::Counted,
    plan::Limits,
};

const STREAMS_MAX: u32 = 100;
/// Requests of one connection, as over HTTP/1.1 (T-06): then the client is asked to open another.
const REQUESTS_MAX: u32 = 1_000;
/// Malformed requests of one connection, as Pingora's own loop has it.
const MALFORMED_MAX: u32 = 32;
/// Twice what a worker takes, so that it is the worker who refuses too many fields and says why.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Streams that a client may reset before they were taken up (CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 20;
/// Streams that a client may make us reset (CVE-2025-8671).
const RESETS_CAUSED_MAX: usize = 100;
/// Bytes of answers that wait for one client of a stream to read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Time for the last frame of a connection to be on its way.
const FAREWELL: Duration = Duration::from_secs(1);

/// `GOAWAY` without a reproach (RFC 9113, section 7).
const NO_ERROR: u32 = 0;
/// `GOAWAY` to a client that asks for too much.
const ENHANCE_YOUR_CALM: u32 = 11;

/// Serves the streams of a client until it has gone, rests too long, or has asked enough.
pub(super) async fn serve(proxy: &Arc<Downgrade>, stream: Stream, limits: Limits, drain: &watch::Receiver<bool>) {
    let digest = Arc::new(digest(&stream));
    let opening = handshake(Box::new(Counted::new(stream)), Some(options()));
    let Ok(Ok(mut connection)) = timeout(limits.handshake_timeout, opening).await else { return };
    let mut draining = drain.clone();
    let (mut requests, mut malformed, mut leaving) = (0, 0, false);
    let mut open = JoinSet::new();
    let reason = loop {
        tokio::select! {
            biased;
            // The sender goes only with the process.
            _ = draining.wait_for(|drain| *drain), if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
            }
            Some(_) = open.join_next() => {}
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    requests += 1;
                    if requests > REQUESTS_MAX + STREAMS_MAX {
                        // Told to leave, it went on.
                        break ENHANCE_YOUR_CALM;
                    }
                    if requests >= REQUESTS_MAX && !leaving {
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                    open.spawn(request(Arc::clone(proxy), session, drain.clone()));
                }
                Ok(Some(H2Accept::Rejected)) => {
                    malformed += 1;
                    if malformed >= MALFORMED_MAX {
                        break ENHANCE_YOUR_CALM;
                    }
                }
                Ok(None) | Err(_) => return,
            },
            () = sleep(limits.idle_timeout), if open.is_empty() => break NO_ERROR,
        }
    };
    connection.abrupt_shutdown(reason.into());
    let _ = timeout(FAREWELL, poll_fn(|cx| connection.poll_closed(cx))).await;
}

async fn request(proxy: Arc<Downgrade>, session: HttpSession, drain: watch::Receiver<bool>) {
    let connect = session.req_header().method.as_str() == "CONNECT";
    let session = ServerSession::new_http2(session);
    if connect {
        refuse_connect(session).await;
        return;
    }
    proxy.process_new_http(session, &drain).await;
}

fn digest(stream: &Stream) -> Digest {
    Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    }
}

fn options() -> H2Options {
    // The safe set first: options made from scratch have no bounds (CVE-2026-105297).
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(Some(RESETS_CAUSED_MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    options
}

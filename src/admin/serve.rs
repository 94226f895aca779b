//! Accepts connections of operators and scrapers, with bounds.
//!
//! Not `axum::serve`: that has no limit on connections and no deadline for a request's head.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::rest::PeerAddress;
use super::routes::{LocalAddress, router};
use super::state::AdminState;
use crate::base::{log, now};

/// Connections at the same time; more wait in the listener's backlog.
pub(super) const CONNECTIONS_MAX: usize = 128;
/// Time a connection has for the head of its next request, idle time included.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(30);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Time that open answers have after the shutdown began.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the workers' busy share is measured.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// Serves until `shutdown` becomes true or its sender goes, then lets open answers finish for up to 5 seconds.
///
/// Runs on a tokio runtime with time and I/O. Connections above 128 wait; a request's head has 30 s and 16 KiB.
///
/// # Errors
/// When the listener is not usable.
pub async fn serve(listener: TcpListener, state: AdminState, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
    listener.local_addr()?;
    let state = Arc::new(state);
    let router = router(Arc::clone(&state));
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut samples = interval(SAMPLE_PERIOD);
    let for_connections = shutdown.clone();
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            _ = samples.tick() => state.registry.sample(now()),
            Some(_) = connections.join_next() => {}
            stream = accept(&listener, &permits) => {
                let (stream, permit) = stream;
                let (router, shutdown) = (router.clone(), for_connections.clone());
                connections.spawn(async move {
                    answer(stream, router, shutdown).await;
                    drop(permit);
                });
            }
        }
    }
    drop(listener);
    let drained = timeout(DRAIN_MAX, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        log::emit(log::Level::Warn, "admin connections were cut at shutdown", &[]);
    }
    Ok(())
}

/// Waits for a free place, then for a connection.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    loop {
        // The semaphore is never closed, so there is always a permit.
        let permit = Arc::clone(permits).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                let text = error.to_string();
                log::emit(log::Level::Error, "admin listener cannot accept", &[("error", log::Value::Text(&text))]);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it ends or the shutdown lets it.
async fn answer(stream: TcpStream, router: Router, mut shutdown: watch::Receiver<bool>) {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
        return;
    };
    let _ = stream.set_nodelay(true);
    let local: IpAddr = local.ip();
    let service = router.layer(Extension(LocalAddress(local))).layer(Extension(PeerAddress(peer.ip())));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    // What a client breaks is its own business; there is nothing to report.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

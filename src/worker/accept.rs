//! Taking connections, and giving some to a less loaded worker.
//!
//! With few clients the kernel may put all connections on one worker's socket. A connection is handed over when the
//! difference to the least loaded worker is [`SPREAD_MIN`] or more.

use std::{
    io,
    net::SocketAddr,
    os::{fd::{FromRawFd as _, IntoRawFd as _}, unix::net::UnixDatagram},
    rc::Rc,
    sync::atomic::Ordering,
    time::Duration,
};

use monoio::net::{TcpListener, TcpStream};

use crate::{proxy::Context, shared::Door};

use super::connection;

/// Difference in open connections from which on one is handed over.
const SPREAD_MIN: u32 = 2;
/// First and longest pause after a failed accept.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Accepts until the drain begins.
pub async fn run(context: Rc<Context>, listener: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        context.shared.stop();
        return;
    };
    let mut pause = BACKOFF_MIN;
    while !context.shared.is_draining() {
        let accepted = monoio::select! {
            accepted = listener.accept() => accepted,
            () = drained(&context) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = BACKOFF_MIN;
                context.block.accepted.inc();
                admit(&context, stream, peer);
            }
            Err(error) if is_transient(&error) => {}
            Err(_) => {
                // No descriptors or memory: the connections at work go on, and free some.
                monoio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
    }
}

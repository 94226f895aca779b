//! Accepts clients of the edge, within limits, until a drain.
//!
//! Not Pingora's own listener: that has no limit on connections, sleeps a second when descriptors run out, and panics on
//! settings that it does not like.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use super::{
    addresses::Addresses,
    connection::{Acceptor, Client},
    plan::Plan,
};

/// Pause after an accept that failed, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the drain begins, then waits for the clients.
///
/// # Errors
/// When the listener or the settings of TLS are not usable.
pub(super) async fn run(plan: Plan) -> io::Result<()> {
    let Plan { listener, limits, mut drain, ended, .. } = plan;
    let listener = TcpListener::from_std(listener)?;
    let acceptor = Arc::new(Acceptor::new(plan.certificates, plan.sockets, limits, drain.clone())?);
    let addresses = Addresses::new(limits.connections_per_address_max);
    let connections_max = usize::try_from(limits.connections_max).unwrap_or(usize::MAX);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // The sender goes only with the process.
            _ = drain.wait_for(|drain| *drain) => break,
            Some(_) = connections.join_next() => {}
            (stream, peer) = accept(&listener) => {
                if connections.len() >= connections_max {
                    continue;
                }
                let Some(seat) = addresses.enter(peer.ip()) else { continue };
                let acceptor = Arc::clone(&acceptor);
                connections.spawn(async move {
                    acceptor.serve(Client { stream, peer }).await;
                    drop(seat);
                });
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    let _ = ended.send(());
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

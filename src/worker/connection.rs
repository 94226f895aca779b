//! The task of one client connection: request after request.

use std::{net::SocketAddr, pin::pin};

use crate::{
    http::{Downstream, Socket},
    proxy::{After, caught, serve},
};

use super::accept::Counted;

/// Serves a connection until it ends. A panic ends this connection and nothing else: [`serve`] answers what it can, and
/// what it cannot ends here.
pub(super) async fn run(counted: Counted, socket: Socket, peer: SocketAddr) {
    let context = &counted.context;
    let down = Downstream::new(socket, peer, context.shared.settings.downstream);
    if caught(pin!(serve_all(&counted, down))).await.is_err() {
        context.block.panics.inc();
    }
}

async fn serve_all(counted: &Counted, mut down: Downstream) {
    let context = &counted.context;
    let mut left = context.shared.settings.keepalive_requests;
    loop {
        left = left.saturating_sub(1);
        match serve(context, &mut down, left > 0).await {
            After::KeepAlive if !context.shared.is_draining() => {}
            After::KeepAlive | After::Close => return,
            After::Linger => return down.linger().await,
        }
    }
}

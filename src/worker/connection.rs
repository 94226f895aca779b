//! The task of one client connection: request after request.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use crate::{
    http::{Downstream, Socket},
    proxy::{After, serve},
};

use super::accept::Counted;

/// Serves a connection until it ends. A panic ends this connection and nothing else.
pub(super) async fn run(counted: Counted, socket: Socket, peer: SocketAddr) {
    let context = &counted.context;
    let down = Downstream::new(socket, peer, context.shared.settings.downstream);
    let mut requests = pin!(serve_all(&counted, down));
    let ended = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| requests.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(_) => Poll::Ready(Err(())),
    })
    .await;
    if ended.is_err() {
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

//! A connection to a target: pooled, or a fresh one.

use std::{net::SocketAddr, pin::pin, time::Duration};

use crate::{
    http::{Cut, Downstream, Socket, Stream, TlsStream, Upstream, timeout},
    metrics::Outcome,
    snapshot::{HttpTarget, Target},
    upstream::{Connection, OriginId},
    wire::ErrorCase,
};

use super::{
    attempt::{Failure, failure},
    context::Context,
    reply::Refusal,
};

/// Returns a live connection. With `fresh_only` the pool is not asked.
///
/// # Errors
/// [`Failure`]: no address, no connection in time, or the client left meanwhile.
pub(super) async fn connect(
    context: &Context,
    down: &mut Downstream,
    (target, http): (&Target, &HttpTarget),
    (left, fresh_only): (Duration, bool),
) -> Result<Box<Connection>, Failure> {
    let origin = &http.origin;
    if !fresh_only && let Some(connection) = pooled(context, origin.id()) {
        context.block.upstream_reused.inc();
        return Ok(connection);
    }
    let Some(address) = origin.addresses().pick(context.next_turn()) else {
        return Err(refuse(Outcome::Connect, ErrorCase::UpstreamError, "the provider's name has no usable address"));
    };
    // Connecting is rare, so it may cost a timer of its own, finer than the connection's deadline.
    // And a place on the heap: in the connection's task it would make every task larger.
    let opening = Box::pin(timeout(target.timeouts.connect.min(left), open(context, http, address)));
    down.deadline.set(left);
    let deadline = down.deadline.handle();
    match deadline.guard(pin!(down.unless_gone(opening))).await {
        Ok(Err(_)) => Err(Failure::ClientGone),
        Err(_) => Err(failure(context, Cut::TimedOut, false)),
        Ok(Ok(Err(_))) => Err(refuse(
            Outcome::Timeout,
            ErrorCase::UpstreamTimeout,
            "no connection to the provider within the connect timeout",
        )),
        Ok(Ok(Ok(Err(_)))) => Err(refuse(Outcome::Connect, ErrorCase::UpstreamError, "no connection to the provider")),
        Ok(Ok(Ok(Ok(stream)))) => {
            context.block.upstream_opened.inc();
            Ok(Box::new(Connection::new(Upstream::new(stream))))
        }
    }
}

/// Takes the first connection of the pool that still lives; the dead ones before it are closed.
fn pooled(context: &Context, origin: OriginId) -> Option<Box<Connection>> {
    loop {
        let connection = context.pools.borrow_mut().take(origin)?;
        if !connection.upstream.is_stale() {
            return Some(connection);
        }
        context.block.upstream_broken.inc();
    }
}

async fn open(context: &Context, http: &HttpTarget, address: SocketAddr) -> std::io::Result<Stream> {
    let socket = Socket::connect(address).await?;
    match &http.server_name {
        None => Ok(Stream::Plain(socket)),
        Some(name) => Ok(Stream::Tls(Box::new(TlsStream::connect(&context.tls, socket, name).await?))),
    }
}

fn refuse(outcome: Outcome, case: ErrorCase, message: &'static str) -> Failure {
    Failure::Target(outcome, Refusal::new(case, message))
}

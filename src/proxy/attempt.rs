//! One try of one target, up to the head of its answer.

use std::{ops::Range, time::Duration};

use crate::{
    base::{Decimal, now, yield_now},
    http::{Buffer, Cut, Downstream, Part, ResponseHead},
    metrics::Outcome,
    snapshot::{HttpTarget, Target},
    upstream::Connection,
    usage::Phase,
    wire::{Edits, Endpoint, ErrorCase, Form},
};

use super::{connect::connect, context::Context, exchange::Exchange, fault, passed::Passed, reply::Refusal};

/// Bodies up to this size are copied behind the head, so that one plain `send` takes all.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// An answer that has begun.
pub(super) struct Answer {
    /// The connection it comes on.
    pub connection: Box<Connection>,
    /// Its head.
    pub head: ResponseHead,
    /// What is kept of the head.
    pub passed: Passed,
}

/// What ended a request before an answer began.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client left: nobody is there to be answered.
    ClientGone,
    /// The client's own fault; no target was tried.
    Client(Refusal),
    /// The target failed.
    Target(Outcome, Refusal),
}

/// What is sent to a target.
pub(super) struct Outgoing<'a, 'b> {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The form that the body is, whose type differs from request to request.
    pub form: Option<&'a Form>,
    /// Changes to the client's body.
    pub edits: &'a Edits<'b>,
    /// Where the client's body stands in its input.
    pub body: Range<usize>,
    /// Where the client's `tracestate` stands, if its trace is continued.
    pub tracestate: Option<Part>,
    /// Time for all attempts together, from the arrival of the request.
    pub total: Duration,
}

/// Sends the request to a target and waits for the head of the answer.
///
/// A pooled connection may have been closed by the provider at the very moment we used it: if it died before any byte of
/// an answer, the request is sent once more on a fresh connection.
///
/// # Errors
/// [`Failure`].
pub(super) async fn attempt(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (target, http): (&Target, &HttpTarget),
    outgoing: &Outgoing<'_, '_>,
) -> Result<Answer, Failure> {
    let started = now();
    down.begin_wait(started);
    exchange.begin_attempt(started);
    let (mut fresh_only, mut at) = (false, started);
    let result = loop {
        let left = outgoing.total.saturating_sub(at.saturating_duration_since(exchange.received_at()));
        if left.is_zero() {
            break Err(failure(exchange.context, Cut::TimedOut, false));
        }
        // Before a connection is looked at, not between the look and the send.
        yield_now().await;
        let mut connection = match connect(exchange.context, down, (target, http), (left, fresh_only)).await {
            Ok(connection) => connection,
            Err(failure) => break Err(failure),
        };
        exchange.lap(Phase::Connect);
        fault::point(exchange, "attempt");
        exchange.is_sent = true;
        down.deadline.set(target.timeouts.first_byte.min(left));
        match exchange_heads(exchange, down, &mut connection, (http, outgoing)).await {
            Ok((head, passed)) => {
                exchange.tried.status = head.status;
                break Ok(Answer { connection, head, passed });
            }
            Err(cut) => {
                if !matches!(cut, Cut::ClientGone | Cut::TimedOut) {
                    exchange.context.block.upstream_broken.inc();
                }
                let dead = matches!(cut, Cut::Closed { .. }) && connection.upstream.received() == 0;
                if dead && connection.reused && !fresh_only {
                    fresh_only = true;
                    at = now();
                    exchange.resend(at);
                    continue;
                }
                break Err(failure(exchange.context, cut, connection.upstream.received() > 0));
            }
        }
    };
    let answered = now();
    exchange.lap(Phase::Upstream);
    exchange.upstream_wait += answered.saturating_duration_since(started);
    exchange.answered = answered;
    result
}

async fn exchange_heads(
    exchange: &Exchange<'_>,
    down: &mut Downstream,
    connection: &mut Connection,
    (http, outgoing): (&HttpTarget, &Outgoing<'_, '_>),
) -> Result<(ResponseHead, Passed), Cut> {
    let sent = send(exchange, down, connection, (http, outgoing)).await;
    // A provider may refuse a request before it has read all of it: its answer counts, not our broken send.
    if let Err(cut @ (Cut::TimedOut | Cut::ClientGone)) = sent {
        return Err(cut);
    }
    let mut passed = Passed::default();
    let keep = if outgoing.form.is_some() { Passed::with_type } else { Passed::of };
    let head = connection.upstream.read_head(down, |bytes, head| passed = keep(bytes, head)).await?;
    Ok((head, passed))
}

async fn send(
    exchange: &Exchange<'_>,
    down: &Downstream,
    connection: &mut Connection,
    (http, outgoing): (&HttpTarget, &Outgoing<'_, '_>),
) -> Result<(), Cut> {
    let mut out = Buffer::default();
    out.extend(http.head(outgoing.endpoint));
    if let Some(form) = outgoing.form {
        out.extend(b"content-type: ");
        form.form_type.pieces().iter().for_each(|piece| out.extend(piece));
        out.extend(b"\r\n");
    }
    out.extend(b"x-request-id: ");
    out.extend(exchange.request_id.as_bytes());
    out.extend(b"\r\ntraceparent: ");
    out.extend(exchange.trace.value());
    if let Some(tracestate) = outgoing.tracestate.map(|part| part.of(down.input())) {
        out.extend(b"\r\ntracestate: ");
        out.extend(tracestate);
    }
    let body = down.input().get(outgoing.body.clone()).unwrap_or_default();
    out.extend(b"\r\ncontent-length: ");
    let body_bytes = outgoing.edits.body_bytes(body.len());
    out.extend(Decimal::new(u64::try_from(body_bytes).unwrap_or(u64::MAX)).as_bytes());
    out.extend(b"\r\n\r\n");
    if body_bytes <= COPY_BYTES_MAX {
        outgoing.edits.pieces(body).for_each(|piece| out.extend(piece));
        return connection.upstream.send(&[out.filled()], down).await;
    }
    let mut pieces: smallvec::SmallVec<[&[u8]; 8]> = smallvec::smallvec![out.filled()];
    pieces.extend(outgoing.edits.pieces(body));
    connection.upstream.send(&pieces, down).await
}

/// Says what a broken exchange means for the client. `answered` tells whether any byte of an answer had come.
pub(super) fn failure(context: &Context, cut: Cut, answered: bool) -> Failure {
    let (outcome, case, message) = match cut {
        Cut::ClientGone => return Failure::ClientGone,
        Cut::TimedOut if context.shared.is_stopping() => {
            (Outcome::Cancelled, ErrorCase::Overloaded, "the gateway is shutting down; please try again")
        }
        Cut::TimedOut => (Outcome::Timeout, ErrorCase::UpstreamTimeout, "the provider did not answer in time"),
        Cut::Closed { .. } if answered => {
            (Outcome::Truncated, ErrorCase::UpstreamError, "the provider closed the connection inside its answer")
        }
        Cut::Closed { .. } => {
            (Outcome::Reset, ErrorCase::UpstreamError, "the provider closed the connection before it answered")
        }
        Cut::Head(_) | Cut::HeadTooLarge | Cut::Framing => {
            (Outcome::Invalid, ErrorCase::UpstreamError, "the provider's answer is not valid HTTP")
        }
        Cut::BodyTooLarge => (Outcome::Invalid, ErrorCase::UpstreamError, "the provider's answer is too large"),
    };
    let mut refusal = Refusal::new(case, message);
    refusal.retry_after = (case == ErrorCase::Overloaded).then_some(Duration::from_secs(1));
    Failure::Target(outcome, refusal)
}

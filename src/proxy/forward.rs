//! From a known target to a relayed answer.

use std::{sync::Arc, time::Duration};

use crate::{
    base::now,
    http::{Downstream, RequestHead},
    snapshot::{Reach, Target},
    wire::{Edits, Endpoint, ErrorCase, RequestView},
};

use super::{
    attempt::{Answer, Failure, Outgoing, attempt},
    exchange::Exchange,
    mock::answer_mock,
    outlet::Outlet,
    relay::{is_stream, relay_whole},
    reply::{After, Refusal},
    stream::{Plan, relay_stream},
};

/// The request in hand.
pub struct Request<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// What it asks.
    pub endpoint: Endpoint,
    /// What its body says.
    pub view: &'a RequestView,
    /// Length of its body.
    pub body_len: usize,
}

/// Sends the request to its target and relays the answer. The request is taken from the client's input in any case.
///
/// # Errors
/// [`Failure`] if the client was sent nothing.
pub async fn forward(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    target: &Arc<Target>,
    request: &Request<'_>,
    after: After,
) -> Result<After, Failure> {
    let http = match &target.reach {
        Reach::Http(http) => http,
        Reach::Mock(mock) => {
            let body = down.input().get(request.head.len..request.head.len + request.body_len);
            let body = body.unwrap_or_default().to_vec();
            down.finish_request(request.head, request.body_len);
            let asked = (request.endpoint, request.view, body.as_slice());
            return answer_mock(exchange, down, mock, asked, (request.head.is_1_1, after)).await;
        }
    };
    let total = total_time(target, request, down);
    let answer = send(exchange, down, (target, http), request, total).await;
    // From here on nothing is sent again: the body's memory goes back before the answer is relayed.
    down.finish_request(request.head, request.body_len);
    let mut answer = answer?;
    let left = total.saturating_sub(now().saturating_duration_since(exchange.received_at()));
    let relayed = if is_stream(exchange, &answer)? {
        let plan = Plan {
            endpoint: request.endpoint,
            hide_usage: request.hides_usage,
            idle: target.timeouts.idle,
            total_until: now() + left,
        };
        let passed = std::mem::take(&mut answer.passed);
        let mut outlet = Outlet::new(request.head.is_1_1, after, passed);
        relay_stream(exchange, down, &mut answer, &plan, &mut outlet).await?
    } else {
        down.deadline.set(left);
        match relay_whole(exchange, down, &mut answer, request.endpoint, after).await? {
            Ok(()) => after,
            Err(_) => After::Close,
        }
    };
    pool(exchange, http, answer);
    Ok(relayed)
}

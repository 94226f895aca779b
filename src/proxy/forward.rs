//! From a known target to a relayed answer.

use std::{sync::Arc, time::Duration};

use crate::{
    http::{Downstream, RequestHead},
    snapshot::{Reach, Target},
    wire::{CapText, Edits, Endpoint, ErrorCase, RequestView},
};

use super::{
    attempt::{Failure, Outgoing, attempt},
    exchange::Exchange,
    mock::answer_mock,
    outlet::Outlet,
    relay::{is_stream, relay_whole},
    reply::{After, Refusal},
    stream::{Plan, relay_stream},
};

/// The request in hand.
pub(super) struct Request<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// What it asks.
    pub endpoint: Endpoint,
    /// What its body says.
    pub view: &'a RequestView,
    /// Length of its body.
    pub body_len: usize,
    /// Most tokens of one answer, where the provider must be told.
    pub cap: Option<(u64, CapText)>,
}

/// Sends the request to its target and relays the answer. The request is taken from the client's input, unless the
/// failure is the client's own.
///
/// # Errors
/// [`Failure`] if the client was sent nothing.
pub(super) async fn forward(
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
            // On the heap, since few requests come here and every connection's task would hold its room.
            return Box::pin(answer_mock(exchange, down, mock, asked, (request.head.is_1_1, after))).await;
        }
    };
    let body = down.input().get(request.head.len..request.head.len + request.body_len).unwrap_or_default();
    let chunked_wire = matches!(request.endpoint, Endpoint::Chat | Endpoint::Completions);
    let asks_usage = request.view.stream && chunked_wire && target.asks_usage;
    let hide_usage = asks_usage && !request.view.wants_usage(body);
    exchange.is_capped = request.cap.is_some();
    let edits = edits(target, request, body, hide_usage);
    let total = total_time(target, down, request.head)?;
    let outgoing = Outgoing {
        endpoint: request.endpoint,
        edits: &edits,
        body: request.head.len..request.head.len + request.body_len,
        tracestate: request.head.tracestate.filter(|_| exchange.trace.is_continued()),
        total,
    };
    let answer = attempt(exchange, down, (target, http), &outgoing).await;
    // From here on nothing is sent again: the body's memory goes back before the answer is relayed.
    down.finish_request(request.head, request.body_len);
    let mut answer = answer?;
    let left = total.saturating_sub(exchange.answered.saturating_duration_since(exchange.received_at()));
    let relayed = if is_stream(exchange, &answer)? {
        let plan = Plan {
            endpoint: request.endpoint,
            hide_usage,
            idle: target.timeouts.idle,
            total_until: exchange.answered + left,
        };
        let mut outlet = Outlet::new(request.head.is_1_1, after, std::mem::take(&mut answer.passed));
        relay_stream(exchange, down, &mut answer, &plan, &mut outlet).await?
    } else {
        down.deadline.set(left.min(target.timeouts.idle));
        let until = exchange.answered + left;
        match relay_whole(exchange, down, &mut answer, request.endpoint, (until, after)).await? {
            Ok(()) => after,
            Err(_) => {
                exchange.cancelled = true;
                After::Close
            }
        }
    };
    if answer.connection.upstream.is_reusable() {
        exchange.context.pools.borrow_mut().give(http.origin.id(), answer.connection, exchange.latest());
    }
    Ok(relayed)
}

/// What is changed in the client's body; everything else goes out as the same bytes.
fn edits<'a>(target: &'a Target, request: &'a Request<'_>, body: &[u8], ask_usage: bool) -> Edits<'a> {
    let mut edits = Edits::new();
    edits.set_model(request.view, &target.model_json);
    if let Some((tokens, text)) = &request.cap {
        edits.cap_output(request.endpoint, (request.view, body), (*tokens, text));
    }
    if ask_usage {
        edits.ask_for_usage(request.view, body);
    }
    if !target.defaults.is_empty() {
        edits.add_defaults(request.view, body, &target.defaults);
    }
    if let Some(prompt) = &target.prompt {
        edits.add_prompt(request.endpoint, request.view, body, prompt);
    }
    edits
}

/// Time for everything together: the target's, or less if the client asks for less by `x-millrace-timeout-ms`.
fn total_time(target: &Target, down: &Downstream, head: &RequestHead) -> Result<Duration, Failure> {
    let total = target.timeouts.total;
    let Some(value) = head.timeout_ms.map(|part| part.of(down.input())) else {
        return Ok(total);
    };
    let wanted = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u32>().ok()).filter(|ms| *ms > 0);
    match wanted {
        Some(ms) => Ok(total.min(Duration::from_millis(u64::from(ms)))),
        None => Err(Failure::Client(Refusal::new(
            ErrorCase::BadField,
            "`x-millrace-timeout-ms` must be a whole number of milliseconds, 1 or more",
        ))),
    }
}

//! From a known target to a relayed answer.

use std::{sync::Arc, time::Duration};

use crate::{
    http::{Downstream, RequestHead},
    metrics::Outcome,
    snapshot::{HttpTarget, Paid, Reach, Target},
    usage::{Credential, CredentialAs},
    wire::{CapText, Edits, Endpoint, ErrorCase, RequestView},
};

use super::{
    admit::{Admitted, Asked, admit_paid},
    attempt::{Answer, Failure, Outgoing, attempt},
    exchange::Exchange,
    mock::answer_mock,
    outlet::Outlet,
    relay::{is_stream, relay_whole},
    reply::{After, Refusal},
    stream::{Plan, relay_stream},
    told::credential_as,
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
    if exchange.is_captured {
        let body = down.input().get(request.head.len..request.head.len + request.body_len).unwrap_or_default();
        match &request.view.form {
            None => exchange.capture_request(body),
            // On the heap, since few requests come here.
            Some(form) => Box::pin(exchange.capture_form(form, body)).await,
        }
    }
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
    let total = total_time(target, down, request.head)?;
    exchange.credential = target.credential();
    exchange.decided.credential = credential_as(target);
    let mut http = http;
    let mut answered = send(exchange, down, (target, http), request, (hide_usage, total)).await;
    let is_refused = answered.as_ref().is_ok_and(|answer| matches!(answer.head.status, 401 | 403));
    if is_refused && let Some((paid, way)) = paid_instead(exchange, target, down, request.head) {
        exchange.count_attempt(Outcome::Auth);
        // The refusal's connection goes with it: nobody reads the rest.
        drop(answered);
        http = way;
        // On the heap, since few requests come here.
        answered = Box::pin(send_paid(exchange, down, (target, paid, way), request, (hide_usage, total))).await;
        if matches!(answered, Err(Failure::Client(_))) {
            return Err(answered.err().unwrap_or(Failure::ClientGone));
        }
    }
    // From here on nothing is sent again: the body's memory goes back before the answer is relayed.
    down.finish_request(request.head, request.body_len);
    let mut answer = answered?;
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

/// The platform's way, if it may serve after the own key was refused.
fn paid_instead<'a>(
    exchange: &mut Exchange<'_>,
    target: &'a Target,
    down: &Downstream,
    head: &RequestHead,
) -> Option<(&'a Paid, &'a HttpTarget)> {
    let paid = target.paid.as_ref()?;
    let way = paid.instead.as_ref()?;
    if head.no_fallback.is_some_and(|part| part.of(down.input()) == b"true") {
        exchange.decided.credential = CredentialAs::FallbackForbidden;
        return None;
    }
    exchange.decided.credential = CredentialAs::OwnRefused;
    Some((paid, way))
}

/// Sends the request with the platform's credential, once its cost is taken from the credits.
async fn send_paid(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (target, paid, way): (&Target, &Paid, &HttpTarget),
    request: &Request<'_>,
    (hide_usage, total): (bool, Duration),
) -> Result<Answer, Failure> {
    let Request { head, endpoint, view, body_len, .. } = *request;
    let asked = Asked { endpoint, view, body_len, body_at: head.len };
    let Admitted { cap } = admit_paid(exchange, down, (target, paid), &asked).await?;
    (exchange.credential, exchange.fallback) = (Credential::Platform, true);
    let request = Request { head, endpoint, view, body_len, cap };
    send(exchange, down, (target, way), &request, (hide_usage, total)).await
}

/// Sends the request as the target takes it.
async fn send(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (target, http): (&Target, &HttpTarget),
    request: &Request<'_>,
    (hide_usage, total): (bool, Duration),
) -> Result<Answer, Failure> {
    let body = down.input().get(request.head.len..request.head.len + request.body_len).unwrap_or_default();
    exchange.is_capped = request.cap.is_some();
    exchange.is_single = request.view.asks_one_answer();
    let edits = edits(target, request, body, hide_usage);
    let outgoing = Outgoing {
        endpoint: request.endpoint,
        form: request.view.form.as_deref(),
        edits: &edits,
        body: request.head.len..request.head.len + request.body_len,
        tracestate: request.head.tracestate.filter(|_| exchange.trace.is_continued()),
        total,
    };
    attempt(exchange, down, (target, http), &outgoing).await
}

/// What is changed in the client's body; everything else goes out as the same bytes.
fn edits<'a>(target: &'a Target, request: &'a Request<'_>, body: &[u8], ask_usage: bool) -> Edits<'a> {
    let mut edits = Edits::new();
    if let Some(form) = &request.view.form {
        edits.set_form_model(form, target.labels.model.as_bytes());
        return edits;
    }
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

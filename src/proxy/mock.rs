//! Requests to the built-in mock provider.

use std::{pin::pin, time::Duration};

use crate::{
    base::{now, unix_time},
    http::{Downstream, Gone, sleep},
    metrics::Outcome,
    provider::{Draw, Mock},
    usage::{Credential, CredentialAs},
    wire::{AnswerFormat, Endpoint, RequestView, StreamErrorAt, tell_cost, view_answer},
};

use super::{
    attempt::Failure,
    caught::caught,
    exchange::Exchange,
    fault,
    outlet::Outlet,
    passed::Passed,
    reply::{After, Local, send_local},
    stream::outdated,
};

/// Answers a request from the mock provider.
///
/// # Errors
/// [`Failure::ClientGone`].
pub(super) async fn answer_mock(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    mock: &Mock,
    request: (Endpoint, &RequestView, &[u8]),
    (is_1_1, after): (bool, After),
) -> Result<After, Failure> {
    let (endpoint, view, body) = request;
    let draw = Draw {
        id: u64::try_from(exchange.context.random() >> 64).unwrap_or(0),
        created: unix_time().seconds(),
        request_bytes: body.len(),
        audio_seconds: exchange.heard.map_or(0, |heard| heard.length.millis.div_ceil(1_000)),
    };
    let wants_usage = view.wants_usage(body);
    exchange.begin_attempt(now());
    exchange.credential = Credential::Own;
    exchange.decided.credential = CredentialAs::OnlyOwn;
    pause(exchange, down, mock.latency()).await?;
    exchange.upstream_wait += mock.latency();
    let is_text = exchange.heard.is_some_and(|heard| heard.format == AnswerFormat::Text) && !view.stream;
    let whole = if is_text { mock.plain_transcript() } else { mock.answer(endpoint, draw) };
    let stated = view_answer(endpoint, &whole).ok();
    let usage = stated.and_then(|view| view.usage);
    match exchange.heard {
        Some(_) => {
            let said_bytes = || u64::try_from(whole.len()).unwrap_or(u64::MAX);
            exchange.account_heard((usage, stated.and_then(|view| view.audio_millis)), said_bytes);
        }
        None => exchange.tokens = usage.unwrap_or_default(),
    }
    exchange.note_finish(endpoint, &whole);
    if !view.stream {
        exchange.price();
        exchange.count_attempt(Outcome::Success);
        exchange.content_seen(now());
        let content_type = if is_text { "text/plain; charset=utf-8" } else { "application/json" };
        let local = Local { status: 200, content_type, body: &whole, fields: b"" };
        send_local(exchange, down, &local, after).await.map_err(|_| Failure::ClientGone)?;
        return Ok(after);
    }
    let mut outlet = Outlet::new(is_1_1, after, Passed::default());
    let mut stream = mock.stream(endpoint, draw, wants_usage);
    exchange.price();
    if let Some(cost) = exchange.cost {
        for event in &mut stream.events {
            let told = tell_cost(endpoint, event, (cost, exchange.fee));
            *event = told.unwrap_or_else(|| std::mem::take(event));
        }
    }
    exchange.context.block.open_streams.inc();
    down.deadline.bind(exchange.tenure());
    let sent = caught(pin!(send_events(exchange, down, (&stream.events, stream.delay), &mut outlet))).await;
    down.deadline.bind(None);
    exchange.context.block.open_streams.dec();
    match sent {
        // Our own event can only follow what has begun; the first is sent without a pause.
        Ok(Err(Failure::Target(outcome, refusal))) => {
            exchange.context.block.outdated_streams.inc();
            exchange.count_attempt(outcome);
            exchange.error = refusal.case.label();
            outlet.fail(exchange, down, endpoint, (&refusal, StreamErrorAt::default())).await;
            return Ok(After::Linger);
        }
        Ok(sent) => sent?,
        Err(panicked) => outlet.fail_for(panicked, exchange, down, (endpoint, StreamErrorAt::default())).await,
    }
    exchange.count_attempt(Outcome::Success);
    Ok(outlet.after())
}

async fn send_events(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (events, delay): (&[Vec<u8>], Duration),
    outlet: &mut Outlet,
) -> Result<(), Failure> {
    let gone = |_: Gone| Failure::ClientGone;
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            pause(exchange, down, delay).await?;
        }
        outlet.send_own(exchange, down, event).await.map_err(gone)?;
        fault::point(exchange, "event");
        exchange.content_seen(now());
    }
    outlet.send_last(exchange, down).await.map_err(gone)
}

/// Waits, unless the client leaves, or the grace time of a drain or of the configuration ends.
async fn pause(exchange: &Exchange<'_>, down: &mut Downstream, wait: Duration) -> Result<(), Failure> {
    if wait.is_zero() {
        return Ok(());
    }
    down.deadline.set(wait + Duration::from_secs(3600));
    let deadline = down.deadline.handle();
    let sleep = Box::pin(sleep(wait));
    let either = pin!(down.unless_gone(sleep));
    match deadline.guard(either).await {
        Ok(Ok(())) => Ok(()),
        Err(_) if !exchange.must_end() => Ok(()),
        Err(_) if !exchange.context.shared.is_stopping() => Err(Failure::Target(Outcome::Cancelled, outdated())),
        _ => Err(Failure::ClientGone),
    }
}

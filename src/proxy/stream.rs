//! Streams: events relayed as they come, ended honestly.
//!
//! Only whole events go out, in the memory they were read into. The head is sent with the first event, so until then a
//! failing provider still gives a clean error answer. After that a broken stream ends with the wire's error event and a
//! closed connection, never with an end marker that the provider did not earn.

use std::{ops::ControlFlow, pin::pin, time::Duration};

use crate::{
    base::{Instant, now},
    http::{CHUNK_END, Cut, Downstream, Gone},
    metrics::Outcome,
    wire::{Action, End, Endpoint, ErrorCase, Meaning, Splitter, SseError, StreamWatch},
};

use super::{
    attempt::{Answer, Failure, failure},
    caught::caught,
    exchange::Exchange,
    fault,
    outlet::Outlet,
    overrun::{bound_of, drain_stream, go_on},
    reply::{After, Refusal},
};

/// Silence after which we send a comment, so that proxies between us and the client do not give up.
const COMMENT_AFTER: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b": keep-alive\n\n";
/// Time for the end of the provider's body after its end marker, so that the connection can be pooled.
const BODY_END_WAIT: Duration = Duration::from_millis(100);
const DONE: &[u8] = b"data: [DONE]\n\n";

/// Bounds and facts of one stream.
pub(super) struct Plan {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether we asked for a usage chunk that the client did not want.
    pub hide_usage: bool,
    /// Longest gap between two content events.
    pub idle: Duration,
    /// When all must be over.
    pub total_until: Instant,
}

/// How the relay of events ended.
pub(super) enum Ended {
    /// The provider's body ended, or its end marker was seen.
    Complete,
    /// The client left.
    ClientGone,
    /// It broke.
    Broken(Outcome, Refusal),
}

/// Relays the events of an answer.
///
/// # Errors
/// [`Failure`] if the stream failed before anything was sent.
pub(super) async fn relay_stream(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    plan: &Plan,
    outlet: &mut Outlet,
) -> Result<After, Failure> {
    let mut watch = StreamWatch::new(plan.endpoint, plan.hide_usage);
    if exchange.has_price() {
        watch.tell_usage();
    }
    let block = std::sync::Arc::clone(&exchange.context.block);
    block.open_streams.inc();
    let ended = caught(pin!(relay_to_its_end(exchange, down, answer, (plan, &mut watch), outlet))).await;
    block.open_streams.dec();
    exchange.account(&watch);
    exchange.finish = watch.finish();
    let ended = match ended {
        Ok(ended) => ended,
        // Nothing may follow an end marker.
        Err(panicked) if watch.is_done() => panicked.resume(),
        Err(panicked) => {
            let at = (plan.endpoint, watch.error_at());
            Box::pin(outlet.fail_for(panicked, exchange, down, at)).await
        }
    };
    match ended {
        Ok(Ended::Complete) => Ok(outlet.after()),
        Ok(Ended::ClientGone) | Err(Gone) => {
            if !outlet.is_open() {
                return Err(Failure::ClientGone);
            }
            exchange.cancelled = true;
            exchange.count_attempt(Outcome::Cancelled);
            Ok(After::Close)
        }
        Ok(Ended::Broken(outcome, refusal)) if !outlet.is_open() => Err(Failure::Target(outcome, refusal)),
        Ok(Ended::Broken(outcome, refusal)) => {
            exchange.count_attempt(outcome);
            exchange.error = refusal.case.label();
            let at = watch.error_at();
            Box::pin(outlet.fail(exchange, down, plan.endpoint, (&refusal, at))).await;
            Ok(After::Linger)
        }
    }
}

async fn relay_to_its_end(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    (plan, watch): (&Plan, &mut StreamWatch),
    outlet: &mut Outlet,
) -> Result<Ended, Gone> {
    down.deadline.bind(exchange.tenure());
    let mut splitter = Splitter::new(exchange.context.shared.settings.sse);
    let relayed = relay_events(exchange, down, answer, (plan, watch), (outlet, &mut splitter)).await;
    if matches!(relayed, Err(Gone) | Ok(Ended::ClientGone)) && exchange.drains() {
        Box::pin(drain_stream(exchange, down, answer, (plan, watch), &mut splitter)).await;
    }
    down.deadline.bind(None);
    if exchange.is_outdated() && !matches!(relayed, Ok(Ended::Complete)) {
        exchange.context.block.outdated_streams.inc();
    }
    match relayed? {
        Ended::Complete => Box::pin(finish(exchange, down, answer, (plan, watch), outlet)).await,
        other => Ok(other),
    }
}

/// The loop: read, find events, send them.
async fn relay_events(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    (plan, watch): (&Plan, &mut StreamWatch),
    (outlet, splitter): (&mut Outlet, &mut Splitter),
) -> Result<Ended, Gone> {
    let mut bound = bound_of(exchange);
    let (mut quiet_since, mut messages) = (exchange.answered, 0);
    let mut waiting_since = quiet_since;
    loop {
        let left = plan.idle.saturating_sub(waiting_since.saturating_duration_since(quiet_since));
        let left = left.min(plan.total_until.saturating_duration_since(waiting_since));
        let comment_due = outlet.is_open() && left > COMMENT_AFTER;
        down.deadline.set(if comment_due { COMMENT_AFTER } else { left });
        let read = answer.connection.upstream.read_body(down).await;
        if !outlet.is_open() {
            exchange.upstream_wait += now().saturating_duration_since(waiting_since);
        }
        match read {
            Ok(()) => {}
            Err(Cut::TimedOut) if comment_due && !exchange.must_end() => {
                outlet.send_own(exchange, down, COMMENT).await?;
                waiting_since = now();
                continue;
            }
            Err(Cut::ClientGone) => return Ok(Ended::ClientGone),
            Err(cut) if watch.is_done() => {
                debug_assert_ne!(cut, Cut::ClientGone);
                return Ok(Ended::Complete);
            }
            Err(cut) => return Ok(broken(exchange, cut, watch)),
        }
        let step = take_events(answer, splitter, watch, |watch, event| exchange.tell_cost(watch, event));
        if watch.messages_count() > messages {
            messages = watch.messages_count();
            quiet_since = now();
            waiting_since = quiet_since;
            exchange.content_seen(quiet_since);
        } else {
            waiting_since = now();
        }
        let (count, flow) = step;
        if count > 0 {
            outlet.send_events(exchange, down, answer, (count, CHUNK_END)).await?;
            fault::point(exchange, "event");
        }
        if let Some(most) = bound.filter(|most| watch.content_bytes() > *most) {
            match go_on(exchange, most) {
                Ok(next) => bound = Some(next),
                Err(refusal) => return Ok(Ended::Broken(Outcome::Cancelled, refusal)),
            }
        }
        match flow {
            ControlFlow::Break(ended) => return Ok(ended),
            ControlFlow::Continue(()) if watch.is_done() || answer.connection.upstream.is_ended() => {
                return Ok(Ended::Complete);
            }
            ControlFlow::Continue(()) => {}
        }
    }
}

/// Judges the whole events that have arrived. Returns how many bytes of them are to be sent; what is to be kept back has
/// been cut out. `tell_cost` writes the event with the final usage anew.
pub(super) fn take_events(
    answer: &mut Answer,
    splitter: &mut Splitter,
    watch: &mut StreamWatch,
    mut tell_cost: impl FnMut(&StreamWatch, &[u8]) -> Option<Vec<u8>>,
) -> (usize, ControlFlow<Ended>) {
    let upstream = &mut answer.connection.upstream;
    let mut from = 0;
    loop {
        let end = match splitter.next_event(upstream.body(), from) {
            Ok(Some(end)) => end,
            Ok(None) => return (from, ControlFlow::Continue(())),
            Err(error) => return (from, ControlFlow::Break(too_large(error))),
        };
        let event = upstream.body().get(from..end).unwrap_or_default();
        match watch.observe(event) {
            Action::Pass => from = end,
            Action::PassUsage => match tell_cost(watch, event) {
                Some(told) => {
                    upstream.replace(from..end, &told);
                    from += told.len();
                }
                None => from = end,
            },
            Action::Hide | Action::Drop => upstream.cut_out(from..end),
            Action::Fail(meaning) => return (from, ControlFlow::Break(failed(meaning))),
        }
        if watch.is_done() {
            return (from, ControlFlow::Continue(()));
        }
    }
}

/// Ends a stream whose provider ended: properly, with an added end marker, or as truncated.
async fn finish(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    (plan, watch): (&Plan, &mut StreamWatch),
    outlet: &mut Outlet,
) -> Result<Ended, Gone> {
    if !watch.is_done() && !answer.connection.upstream.body().is_empty() {
        // The provider closed without the blank line that ends an event.
        let tail = answer.connection.upstream.body().to_vec();
        answer.connection.upstream.consume(tail.len());
        match watch.observe_tail(&tail) {
            action @ (Action::Pass | Action::PassUsage) => {
                let event = [&tail, &b"\n\n"[..]].concat();
                let told = (action == Action::PassUsage).then(|| exchange.tell_cost(watch, &event)).flatten();
                outlet.send_own(exchange, down, &told.unwrap_or(event)).await?;
            }
            Action::Hide | Action::Drop => {}
            Action::Fail(meaning) => return Ok(failed(meaning)),
        }
    }
    let mut outcome = Outcome::Success;
    match watch.end() {
        End::Clean => {}
        End::AddDone => outlet.send_own(exchange, down, DONE).await?,
        End::Failed => {
            exchange.error = ErrorCase::UpstreamError.label();
            outcome = Outcome::ServerError;
        }
        End::Truncated => {
            let refusal =
                Refusal::new(ErrorCase::UpstreamError, "the provider ended the stream before it was complete");
            return Ok(Ended::Broken(Outcome::Truncated, refusal));
        }
    }
    if !outlet.is_open() {
        let refusal = Refusal::new(ErrorCase::UpstreamError, "the provider's stream is empty");
        return Ok(Ended::Broken(Outcome::Invalid, refusal));
    }
    outlet.send_last(exchange, down).await?;
    exchange.count_attempt(outcome);
    if plan.endpoint != Endpoint::Responses || watch.is_done() {
        await_body_end(down, answer).await;
    }
    Ok(Ended::Complete)
}

/// Waits briefly for the end of the provider's body, so that the connection can be used again.
async fn await_body_end(down: &mut Downstream, answer: &mut Answer) {
    let upstream = &mut answer.connection.upstream;
    upstream.consume(upstream.body().len());
    down.deadline.set(BODY_END_WAIT);
    while !upstream.is_ended() {
        if upstream.read_body(down).await.is_err() || !upstream.body().is_empty() {
            return;
        }
    }
}

fn broken(exchange: &Exchange<'_>, cut: Cut, watch: &mut StreamWatch) -> Ended {
    if cut == (Cut::Closed { orderly: true }) && matches!(watch.end(), End::AddDone | End::Clean) {
        return Ended::Complete;
    }
    if cut == Cut::TimedOut && exchange.is_outdated() && !exchange.context.shared.is_stopping() {
        return Ended::Broken(Outcome::Cancelled, outdated());
    }
    match failure(exchange.context, cut, true) {
        Failure::ClientGone => Ended::ClientGone,
        Failure::Client(refusal) => Ended::Broken(Outcome::Invalid, refusal),
        Failure::Target(outcome, refusal) => Ended::Broken(outcome, refusal),
    }
}

/// What a client is told whose stream has outlived too many configurations.
pub(super) fn outdated() -> Refusal {
    let message = "the configuration of this stream was replaced too often; please send the request again";
    let mut refusal = Refusal::new(ErrorCase::Overloaded, message);
    refusal.retry_after = Some(Duration::from_secs(1));
    refusal
}

fn failed(meaning: Meaning) -> Ended {
    let (outcome, case, message) = match meaning {
        Meaning::Rate | Meaning::Quota => {
            (Outcome::RateLimited, ErrorCase::UpstreamRateLimited, "the provider reported a rate limit in its stream")
        }
        Meaning::Context => {
            (Outcome::Rejected, ErrorCase::ContextLengthExceeded, "the prompt does not fit the model's context")
        }
        Meaning::Content => (Outcome::Rejected, ErrorCase::ContentFilter, "the provider's filter refused the content"),
        Meaning::Auth => (Outcome::Auth, ErrorCase::UpstreamError, "the provider refused the gateway's credential"),
        Meaning::Transient | Meaning::Invalid => {
            (Outcome::ServerError, ErrorCase::UpstreamError, "the provider reported an error in its stream")
        }
    };
    let mut refusal = Refusal::new(case, message);
    refusal.retry_after = (case == ErrorCase::UpstreamRateLimited).then_some(Duration::from_secs(1));
    Ended::Broken(outcome, refusal)
}

fn too_large(error: SseError) -> Ended {
    let message = match error {
        SseError::Line => "a line of the provider's stream is too long",
        SseError::Event => "an event of the provider's stream is too long",
        SseError::Fields => "an event of the provider's stream has too many lines",
        SseError::Stream => "the provider's stream is too long",
    };
    Ended::Broken(Outcome::Invalid, Refusal::new(ErrorCase::UpstreamError, message))
}

//! A request in stages, for histories of the book.
//!
//! What [`super::serve`] does in one go, without a provider: a test says what that answers, and when. Everything that
//! takes from limits, prices, settles and makes the record is the code that serves.

use std::{
    future::{Future, poll_fn},
    io::Write as _,
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::Arc,
};

use crate::{
    base::now,
    http::{BodyKind, Cut, Downstream, RequestHead, Socket},
    metrics::Outcome,
    snapshot::Target,
    usage::Credential,
    wire::{Action, CapText, Endpoint, RequestView, StreamWatch, view_request},
};

use super::{
    admit::{Asked, admit, admit_arrival, admit_paid},
    attempt::{Failure, failure},
    context::Context,
    exchange::Exchange,
    failed::{Refused, fail, wrong_endpoint},
    models,
    overrun::{bound_of, go_on},
    passed::Passed,
    relay::{pass, pass_error},
    reply::{After, send_refusal},
    rules,
};

/// What a request has come to.
pub(crate) enum Begun<'a> {
    /// It is admitted, and nothing was sent yet.
    Open(Box<Staged<'a>>),
    /// It was refused, with this label; its record is made.
    Refused(&'static str),
}

/// A request that was admitted. Dropping it is what happens to one whose task ends.
pub(crate) struct Staged<'a> {
    exchange: Exchange<'a>,
    down: Downstream,
    head: RequestHead,
    view: RequestView,
    body_len: usize,
    cap: Option<(u64, CapText)>,
    target: Arc<Target>,
    _client: UnixStream,
}

/// Why a provider gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It takes too long.
    TimedOut,
    /// It hangs up before it answers.
    Reset,
    /// It hangs up within its answer.
    Truncated,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// As it should.
    Complete,
    /// The client leaves behind so many events.
    ClientGone(usize),
    /// The provider hangs up behind so many events.
    Broken(usize),
}

/// What a provider does.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// It answers at once with this body.
    Whole(String),
    /// It answers with these events.
    Stream(Vec<String>, StreamEnd),
    /// It answers with an error.
    Error(u16),
    /// It does not answer.
    None(Cause),
    /// It is asked when the client leaves.
    ClientGone,
}

/// How a request ends.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// By an answer, after so many attempts at connections that were dead.
    Answered(u32, Answer),
    /// The own credential is refused, and the platform's is tried with this answer, if there is one.
    OwnRefused(Answer),
    /// Its code panics once it was sent.
    Panic,
    /// Its task is dropped once it was sent.
    Dropped,
}

/// Reads a request and admits it, or refuses it. `wait` is called each time that it waits for a lease.
pub(crate) async fn begin<'a>(context: &'a Context, request: &[u8], wait: impl FnMut()) -> Begun<'a> {
    let (ours, client) = UnixStream::pair().unwrap();
    (&client).write_all(request).unwrap();
    let socket = Socket::new(TcpStream::from(OwnedFd::from(ours))).unwrap();
    let mut down = Downstream::new(socket, ([127, 0, 0, 1], 9).into(), context.shared.settings.downstream);
    let head = down.read_head().await.unwrap();
    let mut exchange = Exchange::new(context, &head, &down);
    match admitted(&mut exchange, &mut down, &head, wait).await {
        Ok((view, body_len, cap)) => {
            let target = Arc::clone(exchange.target.as_ref().unwrap());
            Begun::Open(Box::new(Staged { exchange, down, head, view, body_len, cap, target, _client: client }))
        }
        Err(refused) => {
            let _ = send_refusal(&mut exchange, &mut down, &refused.refusal, After::Close).await;
            Begun::Refused(exchange.error)
        }
    }
}

type Ready = (RequestView, usize, Option<(u64, CapText)>);

/// As `post` does it.
async fn admitted(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    head: &RequestHead,
    mut wait: impl FnMut(),
) -> Result<Ready, Refused> {
    let endpoint = Endpoint::Chat;
    let grant = super::authenticate(exchange, down, head)?;
    admit_arrival(exchange)?;
    let body_len = down.read_body(head, BodyKind::Text).await.unwrap();
    exchange.body_received(body_len, down.received_at());
    let body = down.input().get(head.len..head.len + body_len).unwrap();
    let view = view_request(endpoint, body, &exchange.context.shared.settings.json).unwrap();
    exchange.stream = view.stream;
    let snapshot = exchange.snapshot.take().unwrap();
    let found = snapshot.route(&grant, view.model_name(body)).map_err(models::no_route)?;
    let allowed = rules::first_allowed(exchange, &found, &grant, endpoint)?;
    let target = Arc::clone(allowed.ok_or_else(|| wrong_endpoint(endpoint))?);
    exchange.target = Some(Arc::clone(&target));
    drop(snapshot);
    let asked = Asked { endpoint, view: &view, body_at: head.len, body_len };
    match watched(admit(exchange, down, &target, &asked), &mut wait).await {
        Ok(admitted) => Ok((view, body_len, admitted.cap)),
        Err(Failure::Client(refusal)) => Err(Refused { refusal, body_read: true }),
        Err(other) => panic!("{other:?}"),
    }
}

/// A future, and a call each time that it waits.
async fn watched<F: Future>(future: F, wait: &mut impl FnMut()) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            wait();
        }
        polled
    })
    .await
}

impl Staged<'_> {
    /// Ends it; its record is made. `wait` is as in [`begin`].
    pub(crate) async fn end(mut self: Box<Self>, ending: &Ending, mut wait: impl FnMut()) {
        let Self { exchange, target, .. } = &mut *self;
        exchange.credential = target.credential();
        self.send(self.cap.is_some());
        match ending {
            Ending::Panic => {
                // Without the hook of panics: nobody needs to read of this one.
                let unwound = catch_unwind(AssertUnwindSafe(move || {
                    let _self = self;
                    resume_unwind(Box::new("staged"))
                }));
                assert!(unwound.is_err());
            }
            Ending::Dropped => {}
            Ending::Answered(dead, answer) => {
                (0..*dead).for_each(|_| self.exchange.resend(now()));
                self.exchange.is_sent = true;
                self.answered(answer).await;
            }
            Ending::OwnRefused(answer) => {
                let target = Arc::clone(&self.target);
                match target.paid.as_ref().filter(|paid| paid.instead.is_some()) {
                    None => self.answered(&Answer::Error(401)).await,
                    Some(paid) => {
                        self.exchange.count_attempt(Outcome::Auth);
                        let Self { exchange, down, head, view, body_len, .. } = &mut *self;
                        let asked = Asked { endpoint: Endpoint::Chat, view, body_at: head.len, body_len: *body_len };
                        match watched(admit_paid(exchange, down, (&target, paid), &asked), &mut wait).await {
                            Ok(admitted) => {
                                (exchange.credential, exchange.fallback) = (Credential::Platform, true);
                                self.send(admitted.cap.is_some());
                                self.answered(answer).await;
                            }
                            Err(failure) => self.failed(failure).await,
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, is_capped: bool) {
        let exchange = &mut self.exchange;
        exchange.is_capped = is_capped;
        exchange.is_single = self.view.asks_one_answer();
        exchange.begin_attempt(now());
        exchange.is_sent = true;
    }

    async fn failed(&mut self, failure: Failure) {
        let Self { exchange, down, head, body_len, .. } = self;
        if let Err(refused) = fail(exchange, down, (head, *body_len), failure) {
            let _ = send_refusal(exchange, down, &refused.refusal, After::Close).await;
        }
    }

    async fn answered(&mut self, answer: &Answer) {
        let Self { exchange, down, .. } = self;
        let passed = Passed::default();
        let failure = match answer {
            Answer::Whole(body) => {
                exchange.tried.status = 200;
                let body = body.as_bytes();
                pass(exchange, down, (200, &passed, body), Endpoint::Chat, After::Close).await.err()
            }
            Answer::Error(status) => {
                exchange.tried.status = *status;
                let body = b"{\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}";
                pass_error(exchange, down, (*status, &passed, body), After::Close).await.err()
            }
            Answer::Stream(events, end) => self.streamed(events, *end),
            Answer::None(cause) => {
                let (cut, answered) = match cause {
                    Cause::TimedOut => (Cut::TimedOut, false),
                    Cause::Reset => (Cut::Closed { orderly: true }, false),
                    Cause::Truncated => (Cut::Closed { orderly: true }, true),
                };
                Some(failure(exchange.context, cut, answered))
            }
            Answer::ClientGone => Some(Failure::ClientGone),
        };
        if let Some(failure) = failure {
            self.failed(failure).await;
        }
    }

    /// As `relay_stream` does it.
    fn streamed(&mut self, events: &[String], end: StreamEnd) -> Option<Failure> {
        let exchange = &mut self.exchange;
        exchange.tried.status = 200;
        let mut watch = StreamWatch::new(Endpoint::Chat, false);
        if exchange.has_price() {
            watch.tell_usage();
        }
        let mut bound = bound_of(exchange);
        let count = match end {
            StreamEnd::Complete => events.len(),
            StreamEnd::ClientGone(_) if exchange.drains() => events.len(),
            StreamEnd::ClientGone(count) | StreamEnd::Broken(count) => count.min(events.len()),
        };
        let mut is_cut = false;
        for event in events.iter().take(count) {
            if watch.observe(event.as_bytes()) == Action::PassUsage {
                exchange.tell_cost(&watch, event.as_bytes());
            }
            if let Some(most) = bound.filter(|most| watch.content_bytes() > *most) {
                match go_on(exchange, most) {
                    Ok(next) => bound = Some(next),
                    Err(_) => {
                        is_cut = true;
                        break;
                    }
                }
            }
        }
        exchange.account(&watch);
        exchange.finish = watch.finish();
        if count == 0 && end != StreamEnd::Complete {
            return Some(match end {
                StreamEnd::ClientGone(_) => Failure::ClientGone,
                _ => failure(exchange.context, Cut::Closed { orderly: true }, true),
            });
        }
        exchange.status = 200;
        let outcome = match end {
            _ if is_cut => Outcome::Cancelled,
            StreamEnd::Complete => Outcome::Success,
            StreamEnd::ClientGone(_) => Outcome::Cancelled,
            StreamEnd::Broken(_) => Outcome::Truncated,
        };
        exchange.cancelled = matches!(end, StreamEnd::ClientGone(_)) && !is_cut;
        exchange.count_attempt(outcome);
        None
    }
}

//! The life of one request, phase by phase.
//!
//! [`serve`] is the order: head, key, body, route, attempt, relay. Settlement is the drop of the [`Exchange`], so no
//! way out of here can miss it. Each phase either goes on or ends with a refusal in the shape of the wire.

mod admit;
mod attempt;
mod authenticate;
mod captured;
mod caught;
mod client_address;
mod connect;
mod context;
mod exchange;
mod failed;
mod fault;
mod form;
mod forward;
mod heard;
mod mock;
mod models;
mod outlet;
mod overrun;
mod own_key;
mod passed;
mod recount;
mod refused;
mod relay;
mod reply;
mod rules;
mod settle;
#[cfg(test)]
mod staged;
mod stream;
mod told;
mod trace;
mod tried;

use std::{pin::pin, sync::Arc};

pub use caught::caught;
pub use context::Context;
pub use reply::After;
#[cfg(test)]
pub(crate) use staged::{Answer, Begun, Cause, Ending, Staged, StreamEnd, begin};

use crate::{
    http::{BodyKind, Downstream, Framing, HeadError, Method, NoBody, NoHead, Part, RequestHead},
    metrics::{Endpoint as CountedEndpoint, ProtocolError},
    snapshot::{Grant, NoRoute, Target},
    usage::{Annotations, Phase},
    wire::{Endpoint, ErrorCase, RequestView, view_request},
};

use self::{
    admit::{Admitted, Asked, admit, admit_arrival},
    exchange::{Exchange, Sent, counted},
    failed::{Refused, fail, wrong_endpoint},
    forward::{Request, forward},
    reply::{Local, Refusal, send_local, send_refusal, settle_body},
};

/// What bodies are, but for forms.
const JSON: &[u8] = b"application/json";

/// Serves one request of a connection: from waiting for its head to its settlement.
pub async fn serve(context: &Context, down: &mut Downstream, may_keep_alive: bool) -> After {
    let head = match down.read_head().await {
        Ok(head) => head,
        Err(none) => return Box::pin(refuse_head(context, down, none)).await,
    };
    let mut exchange = Exchange::new(context, &head, down);
    // Methods other than POST leave a body unread: if it cannot be skipped, the answer says that the connection closes.
    let body_fits = head.method == Method::Post || may_discard(down, &head);
    let keep = head.keep_alive && may_keep_alive && body_fits && !context.shared.is_draining();
    let after = if keep { After::KeepAlive } else { After::Close };
    let dispatched = caught(pin!(dispatch(&mut exchange, down, &head, after))).await;
    match dispatched {
        Err(_) => Box::pin(answer_fault(&mut exchange, down)).await,
        Ok(Ok(after)) => after,
        Ok(Err(Refused { refusal, body_read })) => {
            let announced = if body_read || may_discard(down, &head) { after } else { After::Linger };
            match Box::pin(send_refusal(&mut exchange, down, &refusal, announced)).await {
                Err(_) => After::Close,
                Ok(()) if body_read => announced,
                Ok(()) => settle_body(down, &head, announced).await,
            }
        }
    }
}

/// Finds what a request asks for.
async fn dispatch(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    head: &RequestHead,
    after: After,
) -> Result<After, Refused> {
    fault::point(exchange, "dispatch");
    let path = head.path.of(down.input());
    if let Some(endpoint) = Endpoint::from_path(path) {
        exchange.endpoint = counted(endpoint);
        return match head.method {
            Method::Post => post(exchange, down, (head, endpoint), after).await,
            Method::Options => options(exchange, down, head, ("POST, OPTIONS", after)).await,
            _ => Err(wrong_method(down, head, "POST, OPTIONS").into()),
        };
    }
    let is_models = path == b"/v1/models" || path.starts_with(b"/v1/models/");
    if is_models {
        exchange.endpoint = CountedEndpoint::Models;
    }
    let is_own_key = path == b"/v1/key";
    let is_health = matches!(path, b"/livez" | b"/readyz" | b"/healthz" | b"/health");
    match head.method {
        Method::Get | Method::Head if is_health => health(exchange, down, head, after).await,
        Method::Get | Method::Head if is_models => {
            let grant = authenticate(exchange, down, head)?;
            let id = models::model_path(head, down.input()).map(str::to_owned);
            let answer = models::answer_models(exchange, down, &grant, id.as_deref(), after);
            let sent = Box::pin(answer).await;
            finish_local(down, head, sent.is_ok(), after).await
        }
        Method::Get | Method::Head if is_own_key => {
            let grant = authenticate(exchange, down, head)?;
            let answer = own_key::answer_own_key(exchange, down, &grant, after);
            let sent = Box::pin(answer).await;
            finish_local(down, head, sent.is_ok(), after).await
        }
        Method::Options if is_health || is_models || is_own_key => {
            options(exchange, down, head, ("GET, HEAD, OPTIONS", after)).await
        }
        _ if is_health || is_models || is_own_key => Err(wrong_method(down, head, "GET, HEAD, OPTIONS").into()),
        _ => Err(Refusal::new(ErrorCase::PathNotFound, invalid_url(down, head)).into()),
    }
}

/// A request to a model: key, body, route, then forward.
async fn post(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (head, endpoint): (&RequestHead, Endpoint),
    after: After,
) -> Result<After, Refused> {
    let grant = authenticate(exchange, down, head)?;
    exchange.is_metered = true;
    admit_arrival(exchange)?;
    exchange.lap(Phase::Limit);
    check_content(down, head, endpoint)?;
    exchange.annotations = read_options(down, head)?;
    if head.expects_continue && head.framing != Framing::None && down.send_continue().await.is_err() {
        return Ok(After::Close);
    }
    let kind = if endpoint == Endpoint::Transcriptions { BodyKind::Form } else { BodyKind::Text };
    let body_len = match down.read_body(head, kind).await {
        Ok(body_len) => body_len,
        Err(NoBody::Gone) => {
            exchange.cancelled = true;
            return Ok(After::Close);
        }
        Err(none) => return Box::pin(refuse_body(exchange, down, (none, kind))).await,
    };
    exchange.body_received(body_len, down.received_at());
    fault::point(exchange, "body");
    let body = down.input().get(head.len..head.len + body_len).unwrap_or_default();
    // The view is large: it stays where it is, and everyone borrows it.
    let viewed = match kind {
        BodyKind::Text => view_request(endpoint, body, &exchange.context.shared.settings.json),
        // On the heap, since few requests come here.
        BodyKind::Form => Box::pin(form::view(exchange, content_type(down, head), body)).await,
    };
    exchange.lap(Phase::Parse);
    let found = match &viewed {
        Ok(view) => find_target(exchange, &grant, (endpoint, view), body).map(|target| (view, target)),
        Err(error) => Err(Refusal::new(error.case(), error.to_string()).param(error.param())),
    };
    let (view, target) = match found {
        Ok(found) => found,
        Err(refusal) => {
            down.finish_request(head, body_len);
            return Err(Refused { refusal, body_read: true });
        }
    };
    exchange.lap(Phase::Route);
    let asked = Asked { endpoint, view, body_at: head.len, body_len };
    let forwarded = match admit(exchange, down, &target, &asked).await {
        Ok(Admitted { cap }) => {
            let request = Request { head, endpoint, view, body_len, cap };
            forward(exchange, down, &target, &request, after).await
        }
        Err(failure) => Err(failure),
    };
    forwarded.or_else(|failure| fail(exchange, down, (head, body_len), failure))
}

/// Finds what serves a request; lets go of the configuration.
fn find_target(
    exchange: &mut Exchange<'_>,
    grant: &Grant,
    (endpoint, view): (Endpoint, &RequestView),
    body: &[u8],
) -> Result<Arc<Target>, Refusal> {
    exchange.stream = view.stream;
    let model = view.model_name(body);
    exchange.names_route_alone = !model.contains('/');
    // Let go with the end of this function.
    let snapshot = exchange.snapshot.take();
    let found = snapshot.as_ref().map_or(Err(NoRoute::Unknown), |snapshot| snapshot.route(grant, model));
    let found = found.map_err(|none| {
        exchange.note_unknown_model(model);
        models::no_route(none)
    })?;
    let allowed = rules::first_allowed(exchange, &found, grant, endpoint).inspect_err(|_| {
        exchange.note_unknown_model(model);
    })?;
    let target = Arc::clone(allowed.ok_or_else(|| wrong_endpoint(endpoint))?);
    exchange.is_captured = found.is_captured();
    // From here on every answer says what serves it, a refusal too.
    exchange.target = Some(Arc::clone(&target));
    if view.needs_state && !target.keeps_state {
        return Err(stateless());
    }
    Ok(target)
}

/// Finds what the key of the request may do. Nothing about routes is told before, and nothing at all to the keys of an
/// archived project.
fn authenticate(exchange: &mut Exchange<'_>, down: &Downstream, head: &RequestHead) -> Result<Arc<Grant>, Refusal> {
    let key = authenticate::key_of(head, down.input())?;
    let snapshot = exchange.snapshot.as_ref();
    let grant = snapshot
        .and_then(|snapshot| snapshot.grant(key))
        .map(Arc::clone)
        .ok_or_else(|| Refusal::new(ErrorCase::InvalidKey, "the API key is unknown, disabled or expired"))?;
    let is_archived = snapshot.is_some_and(|snapshot| snapshot.is_archived(&grant));
    exchange.grant = Some(Arc::clone(&grant));
    exchange.lap(Phase::Auth);
    if is_archived {
        return Err(Refusal::new(ErrorCase::ProjectArchived, "the project of this API key is archived"));
    }
    Ok(grant)
}

fn content_type<'a>(down: &'a Downstream, head: &RequestHead) -> &'a [u8] {
    head.content_type.map(|part| part.of(down.input())).unwrap_or_default()
}

/// A type without its parameters.
fn media_type(content_type: &[u8]) -> &[u8] {
    content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn check_content(down: &Downstream, head: &RequestHead, endpoint: Endpoint) -> Result<(), Refusal> {
    let content_type = content_type(down, head);
    if endpoint == Endpoint::Transcriptions {
        form::check_type(content_type)?;
    } else if content_type != JSON && !media_type(content_type).eq_ignore_ascii_case(JSON) {
        return Err(Refusal::new(ErrorCase::UnsupportedMediaType, "the body must be `content-type: application/json`"));
    }
    if head.content_encoding.is_some() {
        return Err(Refusal::new(ErrorCase::UnsupportedMediaType, "compressed request bodies are not accepted"));
    }
    Ok(())
}

/// Reads what the client says about its request beside the body.
fn read_options(down: &Downstream, head: &RequestHead) -> Result<Option<Box<Annotations>>, Refusal> {
    // A word that is no answer to the question is refused; what it forbids is the credential of the platform.
    if let Some(value) = head.no_fallback.map(|part| part.of(down.input()))
        && !matches!(value, b"true" | b"false")
    {
        return Err(Refusal::new(ErrorCase::BadField, "`x-millrace-no-fallback` must be `true` or `false`"));
    }
    if head.tags.is_empty() && head.metadata.is_none() {
        return Ok(None);
    }
    let tags = head.tags.iter().map(|part| part.of(down.input()));
    let metadata = head.metadata.map(|part| part.of(down.input()));
    Annotations::parse(tags, metadata).map_err(|error| Refusal::new(ErrorCase::BadField, error.to_string()))
}

async fn health(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    head: &RequestHead,
    after: After,
) -> Result<After, Refused> {
    let path = head.path.of(down.input());
    let ready = path != b"/readyz" || !exchange.context.shared.is_draining();
    let body: &[u8] = if ready { b"ok\n" } else { b"draining\n" };
    let local = Local { status: if ready { 200 } else { 503 }, content_type: "text/plain", body, fields: b"" };
    let sent = send_local(exchange, down, &local, after).await;
    finish_local(down, head, sent.is_ok(), after).await
}

async fn options(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    head: &RequestHead,
    (allow, after): (&str, After),
) -> Result<After, Refused> {
    let fields = format!("allow: {allow}\r\n");
    let local = Local { status: 200, content_type: "text/plain", body: b"", fields: fields.as_bytes() };
    let sent = send_local(exchange, down, &local, after).await;
    finish_local(down, head, sent.is_ok(), after).await
}

async fn finish_local(down: &mut Downstream, head: &RequestHead, sent: bool, after: After) -> Result<After, Refused> {
    if sent { Ok(settle_body(down, head, after).await) } else { Ok(After::Close) }
}

fn wrong_method(down: &Downstream, head: &RequestHead, allow: &'static str) -> Refusal {
    let mut refusal = Refusal::new(ErrorCase::MethodNotAllowed, invalid_url(down, head));
    refusal.allow = Some(allow);
    refusal
}

fn stateless() -> Refusal {
    let message =
        "`previous_response_id` and `conversation` need a provider that keeps state, which this route's does not";
    Refusal::new(ErrorCase::BadField, message).param(Some("previous_response_id"))
}

/// The message of the OpenAI API for paths that do not exist; the query is never repeated.
fn invalid_url(down: &Downstream, head: &RequestHead) -> String {
    let text = |part: Part| {
        let bytes = part.of(down.input());
        String::from_utf8_lossy(bytes.get(..bytes.len().min(200)).unwrap_or_default()).into_owned()
    };
    format!("Invalid URL ({} {})", text(head.method_text), text(head.path))
}

/// Whether the unread rest of a request is small and certain enough to be read and dropped.
fn may_discard(down: &Downstream, head: &RequestHead) -> bool {
    match head.framing {
        Framing::None => true,
        Framing::Length(length) => !head.expects_continue && length <= down.discard_bytes_max(head),
        Framing::Chunked | Framing::Close => false,
    }
}

/// Ends a request whose code panicked: with 500 if nothing has gone out, and with nothing more otherwise. What the panic
/// left of the input is not to be trusted, so the connection closes.
async fn answer_fault(exchange: &mut Exchange<'_>, down: &mut Downstream) -> After {
    exchange.context.block.panics.inc();
    exchange.error = ErrorCase::Internal.label();
    if exchange.sent == Sent::Nothing {
        let refusal = Refusal::new(ErrorCase::Internal, "the gateway failed on this request; please try again");
        if send_refusal(exchange, down, &refusal, After::Linger).await.is_err() {
            return After::Close;
        }
    }
    After::Linger
}

async fn refuse_body(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (none, kind): (NoBody, BodyKind),
) -> Result<After, Refused> {
    let (kind, refusal) = match none {
        NoBody::TooLarge => {
            let message = match kind {
                BodyKind::Text => "the body is larger than `limits.body_bytes` allows",
                BodyKind::Form => "the form is larger than `limits.audio_bytes` allows",
            };
            (ProtocolError::BodyTooLarge, Refusal::new(ErrorCase::BodyTooLarge, message))
        }
        NoBody::TooSlow => {
            (ProtocolError::Timeout, Refusal::new(ErrorCase::RequestTimeout, "the body came too slowly"))
        }
        NoBody::Malformed | NoBody::Gone => {
            (ProtocolError::Body, Refusal::new(ErrorCase::BadHead, "the chunked body is malformed"))
        }
    };
    exchange.context.block.protocol_error(kind);
    let sent = send_refusal(exchange, down, &refusal, After::Linger).await;
    Ok(if sent.is_ok() { After::Linger } else { After::Close })
}

/// Answers what is no request, and closes.
async fn refuse_head(context: &Context, down: &mut Downstream, none: NoHead) -> After {
    let (kind, refusal) = match none {
        NoHead::Closed => return After::Close,
        NoHead::TooSlow => {
            (ProtocolError::Timeout, Refusal::new(ErrorCase::RequestTimeout, "the request head came too slowly"))
        }
        NoHead::Refused(error @ (HeadError::TooLarge | HeadError::TooManyFields)) => {
            (ProtocolError::HeadTooLarge, Refusal::new(ErrorCase::HeadTooLarge, error.to_string()))
        }
        NoHead::Refused(error) => {
            let kind = match error {
                HeadError::BothFramings | HeadError::ContentLength | HeadError::TransferEncoding => {
                    ProtocolError::Framing
                }
                HeadError::Version | HeadError::Forbidden | HeadError::OldVersionBody => ProtocolError::Version,
                _ => ProtocolError::Head,
            };
            (kind, Refusal::new(ErrorCase::BadHead, error.to_string()))
        }
    };
    context.block.protocol_error(kind);
    let mut exchange = Exchange::new(context, &RequestHead::unreadable(), down);
    match send_refusal(&mut exchange, down, &refusal, After::Linger).await {
        Ok(()) => After::Linger,
        Err(_) => After::Close,
    }
}

//! What the admin server answers.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Frame;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;

use super::api::endpoints;
use super::host::is_ours;
use super::reply::{json, secured, with_body};
use super::rest::{Api, ApiError, BASE, Code, render, routes};
use super::state::{AdminState, Check};
use crate::base::{Instant, RequestId, log, now, unix_time};
use crate::control::Keeper;
use crate::limit::Kind;
use crate::metrics::{Book, Following, Outside, Payloads, Registry, Scrape};

/// The checked-in document, which a test holds against the code: making it anew would take 8 MiB of every process.
static OPENAPI_DOCUMENT: &str = include_str!("../../openapi.json");

/// Most bytes of a scrape that are made before the admin thread does something else.
const SCRAPE_PIECE_BYTES: usize = 64 * 1024;

/// Names a request in its answer, and in the audit log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The local address of the connection that a request came in on.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalAddress(pub(super) IpAddr);

/// Everything the admin server answers; each request needs a [`LocalAddress`] among its extensions.
pub(super) fn router(state: Arc<AdminState>) -> Router {
    let made = Arc::new(OnceLock::new());
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/healthz", get(livez))
        .route("/health", get(livez))
        .route("/readyz", get(readyz))
        .fallback(move |state: State<Arc<AdminState>>, request: Request| beyond(state, made, request))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&state), guard))
        .with_state(state)
}

/// Names the request, and refuses what is not meant for us before anything else looks at it.
async fn guard(
    State(state): State<Arc<AdminState>>,
    Extension(LocalAddress(local)): Extension<LocalAddress>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let id = request_id(&request);
    let answer = if is_ours(request.uri(), request.headers(), local, &state.hosts) {
        request.extensions_mut().insert(id.clone());
        next.run(request).await
    } else {
        log::emit(log::Level::Warn, "admin request for a foreign host", &[]);
        let detail = "the `Host` is not one of this server; add the name to `admin_hosts` if it is";
        ApiError::new(Code::WrongHost, detail).into_response()
    };
    let mut answer = secured(render(answer, id.as_str()));
    if let Ok(value) = HeaderValue::from_bytes(id.as_bytes()) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    answer
}

/// The client's own id if it can be taken over, else a new one.
fn request_id(request: &Request) -> RequestId {
    let mut sent = request.headers().get_all(REQUEST_ID).iter();
    let sent = sent.next().filter(|_| sent.next().is_none());
    let taken = sent.and_then(|value| RequestId::from_client(value.as_bytes()));
    taken.unwrap_or_else(|| RequestId::begun(unix_time(), fastrand::u128(..)))
}

/// Everything else: the API, whose routes are made for its first request. Most gateways see none of these for days, and all
/// of them see metrics and probes.
async fn beyond(
    State(state): State<Arc<AdminState>>,
    made: Arc<OnceLock<Router>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let below = request.uri().path().strip_prefix(BASE).is_some_and(|rest| rest.starts_with('/'));
    let Some(api) = state.api.as_ref().filter(|_| below) else {
        return Err(not_found().await);
    };
    let make = || routes(api, endpoints()).fallback(not_found).method_not_allowed_fallback(wrong_method);
    let Ok(answer) = TowerToHyperService::new(made.get_or_init(make).clone()).call(request).await;
    Ok(answer)
}

async fn openapi() -> Response<Body> {
    with_body(StatusCode::OK, "application/json", Body::from(OPENAPI_DOCUMENT))
}

async fn not_found() -> ApiError {
    ApiError::new(Code::NotFound, "there is nothing at this path")
}

async fn wrong_method() -> ApiError {
    ApiError::new(Code::MethodNotAllowed, "this path does not take this method; see `Allow`")
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response<Body> {
    let scrape = state.registry.scrape(Outside {
        usage_queue_depth: count(state.queue.depth()),
        access_lines_dropped: state.output.access_lines_dropped(),
        app_lines_dropped: state.output.app_lines_dropped() + log::dropped(),
        limit_overshoot_nanousd: state.meters.overshoot(Kind::Money),
        payloads: state.api.as_deref().map(payloads),
        tails: state.api.as_deref().map(following),
        book: state.keeper.as_deref().map(book),
        store: state.api.as_deref().map(|api| api.control.store().block().read()),
    });
    with_body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Body::new(ScrapeBody(scrape)))
}

fn payloads(api: &Api) -> Payloads {
    let (held, dropped) = api.control.payload_room();
    Payloads { held_bytes: count(held), dropped, stored: api.control.payloads().stored() }
}

fn following(api: &Api) -> Following {
    let tails = api.control.tails();
    Following { count: count(tails.count()), lost: tails.lost() }
}

fn book(keeper: &Keeper) -> Book {
    Book {
        unreconciled: keeper.apart(),
        last_commit_age: keeper.unstored_age(),
        batch_rows: keeper.collected(),
        stored_rows: keeper.stored(),
        failing: keeper.is_failing(),
    }
}

/// A probe's answer.
#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<ShownCheck<'a>>>,
}

#[derive(Serialize)]
struct ShownCheck<'a> {
    name: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

impl<'a> From<&'a Check> for ShownCheck<'a> {
    fn from(check: &'a Check) -> Self {
        Self { name: &check.name, ok: check.ok, message: &check.message }
    }
}

async fn livez(State(state): State<Arc<AdminState>>, uri: Uri) -> Response<Body> {
    let now = now();
    let checks = liveness(&state.registry, now);
    health(state.registry.is_alive(now), &checks, &uri)
}

/// One check for each worker: that its last heartbeat is young enough.
pub(super) fn liveness(registry: &Registry, now: Instant) -> Vec<Check> {
    let workers = registry.workers().iter().enumerate();
    workers
        .map(|(index, worker)| {
            let age = worker.heartbeat_age(now);
            Check {
                name: format!("worker {index}"),
                ok: worker.is_alive(now),
                message: format!("last heartbeat {} ms ago", age.as_millis()),
            }
        })
        .collect()
}

async fn readyz(State(state): State<Arc<AdminState>>, uri: Uri) -> Response<Body> {
    let readiness = (state.readiness)();
    health(readiness.ready, &readiness.checks, &uri)
}

fn health(ok: bool, checks: &[Check], uri: &Uri) -> Response<Body> {
    let verbose =
        uri.query().is_some_and(|query| query.split('&').any(|part| part == "verbose" || part.starts_with("verbose=")));
    let (status, text) = if ok { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable") };
    let body = Health { status: text, checks: verbose.then(|| checks.iter().map(ShownCheck::from).collect()) };
    json(status, "application/json", &body)
}

/// A scrape, made while it is sent.
struct ScrapeBody(Scrape);

impl HttpBody for ScrapeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut text = String::with_capacity(SCRAPE_PIECE_BYTES + 16 * 1024);
        self.0.write(&mut text, SCRAPE_PIECE_BYTES);
        if text.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

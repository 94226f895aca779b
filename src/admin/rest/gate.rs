//! What every request passes before its handler, in order.
//!
//! Who asks; how often; from which page; which answer is wanted; which parameters; the body; whether it was asked before.
//! A change then runs as a task of its own: a caller that leaves must not stop it between the store and the workers.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;

use super::body::collect;
use super::caller::{authenticate, check_origin};
use super::code::Code;
use super::endpoint::{Access, Endpoint, Method};
use super::error::{ApiError, render};
use super::idempotency::{Running, answer_once};
use super::page::CursorKey;
use super::rate::{Rates, Work};
use super::standing::Standing;
use super::{accept, query};
use crate::base::{RequestId, now};
use crate::control::{Actor, Authenticate, Control, ControlError, KeepAnswers};

pub use super::rate::RateLimits;

/// Where the API begins.
pub const BASE: &str = "/api/v1";

/// What handlers work with.
pub struct Api {
    /// The control plane.
    pub control: Arc<Control>,
    desk: Arc<Desk>,
}

impl Api {
    /// Connects the API with the control plane.
    ///
    /// # Errors
    /// The error of the system's random source.
    pub fn new(
        control: Arc<Control>,
        authority: Arc<dyn Authenticate>,
        limits: RateLimits,
    ) -> Result<Self, getrandom::Error> {
        let answers: Arc<dyn KeepAnswers> = Arc::<Control>::clone(&control);
        Ok(Self { control, desk: Arc::new(Desk::new(authority, answers, limits)?) })
    }
}

impl Api {
    /// Asks again who began a long answer.
    ///
    /// # Errors
    /// [`ControlError::NotAuthenticated`] when its token or session has ended.
    pub async fn again(&self, standing: &Standing) -> Result<Actor, ControlError> {
        standing.renew(self.desk.authority.as_ref()).await
    }
}

/// What the gate works with. It is among the extensions of each request.
pub(super) struct Desk {
    authority: Arc<dyn Authenticate>,
    pub(super) answers: Arc<dyn KeepAnswers>,
    pub(super) cursor_key: CursorKey,
    pub(super) running: Running,
    rates: Rates,
}

impl Desk {
    pub(super) fn new(
        authority: Arc<dyn Authenticate>,
        answers: Arc<dyn KeepAnswers>,
        limits: RateLimits,
    ) -> Result<Self, getrandom::Error> {
        let cursor_key = CursorKey::random()?;
        Ok(Self { authority, answers, cursor_key, running: Running::default(), rates: Rates::new(limits) })
    }
}

/// What the gate knows about one endpoint.
struct Rule {
    desk: Arc<Desk>,
    access: Access,
    method: Method,
    query_names: Vec<String>,
    produces: BTreeSet<String>,
}

/// Routes the endpoints; nothing else of the API can be reached.
pub(crate) fn routes(api: &Arc<Api>, endpoints: Vec<Endpoint>) -> Router {
    guarded(&api.desk, endpoints).with_state(Arc::clone(api))
}

/// As [`routes`], for handlers over any state.
pub(super) fn guarded<S: Clone + Send + Sync + 'static>(desk: &Arc<Desk>, endpoints: Vec<Endpoint<S>>) -> Router<S> {
    let mut router = Router::new();
    for endpoint in endpoints {
        let rule = Rule {
            desk: Arc::clone(desk),
            access: endpoint.access,
            method: endpoint.method,
            query_names: endpoint.operation.query_names(),
            produces: endpoint.operation.produces(),
        };
        let route = endpoint.route.layer(from_fn_with_state(Arc::new(rule), gate));
        router = router.route(&format!("{BASE}{}", endpoint.path), route);
    }
    router
}

async fn gate(State(rule): State<Arc<Rule>>, request: Request, next: Next) -> Response<Body> {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(|| RequestId::made(0));
    let answer = match admit(&rule, request, &id).await {
        Ok(request) if rule.method == Method::Get => next.run(request).await,
        Ok(request) => run_whole(Arc::clone(&rule.desk), request, next, id.clone()).await,
        Err(error) => error.into_response(),
    };
    render(answer, id.as_str())
}

async fn admit(rule: &Rule, request: Request, id: &RequestId) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    check_origin(&parts.headers, rule.method)?;
    if let Access::Needs(_) = rule.access {
        let actor = authenticate(rule.desk.authority.as_ref(), &parts, id).await?;
        let work = if rule.method == Method::Get { Work::Read } else { Work::Write };
        rule.desk.rates.charge(actor.id.as_str(), work, now())?;
        parts.extensions.insert(actor);
    }
    parts.extensions.insert(Arc::clone(&rule.desk));
    accept::check(&parts.headers, &rule.produces)?;
    query::check_names(&parts.uri, &rule.query_names)?;
    let bytes = collect(&parts.headers, body).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// Runs a change to its end, whether or not somebody still waits for the answer.
async fn run_whole(desk: Arc<Desk>, request: Request, next: Next, id: RequestId) -> Response<Body> {
    let actor = request.extensions().get::<Actor>().map(|actor| actor.id.as_str().to_owned());
    let task = tokio::spawn(async move {
        match actor {
            Some(caller) => answer_once(&desk, &caller, request, next, id.as_str()).await,
            None => next.run(request).await,
        }
    });
    // The task is never cancelled, so an error is a panic: its message went to the log.
    task.await.unwrap_or_else(|_| {
        ApiError::new(Code::InternalError, "internal error; the log of the gateway has the details").into_response()
    })
}

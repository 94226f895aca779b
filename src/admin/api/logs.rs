//! Rows of requests: what was asked, by whom, how it ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::log_decisions::{CostPartsView, DecisionView, PhasesView};
use super::log_export::{Export, Form};
use super::log_tail::tail;
use super::projects::millis;
use super::times::optional_time;
use super::usage::{Money, TokensView};
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Caller, Code, Endpoint, Listed, Listing, Plain, ProjectId, Query, RequestName,
    Streamed, Time,
};
use crate::base::Finish;
use crate::control::Capability;
use crate::store::{AttemptRow, Corrected, Order, PageRequest, RequestFilter, RequestRow};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/projects/{project}/logs",
            Needs(Capability::UsageRead),
            "Lists stored requests of a project, newest first.",
            list,
        ),
        Endpoint::get(
            "/projects/{project}/logs/export",
            Needs(Capability::UsageRead),
            "Streams stored requests of a project, oldest first, at most 1,000,000.",
            export,
        ),
        Endpoint::get(
            "/projects/{project}/logs/tail",
            Needs(Capability::UsageRead),
            "Follows requests of a project as they end, stored or not: events `request`, `lost` and `end`. At most 16 at once.",
            tail,
        )
        .refuses(&[Code::LimitReached]),
        Endpoint::get(
            "/projects/{project}/logs/{request_id}",
            Needs(Capability::UsageRead),
            "Shows one stored request.",
            show,
        )
        .refuses(&[Code::NotFound]),
    ]
}

/// Which requests are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Id of a key.
    #[param(nullable = false, max_length = 128)]
    key: Option<String>,
    /// Name of a route.
    #[param(nullable = false, max_length = 255)]
    route: Option<String>,
    /// Such as `openai`.
    #[param(nullable = false, max_length = 255)]
    provider: Option<String>,
    /// The model as its provider names it.
    #[param(nullable = false, max_length = 255)]
    model: Option<String>,
    /// A status such as `429`, or a class such as `5xx`.
    #[param(nullable = false, pattern = "^([0-9]{3}|[1-5]xx|none)$")]
    status: Option<String>,
    /// Code of an error, such as `upstream_error`.
    #[param(nullable = false, max_length = 64)]
    error: Option<String>,
    /// Why the answer ended, such as `length_limit`.
    #[param(
        nullable = false,
        pattern = "^(unknown|completed|length_limit|content_filter|tool_calls|gateway_error|upstream_error|client_error|cancelled)$"
    )]
    finish: Option<String>,
    /// `name` or `name=value` of a tag.
    #[param(nullable = false, max_length = 321)]
    tag: Option<String>,
    /// Text in the request's id, taken literally.
    #[param(nullable = false, max_length = 200)]
    q: Option<String>,
    /// From then on, as RFC 3339 has it.
    #[param(nullable = false, format = "date-time")]
    from: Option<String>,
    /// Before, as RFC 3339 has it.
    #[param(nullable = false, format = "date-time")]
    to: Option<String>,
}

/// The form of an export.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FormQuery {
    /// `ndjson`: an object a line. `csv`: a heading and a line each; a cell that a spreadsheet would take for a formula
    /// has `'` before it.
    #[param(nullable = false, pattern = "^(ndjson|csv)$")]
    format: Option<String>,
}

/// One stored request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestLog)]
pub(super) struct RequestView {
    request_id: String,
    /// When its first byte arrived.
    at: Time,
    trace_id: Option<String>,
    /// Empty for a request that got to no route.
    organization: String,
    project: String,
    route: String,
    /// Id of the key; empty when none was accepted.
    key_id: String,
    /// Id of who made the key.
    member_id: String,
    group: String,
    endpoint: String,
    /// What the client wrote as `model`, at most 128 characters.
    requested_model: String,
    provider: String,
    model: String,
    target: String,
    generation: u64,
    config_version: Option<u64>,
    /// Status sent to the client; 0 when it left before.
    status: u16,
    /// Code of the error; empty when there was none.
    error_code: String,
    /// `completed`, `length_limit`, `content_filter`, `tool_calls`, `gateway_error`, `upstream_error`, `client_error`,
    /// `cancelled`, or `unknown`; empty where it was stored by a version that kept none.
    finish_reason: String,
    duration_ms: f64,
    /// To the first byte of the answer; null where it is not stored.
    first_byte_ms: Option<f64>,
    /// To the first content.
    ttft_ms: Option<f64>,
    overhead_ms: f64,
    upstream_ms: f64,
    /// Where the time went; null for a request that is a row for another reason than its sample.
    phases: Option<PhasesView>,
    /// How many attempts were made; a silent resend is not counted.
    attempt_count: u32,
    /// Each attempt, in order; empty where none was made, or where it was stored by a version that kept none.
    attempts: Vec<AttemptView>,
    /// How it was decided on; empty for what was not asked of a model, or stored by a version that kept none.
    decisions: Vec<DecisionView>,
    streamed: bool,
    cancelled: bool,
    tokens: TokensView,
    /// Part of `tokens.cache_write`: what the provider keeps for an hour.
    cache_write_1h: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// `own`, `platform`; empty when no provider was asked.
    credential: String,
    /// The platform's credential had to serve, because the own one was refused.
    fallback: bool,
    /// USD; null when no price is known.
    cost: Option<Money>,
    /// The parts of `cost`; null when it is 0 or unknown.
    cost_parts: Option<CostPartsView>,
    /// USD.
    fee: Money,
    /// Who stated the price: `model`, `prices` of the project, `organization`, `prices_file` or `catalogue`; empty when there
    /// was none.
    price_source: String,
    /// As of when, such as `2026-11-01`; null for prices without a date.
    price_date: Option<String>,
    /// What it costs since it was priced again; null when it never was. The other fields stay as they were written.
    corrected: Option<CorrectionView>,
    /// The tokens were estimated.
    estimated: bool,
    /// The provider's own figures could not be true.
    usage_suspect: bool,
    /// A provider was asked and no price is known.
    unpriced: bool,
    client_ip: Option<String>,
    /// The program of the client as it calls itself, its first 64 bytes; empty when it does not.
    user_agent: String,
    tags: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
}

/// What a request costs since it was priced again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestCorrection)]
struct CorrectionView {
    /// The last run that changed it.
    reprice: String,
    cost: Money,
    /// As `price_source` of the request.
    price_source: String,
    /// As `price_date` of the request.
    price_date: Option<String>,
}

/// One try of one target.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestAttempt)]
struct AttemptView {
    provider: String,
    model: String,
    target: String,
    /// `own` or `platform`.
    credential: String,
    /// Status of the provider's answer; 0 when none came.
    status: u16,
    /// How it ended, as the label `outcome` of `/metrics` has it.
    outcome: String,
    duration_ms: f64,
    tokens: TokensView,
    /// USD; null when no price is known.
    cost: Option<Money>,
    /// It failed and was billed by an estimate, because the provider may bill it.
    maybe_billed: bool,
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    Query(query): Query<LogQuery>,
    listing: Listing,
) -> Result<Listed<RequestView>, ApiError> {
    let page = api.control.requests(&actor, &project, query.filter()?, listing.page.clone()).await?;
    let mark = |row: &RequestRow| (millis(row.at), row.id.to_string());
    Ok(Listed::new(&listing, page, mark, RequestView::from))
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    RequestName(request_id): RequestName,
) -> Result<Plain<RequestView>, ApiError> {
    Ok(Plain(api.control.request(&actor, &project, &request_id).await?.into()))
}

async fn export(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    Query(query): Query<LogQuery>,
    Query(form): Query<FormQuery>,
) -> Result<Streamed, ApiError> {
    let form = match form.format.as_deref() {
        None | Some("ndjson") => Form::Lines,
        Some("csv") => Form::Csv,
        Some(_) => return Err(ApiError::field("format", "expected `ndjson` or `csv`")),
    };
    let page = PageRequest { limit: 100, after: None, order: Order::Ascending };
    let filter = query.filter()?;
    // The first page is read before the answer begins, so that a refusal is one.
    let first = api.control.requests(&actor, &project, filter.clone(), page.clone()).await?;
    Ok(Export { control: Arc::clone(&api.control), actor, project, filter, form }.start(first))
}

impl LogQuery {
    pub(super) fn filter(self) -> Result<RequestFilter, ApiError> {
        let wrong = || ApiError::field("status", "expected a status such as `429`, a class such as `5xx`, or `none`");
        let (status, status_class) = match self.status {
            Some(class) if class == "none" || class.ends_with("xx") => (None, Some(class)),
            Some(status) => (Some(status.parse().map_err(|_| wrong())?), None),
            None => (None, None),
        };
        let finish = match self.finish {
            Some(word) if Finish::parse(&word).is_none() => {
                let words: Vec<_> = Finish::ALL.iter().map(|known| known.as_str()).collect();
                return Err(ApiError::field("finish", format!("expected one of `{}`", words.join("`, `"))));
            }
            finish => finish,
        };
        let has_value = self.tag.as_ref().is_some_and(|tag| tag.contains('='));
        let (tag, tag_name) = if has_value { (self.tag, None) } else { (None, self.tag) };
        Ok(RequestFilter {
            project: String::new(),
            key: self.key,
            member: None,
            route: self.route,
            provider: self.provider,
            model: self.model,
            status,
            status_class,
            error: self.error,
            finish,
            tag_name,
            tag,
            text: self.q,
            since: optional_time("from", self.from.as_deref())?,
            until: optional_time("to", self.to.as_deref())?,
        })
    }
}

impl From<AttemptRow> for AttemptView {
    fn from(row: AttemptRow) -> Self {
        Self {
            provider: row.provider,
            model: row.model,
            target: row.target,
            credential: row.credential,
            status: row.status,
            outcome: row.outcome,
            duration_ms: row.duration.as_secs_f64() * 1_000.0,
            tokens: row.tokens.into(),
            cost: row.cost.map(Money),
            maybe_billed: row.maybe_billed,
        }
    }
}

impl From<Corrected> for CorrectionView {
    fn from(of: Corrected) -> Self {
        Self { reprice: of.reprice, cost: Money(of.cost), price_source: of.price_source, price_date: of.price_date }
    }
}

impl From<RequestRow> for RequestView {
    fn from(row: RequestRow) -> Self {
        let attempts = row.attempts().into_iter().map(AttemptView::from).collect();
        let decisions = row.decisions().into_iter().map(DecisionView::from).collect();
        let of = row.dimension;
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1_000.0;
        let texts = |json: Option<String>| json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        Self {
            request_id: row.request_id,
            at: row.at.into(),
            trace_id: row.trace_id.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()),
            organization: of.organization,
            project: of.project,
            route: of.route,
            key_id: of.key,
            member_id: of.member,
            group: of.group,
            endpoint: of.endpoint,
            requested_model: row.details.requested_model,
            provider: of.provider,
            model: of.model,
            target: of.target,
            generation: row.generation,
            config_version: row.version,
            status: row.status,
            error_code: of.error,
            finish_reason: row.details.finish,
            duration_ms: ms(row.duration),
            first_byte_ms: row.details.first_byte.map(ms),
            ttft_ms: row.ttft.map(ms),
            overhead_ms: ms(row.overhead),
            upstream_ms: ms(row.upstream_time),
            phases: row.details.phases.map(PhasesView::from),
            attempt_count: row.attempts,
            attempts,
            decisions,
            streamed: of.stream,
            cancelled: row.cancelled,
            tokens: row.tokens.into(),
            cache_write_1h: row.tokens.cache_write_1h,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
            credential: of.credential,
            fallback: row.fallback,
            cost: row.cost.map(Money),
            cost_parts: row.details.costs.map(CostPartsView::from),
            fee: Money(row.fee),
            price_source: row.price_source,
            price_date: row.price_date,
            corrected: row.corrected.map(CorrectionView::from),
            estimated: row.estimated,
            usage_suspect: row.usage_suspect,
            unpriced: row.unpriced,
            client_ip: row.client_ip,
            user_agent: row.details.user_agent,
            tags: texts(row.tags),
            metadata: texts(row.metadata),
        }
    }
}

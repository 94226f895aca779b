//! What is live: serve, unserve, roll back, compare, look.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::live_price::LivePricesView;
use super::projects::millis;
use super::words::words;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Caller, Code, Endpoint, Listed, Listing, OptionalBody, Plain, ProjectId, Query,
    RouteName, Time, VersionNumber,
};
use crate::control::{
    Activated, Capability, Compared, Intent, LiveRoute, LiveTarget, Names, SemanticDiff, VersionName,
};
use crate::store::{Activation, ActivationKind};

/// Ways in which a change of what is live is refused.
const REFUSED: &[Code] = &[
    Code::IllegalTransition,
    Code::GenerationConflict,
    Code::ServeInProgress,
    Code::ProjectArchived,
    Code::ConfigInvalid,
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let read = Needs(Capability::ProjectRead);
    vec![
        Endpoint::post(
            "/projects/{project}/config/versions/{version}/serve",
            Needs(Capability::Serve),
            "Makes an approved version live on all workers.",
            serve,
        )
        .refuses(REFUSED),
        Endpoint::post(
            "/projects/{project}/config/unserve",
            Needs(Capability::Serve),
            "Ends the serving; streams in flight finish.",
            unserve,
        )
        .refuses(REFUSED),
        Endpoint::post(
            "/projects/{project}/config/rollback",
            Needs(Capability::Serve),
            "Makes a version live again that was live before.",
            roll_back,
        )
        .refuses(REFUSED),
        Endpoint::get("/projects/{project}/config/generations", read, "Lists what was live when.", generations),
        Endpoint::get("/projects/{project}/config/diff", read, "Compares two versions.", diff),
        Endpoint::get("/projects/{project}/routes", read, "Lists the live routes, as workers see them.", routes),
        Endpoint::get("/projects/{project}/routes/{route}", read, "Shows a live route.", route),
    ]
}

/// What the caller says about a change of what is live.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ServeIntent {
    /// Why it is done.
    #[serde(default)]
    #[schema(max_length = 2_000)]
    comment: String,
    /// The generation that the caller saw; another one refuses the change.
    expected_generation: Option<u64>,
}

/// What the caller says about a roll back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RollbackIntent {
    /// The version to go back to; the one before the present when absent.
    #[schema(minimum = 1)]
    to_version: Option<u32>,
    /// Why it is done.
    #[serde(default)]
    #[schema(max_length = 2_000)]
    comment: String,
    /// The generation that the caller saw; another one refuses the change.
    expected_generation: Option<u64>,
}

/// What is live after a change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Activated)]
struct ActivatedView {
    /// Generation of the project.
    generation: u64,
    /// The live version; null after unserve.
    version: Option<u32>,
    /// What each worker serves.
    workers: Vec<WorkerView>,
}

/// A worker and what it serves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkerGeneration)]
struct WorkerView {
    /// Its number, from 0.
    id: usize,
    /// Generation of the project that it serves.
    generation: u64,
}

/// One step of what was live.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Generation)]
struct GenerationView {
    generation: u64,
    /// What became live; null when nothing did.
    version: Option<u32>,
    kind: ActivationKind,
    /// Id of the user or token.
    actor: String,
    at: Time,
    comment: String,
}

/// Which versions are compared.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DiffQuery {
    /// A number, `served` or `open`. Default `served`.
    #[param(nullable = false, pattern = "^([1-9][0-9]{0,9}|served|open)$")]
    from: Option<String>,
    /// A number, `served` or `open`. Default `open`.
    #[param(nullable = false, pattern = "^([1-9][0-9]{0,9}|served|open)$")]
    to: Option<String>,
    /// `semantic` (default) or `text`.
    #[param(schema_with = format_schema)]
    format: Option<String>,
}

fn format_schema() -> utoipa::openapi::schema::Object {
    words(&["semantic", "text"])
}

/// What differs between two versions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigDiff)]
struct DiffView {
    from: u32,
    to: u32,
    /// `semantic` or `text`.
    #[schema(schema_with = format_schema)]
    format: &'static str,
    /// Changed paths, for `semantic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    changes: Option<Vec<ChangeView>>,
    /// Whether there are more changes than listed, for `semantic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    truncated: Option<bool>,
    /// What came, went and changed, for `semantic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    summary: Option<SummaryView>,
    /// Guardrails that are no more, for `semantic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    guardrails_removed: Option<Vec<String>>,
    /// The difference in unified form, for `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    text: Option<String>,
}

/// One path whose value differs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigChange)]
struct ChangeView {
    path: String,
    /// The value before; null when there was none.
    #[schema(value_type = serde_json::Value)]
    old: Option<serde_json::Value>,
    /// The value after; null when there is none.
    #[schema(value_type = serde_json::Value)]
    new: Option<serde_json::Value>,
}

/// Names by kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigDiffSummary)]
struct SummaryView {
    routes: NamesView,
    models: NamesView,
    guardrails: NamesView,
    /// As `route.limit`.
    limits: NamesView,
}

/// Names that came, went and changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigDiffNames)]
struct NamesView {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

/// A live route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveRoute)]
struct RouteView {
    /// Name in the project.
    name: String,
    /// What clients send as `model`.
    model: String,
    /// The version that serves it; null in file mode.
    version: Option<u64>,
    /// Serves chat, completions and responses.
    chat: Option<TargetView>,
    /// Serves embeddings.
    embedding: Option<TargetView>,
    /// Serves transcriptions.
    transcription: Option<TargetView>,
}

/// One address with one credential of one provider model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveTarget)]
struct TargetView {
    /// `model_id` in the configuration.
    target: String,
    provider: String,
    /// Name of the model at the provider.
    model: String,
    /// Where requests go; null for the built-in provider.
    origin: Option<String>,
    /// `ok` when a connection can be tried.
    #[schema(schema_with = health_schema)]
    health: &'static str,
    /// Why no connection can be tried.
    trouble: Option<String>,
    /// What its requests cost, whoever stated that.
    prices: LivePricesView,
    connect_timeout_ms: u64,
    first_byte_timeout_ms: u64,
    idle_timeout_ms: u64,
    total_timeout_ms: u64,
}

fn health_schema() -> utoipa::openapi::schema::Object {
    words(&["ok", "unreachable"])
}

async fn serve(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), VersionNumber(number)): (ProjectId, VersionNumber),
    OptionalBody(body): OptionalBody<ServeIntent>,
) -> Result<Plain<ActivatedView>, ApiError> {
    Ok(Plain(api.control.serve(&actor, &project, number, body.into()).await?.into()))
}

async fn unserve(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    OptionalBody(body): OptionalBody<ServeIntent>,
) -> Result<Plain<ActivatedView>, ApiError> {
    Ok(Plain(api.control.unserve(&actor, &project, body.into()).await?.into()))
}

async fn roll_back(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    OptionalBody(body): OptionalBody<RollbackIntent>,
) -> Result<Plain<ActivatedView>, ApiError> {
    let RollbackIntent { to_version, comment, expected_generation } = body;
    let intent = Intent { comment, expected_generation };
    Ok(Plain(api.control.roll_back(&actor, &project, to_version, intent).await?.into()))
}

async fn generations(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    listing: Listing,
) -> Result<Listed<GenerationView>, ApiError> {
    let page = api.control.generations(&actor, &project, listing.page.clone()).await?;
    let mark = |row: &Activation| (millis(row.at), row.generation.to_string());
    Ok(Listed::new(&listing, page, mark, GenerationView::from))
}

async fn diff(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    Query(query): Query<DiffQuery>,
) -> Result<Plain<DiffView>, ApiError> {
    let from = named("from", query.from.as_deref().unwrap_or("served"))?;
    let to = named("to", query.to.as_deref().unwrap_or("open"))?;
    match query.format.as_deref() {
        None | Some("semantic") => Ok(Plain(api.control.semantic_diff(&actor, &project, (from, to)).await?.into())),
        Some("text") => Ok(Plain(api.control.text_diff(&actor, &project, (from, to)).await?.into())),
        Some(_) => Err(ApiError::field("format", "expected `semantic` or `text`")),
    }
}

async fn routes(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
) -> Result<Listed<RouteView>, ApiError> {
    let routes = api.control.routes(&actor, &project).await?;
    Ok(Listed::whole(routes.into_iter().map(RouteView::from).collect()))
}

async fn route(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), RouteName(name)): (ProjectId, RouteName),
) -> Result<Plain<RouteView>, ApiError> {
    Ok(Plain(api.control.route(&actor, &project, &name).await?.into()))
}

fn named(path: &str, text: &str) -> Result<VersionName, ApiError> {
    match text {
        "served" => Ok(VersionName::Served),
        "open" => Ok(VersionName::Open),
        _ => match text.parse() {
            Ok(number) if number > 0 => Ok(VersionName::Number(number)),
            _ => Err(ApiError::field(path, "expected the number of a version, `served` or `open`")),
        },
    }
}

impl From<ServeIntent> for Intent {
    fn from(body: ServeIntent) -> Self {
        Self { comment: body.comment, expected_generation: body.expected_generation }
    }
}

impl From<Activated> for ActivatedView {
    fn from(activated: Activated) -> Self {
        let workers = activated.workers.into_iter().enumerate();
        Self {
            generation: activated.generation,
            version: activated.version,
            workers: workers.map(|(id, generation)| WorkerView { id, generation }).collect(),
        }
    }
}

impl From<Activation> for GenerationView {
    fn from(step: Activation) -> Self {
        Self {
            generation: step.generation,
            version: step.version,
            kind: step.kind,
            actor: step.actor.as_str().to_owned(),
            at: step.at.into(),
            comment: step.comment,
        }
    }
}

impl From<Names> for NamesView {
    fn from(names: Names) -> Self {
        Self { added: names.added, removed: names.removed, changed: names.changed }
    }
}

impl From<Compared<SemanticDiff>> for DiffView {
    fn from(compared: Compared<SemanticDiff>) -> Self {
        let diff = compared.diff;
        let changes = diff.changes.into_iter();
        Self {
            from: compared.from,
            to: compared.to,
            format: "semantic",
            changes: Some(
                changes.map(|change| ChangeView { path: change.path, old: change.before, new: change.after }).collect(),
            ),
            truncated: Some(diff.truncated),
            guardrails_removed: Some(diff.guardrails.removed.clone()),
            summary: Some(SummaryView {
                routes: diff.routes.into(),
                models: diff.models.into(),
                guardrails: diff.guardrails.into(),
                limits: diff.limits.into(),
            }),
            text: None,
        }
    }
}

impl From<Compared<String>> for DiffView {
    fn from(compared: Compared<String>) -> Self {
        Self {
            from: compared.from,
            to: compared.to,
            format: "text",
            changes: None,
            truncated: None,
            summary: None,
            guardrails_removed: None,
            text: Some(compared.diff),
        }
    }
}

impl From<LiveRoute> for RouteView {
    fn from(live: LiveRoute) -> Self {
        let model = live.route.full_name.to_string();
        let name = model.split_once('/').map_or(model.as_str(), |(_, name)| name).to_owned();
        let target = |target| TargetView::from(LiveTarget::of(target));
        Self {
            name,
            version: live.version,
            chat: live.route.chat.as_ref().map(target),
            embedding: live.route.embedding.as_ref().map(target),
            transcription: live.route.transcription.as_ref().map(target),
            model,
        }
    }
}

impl From<LiveTarget> for TargetView {
    fn from(live: LiveTarget) -> Self {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (labels, timeouts) = (&live.target.labels, live.target.timeouts);
        Self {
            target: labels.target.to_string(),
            provider: labels.provider.to_string(),
            model: labels.model.to_string(),
            origin: live.origin,
            health: if live.trouble.is_none() { "ok" } else { "unreachable" },
            trouble: live.trouble,
            prices: LivePricesView::from(&*live.target),
            connect_timeout_ms: millis(timeouts.connect),
            first_byte_timeout_ms: millis(timeouts.first_byte),
            idle_timeout_ms: millis(timeouts.idle),
            total_timeout_ms: millis(timeouts.total),
        }
    }
}

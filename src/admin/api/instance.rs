//! The instance: how it fares, its settings, its egress rules.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::credits::fee_rate;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, EgressRuleId, Endpoint, IdText, IfMatch, Listed,
    NoContent, Plain, Tagged, Time,
};
use crate::base::VERSION;
use crate::control::{
    Capability, InstanceSettings, InstanceSettingsPatch, InstanceStatus, NewEgressRule, ProjectCounts, WorkerStatus,
};
use crate::store::{EgressRule, Health};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let own = Needs(Capability::InstanceSettings);
    vec![
        Endpoint::get("/instance/status", own, "Shows how workers, queue and store fare.", status),
        Endpoint::get("/instance/settings", own, "Shows the settings of the instance.", settings),
        Endpoint::patch("/instance/settings", own, "Changes settings of the instance.", change_settings),
        Endpoint::get("/instance/egress-rules", own, "Lists private networks that were opened here.", egress_rules),
        Endpoint::post("/instance/egress-rules", own, "Opens a private network to new connections.", open_network)
            .refuses(&[Code::LimitReached]),
        Endpoint::delete(
            "/instance/egress-rules/{egress_rule}",
            own,
            "Closes a private network to new connections.",
            close_network,
        ),
    ]
}

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InstanceSettingsChange {
    /// Projects of a new organization, at most.
    #[schema(maximum = 100_000)]
    default_project_limit: Option<u32>,
    /// Days that request logs of a new organization are kept.
    #[schema(minimum = 1, maximum = 3_650)]
    default_retention_days: Option<u32>,
    /// Fee on what platform credentials cost, in percent with at most 2 decimals.
    #[schema(pattern = "^[0-9]{1,3}([.][0-9]{1,2})?$")]
    fee_percent: Option<String>,
}

/// A network to open.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EgressRuleCreate {
    /// Network, such as `10.0.0.0/8`, or one address.
    #[schema(min_length = 2, max_length = 43)]
    network: String,
    /// Ports, such as `443,8000-8999`, or `any`.
    #[schema(min_length = 1, max_length = 255)]
    ports: String,
    /// Why.
    #[serde(default)]
    #[schema(max_length = 2_000)]
    comment: String,
}

/// Settings of the instance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceSettings)]
struct InstanceSettingsView {
    /// Projects of a new organization, at most.
    default_project_limit: u32,
    /// Days that request logs of a new organization are kept.
    default_retention_days: u32,
    /// Fee on what platform credentials cost, in percent, for organizations without one of their own.
    fee_percent: String,
}

/// A private network that may be reached.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EgressRule)]
struct EgressRuleView {
    id: IdText,
    network: String,
    ports: String,
    comment: String,
    created_by: IdText,
    created_at: Time,
}

/// How the process fares.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceStatus)]
struct InstanceStatusView {
    version: &'static str,
    /// Generation of the snapshot that is published.
    generation: u64,
    /// Replaced snapshots that a request or stream still uses.
    old_generations: usize,
    workers: Vec<WorkerView>,
    projects: ProjectCountsView,
    queue: QueueView,
    store: StoreView,
    /// Values that are not sealed under the current master key yet: as long as there are some, an older one is needed. Null
    /// when the store cannot be read.
    stale_seals: Option<u64>,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceWorker)]
struct WorkerView {
    id: usize,
    /// Whether it has been heard of lately.
    alive: bool,
    /// Generation of the snapshot that it serves.
    generation: u64,
    /// Client connections open now.
    connections: u64,
    /// Streams being relayed now.
    streams: u64,
}

/// Projects, by what they answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceProjects)]
struct ProjectCountsView {
    served: usize,
    /// They answer 503, because what is stored does not compile.
    broken: usize,
    archived: usize,
}

/// Usage records on their way from the workers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceQueue)]
struct QueueView {
    depth: usize,
    /// Lost since the start, because the queue was full.
    dropped_rows: u64,
}

/// Whether the store can be read and written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceStore)]
struct StoreView {
    ok: bool,
    /// Since when it is not.
    failing_since: Option<Time>,
    /// Why it is not.
    reason: Option<String>,
}

async fn status(State(api): State<Arc<Api>>, Caller(actor): Caller) -> Result<Plain<InstanceStatusView>, ApiError> {
    Ok(Plain(api.control.instance_status(&actor).await?.into()))
}

async fn settings(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
) -> Result<Tagged<InstanceSettingsView>, ApiError> {
    Ok(tagged(&api.control.instance_settings(&actor).await?))
}

async fn change_settings(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    IfMatch(revision): IfMatch,
    Body(body): Body<InstanceSettingsChange>,
) -> Result<Tagged<InstanceSettingsView>, ApiError> {
    let patch = InstanceSettingsPatch {
        default_project_limit: body.default_project_limit,
        default_retention_days: body.default_retention_days,
        fee_percent: body.fee_percent.as_deref().map(fee_rate).transpose()?,
    };
    Ok(tagged(&api.control.change_instance_settings(&actor, revision, patch).await?))
}

async fn egress_rules(State(api): State<Arc<Api>>, Caller(actor): Caller) -> Result<Listed<EgressRuleView>, ApiError> {
    let found = api.control.egress_rules(&actor).await?;
    Ok(Listed::whole(found.into_iter().map(EgressRuleView::from).collect()))
}

async fn open_network(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Body(body): Body<EgressRuleCreate>,
) -> Result<Created<EgressRuleView>, ApiError> {
    let new = NewEgressRule { network: body.network, ports: body.ports, comment: body.comment };
    let made = api.control.create_egress_rule(&actor, new).await?;
    let location = format!("/instance/egress-rules/{}", made.id);
    Ok(Created { revision: 1, body: made.into(), location })
}

async fn close_network(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    EgressRuleId(id): EgressRuleId,
) -> Result<NoContent, ApiError> {
    api.control.delete_egress_rule(&actor, id).await?;
    Ok(NoContent)
}

fn tagged(settings: &InstanceSettings) -> Tagged<InstanceSettingsView> {
    let body = InstanceSettingsView {
        default_project_limit: settings.default_project_limit,
        default_retention_days: settings.default_retention_days,
        fee_percent: settings.fee_percent.to_string(),
    };
    Tagged { revision: settings.revision, body }
}

impl From<EgressRule> for EgressRuleView {
    fn from(row: EgressRule) -> Self {
        Self {
            id: row.id.into(),
            network: row.network,
            ports: row.ports,
            comment: row.comment,
            created_by: row.created_by.into(),
            created_at: row.created_at.into(),
        }
    }
}

impl From<InstanceStatus> for InstanceStatusView {
    fn from(status: InstanceStatus) -> Self {
        let ProjectCounts { served, broken, archived } = status.projects;
        let dropped_rows = status.workers.iter().map(|worker| worker.dropped_rows).sum();
        Self {
            version: VERSION,
            generation: status.generation,
            old_generations: status.old_generations,
            workers: status.workers.into_iter().map(WorkerView::from).collect(),
            projects: ProjectCountsView { served, broken, archived },
            queue: QueueView { depth: status.queue_depth, dropped_rows },
            store: status.store.into(),
            stale_seals: status.stale_seals,
        }
    }
}

impl From<WorkerStatus> for WorkerView {
    fn from(row: WorkerStatus) -> Self {
        let WorkerStatus { id, alive, generation, connections, streams, .. } = row;
        Self { id, alive, generation, connections, streams }
    }
}

impl From<Health> for StoreView {
    fn from(health: Health) -> Self {
        match health {
            Health::Ok => Self { ok: true, failing_since: None, reason: None },
            Health::Failing { since, why } => {
                Self { ok: false, failing_since: Some(since.into()), reason: Some(why.to_string()) }
            }
        }
    }
}

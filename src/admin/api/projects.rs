//! Projects: create, list, read, change, put away, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::comment::Comment;
use super::words::words;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, Endpoint, IdText, IfMatch, Listed, Listing, NoContent,
    OptionalBody, OrganizationId, ProjectId, Query, Tagged, Time, present,
};
use crate::base::UnixTime;
use crate::control::{Capability, Effective, NewProject, ProjectPatch, ProjectState};
use crate::store::{Lifecycle, Mode, ProjectFilter, VersionState};

/// Longest text of a search, in characters.
const SEARCH_CHARS_MAX: usize = 200;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            "/organizations/{organization}/projects",
            Needs(Capability::ProjectCreate),
            "Creates a project with an empty draft.",
            create,
        )
        .refuses(&[Code::LimitReached, Code::NameTaken, Code::SlugTaken]),
        Endpoint::get(
            "/organizations/{organization}/projects",
            Needs(Capability::ProjectRead),
            "Lists the projects that the caller may see.",
            list,
        ),
        Endpoint::get("/projects/{project}", Needs(Capability::ProjectRead), "Shows a project.", show),
        Endpoint::patch(
            "/projects/{project}",
            Needs(Capability::ProjectWrite),
            "Changes settings of a project; they take effect at once.",
            change,
        )
        .refuses(&[Code::NameTaken, Code::SlugTaken, Code::SlugLocked, Code::ProjectArchived]),
        Endpoint::post(
            "/projects/{project}/archive",
            Needs(Capability::ProjectArchive),
            "Puts a project away: its routes end, everything is kept.",
            archive,
        )
        .refuses(&[Code::IllegalTransition]),
        Endpoint::post(
            "/projects/{project}/restore",
            Needs(Capability::ProjectArchive),
            "Takes a project out again; a roll back serves its last version.",
            restore,
        )
        .refuses(&[Code::IllegalTransition, Code::LimitReached]),
        Endpoint::delete(
            "/projects/{project}",
            Needs(Capability::ProjectDelete),
            "Deletes a project for good, with its configurations, keys and secrets.",
            delete,
        ),
    ]
}

/// A new project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProjectCreate {
    /// Unique in the organization, whatever the case.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    /// The first part of `project/route`; made from the name when absent.
    #[schema(min_length = 1, max_length = 63, pattern = "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
    slug: Option<String>,
    /// What it is for.
    #[schema(max_length = 2_000)]
    description: Option<String>,
    /// A label such as `production`.
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z0-9-]{1,32}$")]
    environment: Option<String>,
    /// At most 20 pairs.
    #[schema(schema_with = tags_schema)]
    tags: Option<BTreeMap<String, String>>,
    /// Where credentials of providers come from.
    mode: Option<Mode>,
    /// Whether answers are cached where a route does not say.
    caching_enabled: Option<bool>,
    /// Life of cached answers.
    #[schema(minimum = 10, maximum = 31_536_000)]
    cache_duration_seconds: Option<u32>,
}

/// Settings to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProjectChange {
    /// Unique in the organization, whatever the case.
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// Only before the first serve.
    #[schema(min_length = 1, max_length = 63, pattern = "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
    slug: Option<String>,
    /// What it is for.
    #[schema(max_length = 2_000)]
    description: Option<String>,
    /// A label such as `production`.
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z0-9-]{1,32}$")]
    environment: Option<String>,
    /// All pairs: they are replaced together.
    #[schema(schema_with = tags_schema)]
    tags: Option<BTreeMap<String, String>>,
    /// Where credentials of providers come from.
    mode: Option<Mode>,
    /// Whether answers are cached where a route does not say; null leaves it to the configuration.
    #[serde(default, deserialize_with = "present")]
    caching_enabled: Option<Option<bool>>,
    /// Life of cached answers.
    #[schema(minimum = 10, maximum = 31_536_000)]
    cache_duration_seconds: Option<u32>,
    /// Whether approval needs another person; null is as the organization. Owners and admins only.
    #[serde(default, deserialize_with = "present")]
    require_second_approver: Option<Option<bool>>,
    /// Days that logs are kept; null is as the organization.
    #[serde(default, deserialize_with = "present")]
    #[schema(minimum = 1, maximum = 3_650)]
    retention_days: Option<Option<u32>>,
    /// Whether prompts and answers are kept; null is as the organization.
    #[serde(default, deserialize_with = "present")]
    log_payloads: Option<Option<bool>>,
}

/// A project.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub(super) struct ProjectView {
    id: IdText,
    organization_id: IdText,
    name: String,
    /// The first part of `project/route`.
    slug: String,
    description: String,
    environment: String,
    tags: BTreeMap<String, String>,
    /// `PROD` while a version is served.
    #[schema(schema_with = status_schema)]
    status: &'static str,
    /// State of the open version; without one `SERVED` if something is served, else `DRAFT`.
    config_state: VersionState,
    served_version: Option<u32>,
    open_version: Option<u32>,
    /// Activations so far.
    generation: u64,
    mode: Mode,
    caching_enabled: Option<bool>,
    cache_duration_seconds: u32,
    require_second_approver: Option<bool>,
    retention_days: Option<u32>,
    log_payloads: Option<bool>,
    /// What holds, and where it comes from.
    effective: EffectiveSettings,
    lifecycle: Lifecycle,
    created_at: Time,
    updated_at: Time,
    /// Id of the user or token; `file` in file mode.
    created_by: String,
}

/// Settings that may come from elsewhere.
#[derive(Debug, Serialize, ToSchema)]
struct EffectiveSettings {
    mode: EffectiveMode,
    caching_enabled: EffectiveCaching,
    require_second_approver: EffectiveFlag,
    retention_days: EffectiveDays,
    log_payloads: EffectiveFlag,
}

/// Declares views of an effective value, one a type.
macro_rules! effective {
    ($($(#[$meta:meta])* $name:ident($value:ty)),+ $(,)?) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Serialize, ToSchema)]
            struct $name {
                /// What holds.
                value: $value,
                /// `configuration`, `project` or `organization`.
                #[schema(schema_with = source_schema)]
                from: &'static str,
            }

            impl From<Effective<$value>> for $name {
                fn from(effective: Effective<$value>) -> Self {
                    Self { value: effective.value, from: effective.from.as_str() }
                }
            }
        )+
    };
}

effective! {
    /// Where credentials come from.
    EffectiveMode(Mode),
    /// Whether answers are cached; null leaves it to the routes.
    EffectiveCaching(Option<bool>),
    /// A switch.
    EffectiveFlag(bool),
    /// A number of days.
    EffectiveDays(u32),
}

pub(super) fn tags_schema() -> utoipa::openapi::schema::Object {
    let text =
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String).max_length(Some(256));
    utoipa::openapi::ObjectBuilder::new().additional_properties(Some(text)).max_properties(Some(20)).build()
}

fn status_schema() -> utoipa::openapi::schema::Object {
    words(&["DEV", "PROD"])
}

fn source_schema() -> utoipa::openapi::schema::Object {
    words(&["configuration", "project", "organization"])
}

/// Which projects are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ProjectQuery {
    /// `PROD`: something is served; `DEV`: nothing is.
    #[param(schema_with = status_schema)]
    status: Option<String>,
    /// Default `active`.
    #[param(nullable = false)]
    lifecycle: Option<Lifecycle>,
    /// Only this label.
    #[param(nullable = false, max_length = 32)]
    environment: Option<String>,
    /// `key`, or `key=value`.
    #[param(nullable = false, max_length = 400)]
    tag: Option<String>,
    /// Only with this text in name, slug or description; taken literally.
    #[param(nullable = false, max_length = 200)]
    q: Option<String>,
}

/// Confirms a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ConfirmQuery {
    /// The slug of the project.
    #[param(required = true, nullable = false)]
    confirm: Option<String>,
}

async fn create(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    Body(body): Body<ProjectCreate>,
) -> Result<Created<ProjectView>, ApiError> {
    let new = NewProject {
        name: body.name,
        slug: body.slug,
        description: body.description,
        environment: body.environment,
        tags: body.tags.map(|tags| tags.into_iter().collect()),
        mode: body.mode,
        caching_enabled: body.caching_enabled,
        cache_duration_seconds: body.cache_duration_seconds,
    };
    let made = api.control.create_project(&actor, &organization, new).await?;
    let location = format!("/projects/{}", made.project.id);
    Ok(Created { revision: made.project.revision, body: made.into(), location })
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    Query(query): Query<ProjectQuery>,
    listing: Listing,
) -> Result<Listed<ProjectView>, ApiError> {
    let filter = query.filter()?;
    let page = api.control.projects(&actor, &organization, filter, listing.page.clone()).await?;
    let mark = |row: &ProjectState| (millis(row.project.created_at), row.project.id.as_str().to_owned());
    Ok(Listed::new(&listing, page, mark, ProjectView::from))
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
) -> Result<Tagged<ProjectView>, ApiError> {
    api.control.project(&actor, &project).await.map(tagged).map_err(ApiError::from)
}

async fn change(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    IfMatch(revision): IfMatch,
    Body(body): Body<ProjectChange>,
) -> Result<Tagged<ProjectView>, ApiError> {
    let patch = ProjectPatch {
        name: body.name,
        slug: body.slug,
        description: body.description,
        environment: body.environment,
        tags: body.tags.map(|tags| tags.into_iter().collect()),
        mode: body.mode,
        caching_enabled: body.caching_enabled,
        cache_duration_seconds: body.cache_duration_seconds,
        require_second_approver: body.require_second_approver,
        retention_days: body.retention_days,
        log_payloads: body.log_payloads,
    };
    api.control.change_project(&actor, &project, revision, patch).await.map(tagged).map_err(ApiError::from)
}

async fn archive(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    OptionalBody(body): OptionalBody<Comment>,
) -> Result<Tagged<ProjectView>, ApiError> {
    api.control.archive_project(&actor, &project, body.comment).await.map(tagged).map_err(ApiError::from)
}

async fn restore(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    OptionalBody(body): OptionalBody<Comment>,
) -> Result<Tagged<ProjectView>, ApiError> {
    api.control.restore_project(&actor, &project, body.comment).await.map(tagged).map_err(ApiError::from)
}

async fn delete(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    IfMatch(revision): IfMatch,
    Query(query): Query<ConfirmQuery>,
) -> Result<NoContent, ApiError> {
    let confirm = query.confirm.unwrap_or_default();
    api.control.delete_project(&actor, &project, revision, confirm).await?;
    Ok(NoContent)
}

impl ProjectQuery {
    fn filter(self) -> Result<ProjectFilter, ApiError> {
        let served = match self.status.as_deref() {
            None => None,
            Some("PROD") => Some(true),
            Some("DEV") => Some(false),
            Some(_) => return Err(ApiError::field("status", "expected `DEV` or `PROD`")),
        };
        if self.q.as_ref().is_some_and(|text| text.chars().count() > SEARCH_CHARS_MAX) {
            return Err(ApiError::field("q", "must have at most 200 characters"));
        }
        let tag = self.tag.map(|tag| match tag.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (tag, None),
        });
        Ok(ProjectFilter {
            among: None,
            served,
            lifecycle: Some(self.lifecycle.unwrap_or(Lifecycle::Active)),
            environment: self.environment,
            tag,
            text: self.q,
        })
    }
}

fn tagged(state: ProjectState) -> Tagged<ProjectView> {
    Tagged { revision: state.project.revision, body: state.into() }
}

/// Milliseconds since 1970, as lists are ordered.
pub(super) fn millis(time: UnixTime) -> i64 {
    i64::try_from(time.0.as_millis()).unwrap_or(i64::MAX)
}

impl From<ProjectState> for ProjectView {
    fn from(state: ProjectState) -> Self {
        let project = state.project;
        Self {
            id: project.id.into(),
            organization_id: project.organization.into(),
            name: project.name,
            slug: project.slug,
            description: project.description,
            environment: project.environment,
            tags: project.tags.into_iter().collect(),
            status: if project.served_version.is_some() { "PROD" } else { "DEV" },
            config_state: state.config_state,
            served_version: project.served_version,
            open_version: project.open_version,
            generation: project.generation,
            mode: project.mode,
            caching_enabled: project.caching_enabled,
            cache_duration_seconds: project.cache_duration_seconds,
            require_second_approver: project.require_second_approver,
            retention_days: project.retention_days,
            log_payloads: project.log_payloads,
            effective: EffectiveSettings {
                mode: state.mode.into(),
                caching_enabled: state.caching_enabled.into(),
                require_second_approver: state.require_second_approver.into(),
                retention_days: state.retention_days.into(),
                log_payloads: state.log_payloads.into(),
            },
            lifecycle: project.lifecycle,
            created_at: project.created_at.into(),
            updated_at: project.updated_at.into(),
            created_by: project.created_by.as_str().to_owned(),
        }
    }
}

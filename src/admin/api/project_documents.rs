//! Projects as documents: taken out, and made of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::projects::{ProjectView, tags_schema};
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Created, Endpoint, OrganizationId, Plain, ProjectId,
};
use crate::control::{Capability, ProjectDocument};
use crate::store::Mode;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/projects/{project}/export",
            Needs(Capability::ProjectRead),
            "Shows a project as one document: its settings and the served text, no secret.",
            export,
        ),
        Endpoint::post(
            "/organizations/{organization}/projects/import",
            Needs(Capability::ProjectCreate),
            "Makes a project of a document; its text is the first draft.",
            import,
        )
        .refuses(&[Code::LimitReached, Code::NameTaken, Code::SlugTaken]),
    ]
}

/// A project as one document.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProjectDocument)]
struct DocumentView {
    /// `millrace-project/1`.
    #[schema(pattern = "^millrace-project/1$")]
    form: String,
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[schema(min_length = 1, max_length = 63, pattern = "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
    slug: String,
    #[schema(max_length = 2_000)]
    description: String,
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z0-9-]{1,32}$")]
    environment: String,
    #[schema(schema_with = tags_schema)]
    tags: BTreeMap<String, String>,
    mode: Mode,
    caching_enabled: Option<bool>,
    #[schema(minimum = 10, maximum = 31_536_000)]
    cache_duration_seconds: u32,
    /// The exact YAML text.
    #[schema(max_length = 1_048_576)]
    config: String,
}

async fn export(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
) -> Result<Plain<DocumentView>, ApiError> {
    Ok(Plain(api.control.export_project(&actor, &project).await?.into()))
}

async fn import(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    Body(body): Body<DocumentView>,
) -> Result<Created<ProjectView>, ApiError> {
    let made = api.control.import_project(&actor, &organization, body.into()).await?;
    let location = format!("/projects/{}", made.project.id);
    Ok(Created { revision: made.project.revision, body: made.into(), location })
}

impl From<ProjectDocument> for DocumentView {
    fn from(document: ProjectDocument) -> Self {
        Self {
            form: document.form,
            name: document.name,
            slug: document.slug,
            description: document.description,
            environment: document.environment,
            tags: document.tags.into_iter().collect(),
            mode: document.mode,
            caching_enabled: document.caching_enabled,
            cache_duration_seconds: document.cache_duration_seconds,
            config: document.config,
        }
    }
}

impl From<DocumentView> for ProjectDocument {
    fn from(view: DocumentView) -> Self {
        Self {
            form: view.form,
            name: view.name,
            slug: view.slug,
            description: view.description,
            environment: view.environment,
            tags: view.tags.into_iter().collect(),
            mode: view.mode,
            caching_enabled: view.caching_enabled,
            cache_duration_seconds: view.cache_duration_seconds,
            config: view.config,
        }
    }
}

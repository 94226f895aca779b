//! The JSON Schema of a project's configuration.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::rest::{Access::Needs, Api, ApiError, Caller, Endpoint, Plain};
use crate::config::project_schema;
use crate::control::Capability;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::get(
        "/config/schema",
        Needs(Capability::Self_),
        "Shows the JSON Schema of a project's configuration, for editors.",
        show,
    )]
}

/// A JSON Schema.
#[derive(Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
struct ConfigSchema(serde_json::Value);

async fn show(State(_): State<Arc<Api>>, Caller(_): Caller) -> Result<Plain<ConfigSchema>, ApiError> {
    Ok(Plain(ConfigSchema(project_schema())))
}

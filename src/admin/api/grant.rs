//! Roles in projects, as they are sent and shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::rest::{ApiError, IdText};
use crate::base::{Id, IdKind};
use crate::control::FieldProblem;
use crate::store::{ProjectGrant, ProjectRole};

/// Roles in projects that one member or token may have.
const GRANTS_MAX: usize = 1_000;

/// A role in one project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectGrantInput {
    /// The project.
    #[schema(pattern = "^prj_[0-9A-Za-z]{20}$")]
    project_id: String,
    /// The role there.
    role: ProjectRole,
}

/// A role in one project.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProjectGrant)]
pub(super) struct ProjectGrantView {
    project_id: IdText,
    role: ProjectRole,
}

impl From<ProjectGrant> for ProjectGrantView {
    fn from(grant: ProjectGrant) -> Self {
        Self { project_id: grant.project.into(), role: grant.role }
    }
}

/// Reads roles in projects.
///
/// # Errors
/// One field problem for each text that cannot be an id.
pub(super) fn grants(sent: Vec<ProjectGrantInput>) -> Result<Vec<ProjectGrant>, ApiError> {
    if sent.len() > GRANTS_MAX {
        return Err(ApiError::field("project_grants", format!("at most {GRANTS_MAX} roles in projects")));
    }
    let (mut grants, mut problems) = (Vec::with_capacity(sent.len()), Vec::new());
    for (index, grant) in sent.into_iter().enumerate() {
        match Id::parse(IdKind::Project, &grant.project_id) {
            Some(project) => grants.push(ProjectGrant { project, role: grant.role }),
            None => problems.push(FieldProblem::new(
                format!("project_grants.{index}.project_id"),
                "no such project in this organization",
            )),
        }
    }
    if problems.is_empty() { Ok(grants) } else { Err(ApiError::invalid(problems)) }
}

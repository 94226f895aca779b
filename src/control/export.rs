//! A project as one document, and a project made of one.
//!
//! The document holds the settings and the exact text of one version. No secret: values are never in a text that was
//! approved, and a document names them as the text does.

use crate::{base::Id, store::Mode};

use super::{
    actor::Actor,
    check::{Candidate, check_storable, rehearsal},
    error::ControlError,
    instance::Control,
    permit::{Capability, Scope, permit},
    project_settings::NewProject,
    projects::{FirstText, ProjectState, checked, create},
};

/// What a document says it is.
const FORM: &str = "millrace-project/1";

/// A project to be kept elsewhere or moved.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectDocument {
    /// `millrace-project/1`.
    pub form: String,
    /// What it is called.
    pub name: String,
    /// The `project` part of `project/route`.
    pub slug: String,
    /// What it is for.
    pub description: String,
    /// A label.
    pub environment: String,
    /// Labels by key.
    pub tags: Vec<(String, String)>,
    /// Where credentials come from.
    pub mode: Mode,
    /// Default of caching.
    pub caching_enabled: Option<bool>,
    /// Default life of cached answers.
    pub cache_duration_seconds: u32,
    /// The exact text.
    pub config: String,
}

impl Control {
    /// Makes the document of a project with the text that is served, else with the open one.
    ///
    /// # Errors
    /// The permission's or the store's.
    pub async fn export_project(&self, actor: &Actor, id: &Id) -> Result<ProjectDocument, ControlError> {
        let project = self.project(actor, id).await?.project;
        let number = project.served_version.or(project.open_version);
        let text = match number {
            Some(number) => self.version(actor, id, number).await?.text,
            None => Vec::new(),
        };
        Ok(ProjectDocument {
            form: FORM.to_owned(),
            name: project.name,
            slug: project.slug,
            description: project.description,
            environment: project.environment,
            tags: project.tags,
            mode: project.mode,
            caching_enabled: project.caching_enabled,
            cache_duration_seconds: project.cache_duration_seconds,
            config: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    /// Makes a new project of a document; its text is the first draft.
    ///
    /// # Errors
    /// As [`Control::create_project`]; [`ControlError::Invalid`] for a document of another form.
    pub async fn import_project(
        &self,
        actor: &Actor,
        organization: &Id,
        document: ProjectDocument,
    ) -> Result<ProjectState, ControlError> {
        self.refuse_if_files_own("projects")?;
        permit(actor, Capability::ProjectCreate, Scope::Organization(organization))?;
        if document.form != FORM {
            return Err(ControlError::field("form", format!("must be `{FORM}`")));
        }
        let text = document.config.into_bytes();
        check_storable(&text)?;
        let new = NewProject {
            name: document.name,
            slug: Some(document.slug),
            description: Some(document.description),
            environment: Some(document.environment),
            tags: Some(document.tags),
            mode: Some(document.mode),
            caching_enabled: document.caching_enabled,
            cache_duration_seconds: Some(document.cache_duration_seconds),
        };
        // Checked with what the organization shares: the new project has nothing of its own yet.
        let expected = checked(actor, organization, new.clone())?;
        let candidate = self.store().read(move |tx| Candidate::new(tx, &expected, 1, text)).await?;
        let (candidate, verdict) = candidate.judge_aside(self.vault(), rehearsal(&self.registries())).await?;
        let first = FirstText { text: candidate.text, problems: verdict.problems_json() };
        let (actor, organization) = (actor.clone(), organization.clone());
        self.store().write(move |tx| create(tx, &actor, &organization, new, &first)).await
    }
}

//! Projects: create, list, read, change settings.

use std::sync::Arc;

use crate::{
    base::{Id, IdKind, unix_time},
    config::project_slug,
    store::{
        Lifecycle, Mode, OrganizationRole, Owner, Page, PageRequest, Project, ProjectFilter, StoreError, Tx,
        VersionState,
    },
};

use super::{
    actor::Actor,
    check::{Candidate, rehearsal},
    error::ControlError,
    gate::{self, expect_revision, project_json},
    instance::Control,
    permit::{Capability, Scope, permit},
    project_settings::{Effective, FieldCheck, NewProject, ProjectPatch, SettingSource, numbered, slug_of},
    sealed_keys::setting_of,
    versions::{NewText, new_version},
};

/// How many numbers are tried behind a slug that is taken.
const SLUGS_TRIED_MAX: u32 = 10_000;
const CACHE_SECONDS_DEFAULT: u32 = 60;

/// A project with what is derived from other records.
#[derive(Debug, Clone)]
pub struct ProjectState {
    /// The record.
    pub project: Project,
    /// State of the open version; without one `SERVED` if something is served, else `DRAFT`.
    pub config_state: VersionState,
    /// Where credentials come from, and why.
    pub mode: Effective<Mode>,
    /// Whether answers are cached where a route does not say; none leaves it to the configuration.
    pub caching_enabled: Effective<Option<bool>>,
    /// Whether approval needs another person, and why.
    pub require_second_approver: Effective<bool>,
    /// Days that logs are kept, and why.
    pub retention_days: Effective<u32>,
    /// Whether prompts and answers are kept, and why.
    pub log_payloads: Effective<bool>,
}

impl Control {
    /// Creates a project with an empty draft as version 1.
    ///
    /// # Errors
    /// [`ControlError::LimitReached`], [`ControlError::NameTaken`], [`ControlError::SlugTaken`],
    /// [`ControlError::Invalid`], or the permission's.
    pub async fn create_project(
        &self,
        actor: &Actor,
        organization: &Id,
        new: NewProject,
    ) -> Result<ProjectState, ControlError> {
        self.refuse_if_files_own("projects")?;
        let (actor, organization) = (actor.clone(), organization.clone());
        self.store().write(move |tx| create(tx, &actor, &organization, new, &FirstText::empty())).await
    }

    /// Lists the projects of an organization that the actor may see.
    ///
    /// # Errors
    /// The permission's or the store's.
    pub async fn projects(
        &self,
        actor: &Actor,
        organization: &Id,
        filter: ProjectFilter,
        page: PageRequest,
    ) -> Result<Page<ProjectState>, ControlError> {
        if let Some(files) = self.files() {
            return files.projects(actor, organization, &filter, &page).map(|found| self.with_modes(found));
        }
        let (actor, organization) = (actor.clone(), organization.clone());
        let found = self.store().read(move |tx| list(tx, &actor, &organization, filter, &page)).await;
        found.map(|found| self.with_modes(found))
    }

    /// Reads a project.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn project(&self, actor: &Actor, id: &Id) -> Result<ProjectState, ControlError> {
        if let Some(files) = self.files() {
            return files.project(actor, id).map(|state| self.with_mode(state));
        }
        let (actor, id) = (actor.clone(), id.clone());
        let read = self.store().read(move |tx| {
            let found = gate::project(tx, &actor, Capability::ProjectRead, &id)?;
            state_of(tx, found)
        });
        read.await.map(|state| self.with_mode(state))
    }

    /// What is served may state a mode, which then comes before the setting.
    fn with_mode(&self, mut state: ProjectState) -> ProjectState {
        // In file mode slugs stand for ids.
        let of_files = self.files().is_some();
        let id = if of_files { state.project.slug.as_str() } else { state.project.id.as_str() };
        if let Some(mode) = self.served().project(id).and_then(|part| part.mode()) {
            state.mode = Effective { value: setting_of(mode), from: SettingSource::Configuration };
        }
        state
    }

    /// Changes settings. They take effect at once; an empty patch changes nothing.
    ///
    /// # Errors
    /// [`ControlError::Stale`] when the project changed since `revision`, [`ControlError::SlugLocked`] after the first
    /// serve, [`ControlError::Invalid`], or the permission's.
    pub async fn change_project(
        self: &Arc<Self>,
        actor: &Actor,
        id: &Id,
        revision: u64,
        patch: ProjectPatch,
    ) -> Result<ProjectState, ControlError> {
        self.refuse_if_files_own("settings of projects")?;
        let (actor, id, captures) = (actor.clone(), id.clone(), patch.log_payloads.is_some());
        let Some(mode) = patch.mode else {
            let changed = self.store().write(move |tx| change(tx, &actor, &id, revision, patch)).await?;
            if captures {
                self.show_captured(changed.project.organization.clone()).await?;
            }
            return Ok(self.with_mode(changed));
        };
        self.check_mode(&actor, &id, mode).await?;
        // What is served uses other credentials from now on.
        let owner = Owner::Project(id.clone());
        let changed = self.change_secrets(&owner, move |tx| change(tx, &actor, &id, revision, patch)).await?;
        if captures {
            self.show_captured(changed.project.organization.clone()).await?;
        }
        Ok(self.with_mode(changed))
    }

    /// Refuses a mode in which what is served would not work.
    async fn check_mode(&self, actor: &Actor, id: &Id, mode: Mode) -> Result<(), ControlError> {
        let (actor, id) = (actor.clone(), id.clone());
        let read = self.store().read(move |tx| {
            let project = gate::active_project(tx, &actor, Capability::ProjectWrite, &id)?;
            let Some(number) = project.served_version.filter(|_| project.mode != mode) else { return Ok(None) };
            Candidate::read(tx, &Project { mode, ..project }, number).map(Some)
        });
        if let Some(candidate) = read.await? {
            let (candidate, verdict) = candidate.judge_aside(self.vault(), rehearsal(&self.registries())).await?;
            verdict.accept(&candidate.place())?;
        }
        Ok(())
    }

    fn with_modes(&self, found: Page<ProjectState>) -> Page<ProjectState> {
        let rows = found.rows.into_iter().map(|state| self.with_mode(state)).collect();
        Page { rows, has_more: found.has_more }
    }
}

/// The first draft of a project.
pub(super) struct FirstText {
    pub(super) text: Vec<u8>,
    /// What is wrong with it, as a JSON list.
    pub(super) problems: String,
}

impl FirstText {
    /// A document that says nothing.
    fn empty() -> Self {
        Self { text: Vec::new(), problems: "[]".to_owned() }
    }
}

/// Creates a project whose first draft has this text.
///
/// # Errors
/// As [`Control::create_project`].
pub(super) fn create(
    tx: &mut dyn Tx,
    actor: &Actor,
    organization: &Id,
    new: NewProject,
    first: &FirstText,
) -> Result<ProjectState, ControlError> {
    permit(actor, Capability::ProjectCreate, Scope::Organization(organization))?;
    let limit = gate::usable_organization(tx, actor, organization)?.project_limit;
    let mut project = checked(actor, organization, new)?;
    refuse_above_limit(tx, organization, limit)?;
    if project.slug.is_empty() {
        project.slug = free_slug(tx, organization, &project.name)?;
    }
    tx.insert_project(&project).map_err(|error| taken(error, &project))?;
    let FirstText { text, problems } = first;
    let new = NewText { author: &actor.author, text, comment: String::new(), problems: problems.clone() };
    tx.insert_version(&new_version(&project.id, 1, new), text)?;
    let mut event = gate::event(actor, "project.create", project.id.as_str(), &project);
    event.after = project_json(&project).to_string();
    tx.append_audit(&event)?;
    state_of(tx, project)
}

/// Refuses one more project than the organization may have.
///
/// # Errors
/// [`ControlError::LimitReached`].
pub(super) fn refuse_above_limit(tx: &dyn Tx, organization: &Id, limit: u32) -> Result<(), ControlError> {
    let count = tx.active_project_count(organization)?;
    if count < u64::from(limit) {
        return Ok(());
    }
    Err(ControlError::LimitReached(format!(
        "{count} of {limit} projects; archive or delete one, or ask an instance administrator to raise the limit"
    )))
}

/// Checks the fields and fills in the defaults; the slug stays empty when none is given.
///
/// # Errors
/// [`ControlError::Invalid`] with every field.
pub(super) fn checked(actor: &Actor, organization: &Id, new: NewProject) -> Result<Project, ControlError> {
    let mut check = FieldCheck::default();
    let name = check.name("name", &new.name);
    let description = new.description.unwrap_or_default();
    check.text("description", &description);
    let environment = new.environment.unwrap_or_else(|| "development".to_owned());
    check.environment(&environment);
    let tags = check.tags(new.tags.unwrap_or_default());
    let cache_duration_seconds = new.cache_duration_seconds.unwrap_or(CACHE_SECONDS_DEFAULT);
    check.cache_seconds(cache_duration_seconds);
    if let Some(slug) = &new.slug {
        check.slug(slug);
    }
    check.finish()?;
    let now = unix_time();
    Ok(Project {
        id: Id::random(IdKind::Project)?,
        organization: organization.clone(),
        name,
        slug: new.slug.unwrap_or_default(),
        ever_served: false,
        description,
        environment,
        tags,
        mode: new.mode.unwrap_or(Mode::Hybrid),
        caching_enabled: new.caching_enabled,
        cache_duration_seconds,
        require_second_approver: None,
        retention_days: None,
        log_payloads: None,
        lifecycle: Lifecycle::Active,
        served_version: None,
        open_version: Some(1),
        last_version: 1,
        generation: 0,
        created_at: now,
        updated_at: now,
        created_by: actor.author.clone(),
        revision: 1,
    })
}

/// The slug of a name, with a number when it is reserved or taken.
fn free_slug(tx: &dyn Tx, organization: &Id, name: &str) -> Result<String, ControlError> {
    let first = slug_of(name);
    let mut slug = first.clone();
    for number in 2..SLUGS_TRIED_MAX {
        if project_slug(&slug).is_ok() && tx.project_by_slug(organization, &slug)?.is_none() {
            return Ok(slug);
        }
        slug = numbered(&first, number);
    }
    Err(ControlError::SlugTaken(format!("`{first}` is taken with every number behind it; choose a slug")))
}

fn taken(error: StoreError, project: &Project) -> ControlError {
    match error {
        StoreError::Taken("slug") => {
            ControlError::SlugTaken(format!("slug `{}` is taken in this organization; choose another", project.slug))
        }
        StoreError::Taken("name") => ControlError::NameTaken(format!(
            "a project of this organization is called `{}` already, whatever the case, archived ones included; choose \
             another name",
            project.name
        )),
        other => other.into(),
    }
}

fn list(
    tx: &dyn Tx,
    actor: &Actor,
    organization: &Id,
    mut filter: ProjectFilter,
    page: &PageRequest,
) -> Result<Page<ProjectState>, ControlError> {
    if let Some(granted) = granted_projects(actor, organization)? {
        filter.among = Some(granted);
    }
    let found = tx.projects(organization, &filter, page)?;
    let rows = found.rows.into_iter().map(|project| state_of(tx, project)).collect::<Result<_, _>>()?;
    Ok(Page { rows, has_more: found.has_more })
}

/// The projects that the actor sees; none is all of the organization's.
///
/// # Errors
/// The permission's.
pub(super) fn granted_projects(actor: &Actor, organization: &Id) -> Result<Option<Vec<Id>>, ControlError> {
    if let Some(membership) = actor.membership(organization)
        && membership.role == OrganizationRole::Member
    {
        return Ok(Some(membership.grants.iter().map(|grant| grant.project.clone()).collect()));
    }
    permit(actor, Capability::ProjectRead, Scope::Organization(organization))?;
    Ok(None)
}

fn change(
    tx: &mut dyn Tx,
    actor: &Actor,
    id: &Id,
    revision: u64,
    patch: ProjectPatch,
) -> Result<ProjectState, ControlError> {
    let before = gate::active_project(tx, actor, Capability::ProjectWrite, id)?;
    expect_revision(before.revision, revision)?;
    if patch.require_second_approver.is_some() {
        // Who could approve alone must not be able to say that one is enough.
        permit(actor, Capability::OrganizationWrite, Scope::Organization(&before.organization))?;
    }
    let mut after = before.clone();
    apply(patch, &mut after)?;
    if after == before {
        return state_of(tx, before);
    }
    after.updated_at = unix_time();
    tx.update_project(&after).map_err(|error| taken(error, &after))?;
    let mut event = gate::event(actor, "project.change", id.as_str(), &after);
    event.before = project_json(&before).to_string();
    event.after = project_json(&after).to_string();
    tx.append_audit(&event)?;
    let stored = tx.project(id)?.ok_or(ControlError::NotFound)?;
    state_of(tx, stored)
}

fn apply(patch: ProjectPatch, project: &mut Project) -> Result<(), ControlError> {
    let mut check = FieldCheck::default();
    if let Some(name) = patch.name {
        project.name = check.name("name", &name);
    }
    if let Some(slug) = patch.slug {
        if project.ever_served && slug != project.slug {
            return Err(ControlError::SlugLocked);
        }
        check.slug(&slug);
        project.slug = slug;
    }
    if let Some(description) = patch.description {
        check.text("description", &description);
        project.description = description;
    }
    if let Some(environment) = patch.environment {
        check.environment(&environment);
        project.environment = environment;
    }
    if let Some(tags) = patch.tags {
        project.tags = check.tags(tags);
    }
    project.mode = patch.mode.unwrap_or(project.mode);
    project.caching_enabled = patch.caching_enabled.unwrap_or(project.caching_enabled);
    if let Some(seconds) = patch.cache_duration_seconds {
        check.cache_seconds(seconds);
        project.cache_duration_seconds = seconds;
    }
    project.require_second_approver = patch.require_second_approver.unwrap_or(project.require_second_approver);
    if let Some(days) = patch.retention_days {
        check.retention(days);
        project.retention_days = days;
    }
    project.log_payloads = patch.log_payloads.unwrap_or(project.log_payloads);
    check.finish()
}

/// Adds what is derived from other records.
///
/// # Errors
/// The store's.
pub(super) fn state_of(tx: &dyn Tx, project: Project) -> Result<ProjectState, ControlError> {
    let open = match project.open_version {
        Some(number) => tx.version(&project.id, number)?.map(|version| version.state),
        None => None,
    };
    let organization = tx.organization(&project.organization)?.ok_or(ControlError::NotFound)?;
    let served = if project.served_version.is_some() { VersionState::Served } else { VersionState::Draft };
    Ok(ProjectState {
        config_state: open.unwrap_or(served),
        mode: Effective { value: project.mode, from: SettingSource::Project },
        caching_enabled: Effective { value: project.caching_enabled, from: caching_source(&project) },
        require_second_approver: effective(project.require_second_approver, organization.require_second_approver),
        retention_days: effective(project.retention_days, organization.default_retention_days),
        log_payloads: effective(project.log_payloads, organization.log_payloads),
        project,
    })
}

pub(super) fn caching_source(project: &Project) -> SettingSource {
    if project.caching_enabled.is_some() { SettingSource::Project } else { SettingSource::Configuration }
}

fn effective<T>(own: Option<T>, of_organization: T) -> Effective<T> {
    match own {
        Some(value) => Effective { value, from: SettingSource::Project },
        None => Effective { value: of_organization, from: SettingSource::Organization },
    }
}

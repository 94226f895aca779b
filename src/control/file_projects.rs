//! File mode seen through the admin API: to read only.
//!
//! A file is shown as a project with one version that is served. Ids come from the slug, so they stay when the process
//! starts again.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::{
    base::{Id, IdKind, Swap, UnixTime},
    config::{Problem, ProjectContext, check_project},
    store::{Lifecycle, Mode, Order, Page, PageRequest, Project, ProjectFilter, Version, VersionFilter, VersionState},
};

use super::{
    actor::Actor,
    check::check_storable,
    error::ControlError,
    permit::{Capability, Scope, permit},
    project_settings::{Effective, SettingSource},
    projects::{ProjectState, caching_source, granted_projects},
    versions::{NewText, VersionText, new_version},
};

/// The text of one project file.
#[derive(Debug, Clone)]
pub struct ProjectText {
    /// Name of the file without its ending.
    pub slug: String,
    /// When the file was last changed, in seconds since 1970.
    pub changed: u64,
    /// What it holds.
    pub text: Vec<u8>,
}

/// The projects of files, as they are served.
pub struct FileProjects {
    organization: Id,
    secret_names: BTreeSet<String>,
    rows: Swap<Vec<Row>>,
}

struct Row {
    project: Project,
    version: Version,
    text: Vec<u8>,
}

impl FileProjects {
    /// Shows these files as projects of an organization. `secret_names` are those of the settings.
    #[must_use]
    pub fn new(organization: Id, secret_names: BTreeSet<String>, texts: Vec<ProjectText>) -> Self {
        let rows = Swap::new(rows(&organization, texts));
        Self { organization, secret_names, rows }
    }

    /// Shows other files from now on: called when they are served.
    pub fn replace(&self, texts: Vec<ProjectText>) {
        self.rows.store(rows(&self.organization, texts));
    }

    pub(super) fn projects(
        &self,
        actor: &Actor,
        organization: &Id,
        filter: &ProjectFilter,
        page: &PageRequest,
    ) -> Result<Page<ProjectState>, ControlError> {
        let granted = granted_projects(actor, organization)?;
        let rows = self.rows.load();
        let mut found: Vec<&Project> = rows.iter().map(|row| &row.project).collect();
        found.retain(|project| {
            project.organization == *organization
                && granted.as_ref().is_none_or(|granted| granted.contains(&project.id))
                && fits(project, filter)
        });
        found.sort_by_key(|project| (millis(project.created_at), project.id.as_str()));
        if page.order == Order::Descending {
            found.reverse();
        }
        if let Some((time, id)) = &page.after {
            let mark = (*time, id.as_str());
            found.retain(|project| {
                let place = (millis(project.created_at), project.id.as_str());
                if page.order == Order::Ascending { place > mark } else { place < mark }
            });
        }
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        Ok(Page { rows: found.into_iter().take(limit).map(state_of).collect(), has_more })
    }

    pub(super) fn project(&self, actor: &Actor, id: &Id) -> Result<ProjectState, ControlError> {
        self.with_row(actor, Capability::ProjectRead, id, |row| state_of(&row.project))
    }

    pub(super) fn versions(
        &self,
        actor: &Actor,
        id: &Id,
        filter: &VersionFilter,
        page: &PageRequest,
    ) -> Result<Page<Version>, ControlError> {
        let version = self.with_row(actor, Capability::ProjectRead, id, |row| row.version.clone())?;
        let shown = filter.state.is_none_or(|state| state == version.state)
            && filter.author.as_ref().is_none_or(|author| *author == version.author)
            && filter.since.is_none_or(|since| version.created_at >= since)
            && filter.until.is_none_or(|until| version.created_at < until)
            && page.after.is_none();
        Ok(Page { rows: shown.then_some(version).into_iter().collect(), has_more: false })
    }

    pub(super) fn version(&self, actor: &Actor, id: &Id, number: u32) -> Result<VersionText, ControlError> {
        let found = self.with_row(actor, Capability::ProjectRead, id, |row| VersionText {
            version: row.version.clone(),
            text: row.text.clone(),
        })?;
        if found.version.number == number { Ok(found) } else { Err(ControlError::NotFound) }
    }

    pub(super) fn validate(&self, actor: &Actor, id: &Id, text: &[u8]) -> Result<Vec<Problem>, ControlError> {
        self.with_row(actor, Capability::DraftWrite, id, |_| ())?;
        check_storable(text)?;
        let context =
            ProjectContext { secret_names: Some(&self.secret_names), provider_keys: &[], ..ProjectContext::default() };
        Ok(check_project(text, context).map_or_else(|problems| problems, |checked| checked.warnings))
    }

    fn with_row<T>(
        &self,
        actor: &Actor,
        capability: Capability,
        id: &Id,
        read: impl FnOnce(&Row) -> T,
    ) -> Result<T, ControlError> {
        let rows = self.rows.load();
        let row = rows.iter().find(|row| row.project.id == *id).ok_or(ControlError::NotFound)?;
        permit(actor, capability, Scope::Project(&self.organization, id))?;
        Ok(read(row))
    }
}

fn rows(organization: &Id, texts: Vec<ProjectText>) -> Vec<Row> {
    texts.into_iter().map(|text| row(organization, text)).collect()
}

fn row(organization: &Id, file: ProjectText) -> Row {
    let id = id_of(&file.slug);
    let at = UnixTime(std::time::Duration::from_secs(file.changed));
    let author = Id::stored("file");
    let text = NewText { author: &author, text: &file.text, comment: String::new(), problems: "[]".to_owned() };
    let version =
        Version { state: VersionState::Served, created_at: at, served_at: Some(at), ..new_version(&id, 1, text) };
    let project = Project {
        id,
        organization: organization.clone(),
        name: file.slug.clone(),
        slug: file.slug,
        ever_served: true,
        description: String::new(),
        environment: "production".to_owned(),
        tags: Vec::new(),
        mode: Mode::Hybrid,
        caching_enabled: None,
        cache_duration_seconds: 60,
        require_second_approver: None,
        retention_days: None,
        log_payloads: None,
        lifecycle: Lifecycle::Active,
        served_version: Some(1),
        open_version: None,
        last_version: 1,
        generation: 1,
        created_at: at,
        updated_at: at,
        created_by: author,
        revision: file.changed.max(1),
    };
    Row { project, version, text: file.text }
}

/// An id of the usual form that only depends on the slug.
fn id_of(slug: &str) -> Id {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = Sha256::digest(slug.as_bytes());
    let letters = digest.iter().take(20).filter_map(|byte| ALPHABET.get(usize::from(*byte % 62)));
    let text: String = letters.map(|byte| char::from(*byte)).collect();
    Id::stored(&format!("{}_{text}", IdKind::Project.prefix()))
}

fn fits(project: &Project, filter: &ProjectFilter) -> bool {
    let has = |text: &String| project.slug.to_lowercase().contains(&text.to_lowercase());
    filter.served != Some(false)
        && filter.lifecycle.is_none_or(|lifecycle| lifecycle == project.lifecycle)
        && filter.environment.as_ref().is_none_or(|environment| *environment == project.environment)
        && filter.tag.is_none()
        && filter.text.as_ref().is_none_or(has)
}

fn state_of(project: &Project) -> ProjectState {
    ProjectState {
        project: project.clone(),
        config_state: VersionState::Served,
        mode: Effective { value: project.mode, from: SettingSource::Project },
        caching_enabled: Effective { value: None, from: caching_source(project) },
        require_second_approver: Effective { value: false, from: SettingSource::Organization },
        retention_days: Effective { value: 30, from: SettingSource::Organization },
        log_payloads: Effective { value: false, from: SettingSource::Organization },
    }
}

fn millis(time: UnixTime) -> i64 {
    i64::try_from(time.0.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{actor::Actor, actor::Membership},
        store::OrganizationRole,
    };

    fn text(slug: &str, changed: u64) -> ProjectText {
        ProjectText { slug: slug.to_owned(), changed, text: format!("# {slug}\n").into_bytes() }
    }

    fn owner(organization: &Id) -> Actor {
        let membership =
            Membership { organization: organization.clone(), role: OrganizationRole::Owner, grants: Vec::new() };
        Actor { instance_admin: false, memberships: vec![membership], ..Actor::system() }
    }

    #[test]
    fn files_are_listed_as_served_projects_with_lasting_ids() {
        let organization = Id::random(IdKind::Organization).unwrap();
        let actor = owner(&organization);
        let files = FileProjects::new(organization.clone(), BTreeSet::new(), vec![text("a", 1), text("b", 2)]);
        let page = |limit, after| PageRequest { limit, after, order: Order::Ascending };
        let listed = |page: &PageRequest| {
            let found = files.projects(&actor, &organization, &ProjectFilter::default(), page).unwrap();
            (found.rows.iter().map(|row| row.project.slug.clone()).collect::<Vec<_>>(), found.has_more)
        };
        assert_eq!(listed(&page(1, None)), (vec!["a".to_owned()], true));
        let id = id_of("a");
        assert!(Id::parse(IdKind::Project, id.as_str()).is_some(), "{id}");
        assert_eq!(listed(&page(9, Some((1_000, id.as_str().to_owned())))), (vec!["b".to_owned()], false));
        assert_eq!(files.project(&actor, &id).unwrap().project.served_version, Some(1));
        assert_eq!(files.version(&actor, &id, 1).unwrap().text, b"# a\n");
        assert!(matches!(files.version(&actor, &id, 2), Err(ControlError::NotFound)));
        files.replace(vec![text("b", 3)]);
        assert!(matches!(files.project(&actor, &id), Err(ControlError::NotFound)));
        assert_eq!(files.project(&actor, &id_of("b")).unwrap().project.updated_at.seconds(), 3);
    }

    #[test]
    fn strangers_see_no_files() {
        let [organization, other] = [(); 2].map(|()| Id::random(IdKind::Organization).unwrap());
        let files = FileProjects::new(organization.clone(), BTreeSet::new(), vec![text("a", 1)]);
        let stranger = owner(&other);
        assert!(matches!(files.project(&stranger, &id_of("a")), Err(ControlError::NotFound)));
        let page = PageRequest { limit: 9, after: None, order: Order::Ascending };
        let refused = files.projects(&stranger, &organization, &ProjectFilter::default(), &page);
        assert!(matches!(refused, Err(ControlError::NotFound)));
    }
}

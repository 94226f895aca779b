//! Projects in SQLite.

use rusqlite::params;

use super::{
    columns::{Columns, Json, ids_json},
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::Id,
    store::{
        query::{Page, PageRequest, ProjectFilter, VersionFilter},
        record::{Activation, Project, Version},
        tx::{Outcome, Projects},
    },
};

const PROJECT: &str = "SELECT id, organization, name, slug, ever_served, description, environment, tags, mode, \
    caching_enabled, cache_duration_seconds, require_second_approver, retention_days, log_payloads, lifecycle, \
    served_version, open_version, last_version, generation, created_at, updated_at, created_by, revision FROM projects";

impl Projects for SqliteTx<'_> {
    fn projects(&self, organization: &Id, filter: &ProjectFilter, page: &PageRequest) -> Outcome<Page<Project>> {
        let among = filter.among.as_deref().map(ids_json);
        let text = filter.text.as_ref().map(|text| text.to_lowercase());
        let mut select = Select::from(PROJECT.to_owned());
        select.with("organization = ?", organization);
        select.with_some("id IN (SELECT value FROM json_each(?))", &among);
        match filter.served {
            Some(true) => select.when("served_version IS NOT NULL"),
            Some(false) => select.when("served_version IS NULL"),
            None => {}
        }
        select.with_some("lifecycle = ?", &filter.lifecycle);
        select.with_some("environment = ?", &filter.environment);
        match &filter.tag {
            Some((key, Some(value))) => {
                select.with("EXISTS (SELECT 1 FROM json_each(tags) WHERE value ->> 0 = ?", key);
                // The second half of one condition.
                select.with("value ->> 1 = ?)", value);
            }
            Some((key, None)) => select.with("EXISTS (SELECT 1 FROM json_each(tags) WHERE value ->> 0 = ?)", key),
            None => {}
        }
        // No LIKE: every character of the text stands for itself.
        select.with_some("instr(searched, ?) > 0", &text);
        select.page(By::TimeAndId("created_at", "id"), page);
        self.page(&select, page, project)
    }

    fn project(&self, id: &Id) -> Outcome<Option<Project>> {
        self.first(&format!("{PROJECT} WHERE id = ?"), [id], project)
    }

    fn project_by_slug(&self, organization: &Id, slug: &str) -> Outcome<Option<Project>> {
        self.first(&format!("{PROJECT} WHERE organization = ? AND slug = ?"), params![organization, slug], project)
    }

    fn active_project_count(&self, organization: &Id) -> Outcome<u64> {
        self.count("SELECT count(*) FROM projects WHERE organization = ? AND lifecycle = 'active'", [organization])
    }

    fn all_projects(&self) -> Outcome<Vec<Project>> {
        self.all(&format!("{PROJECT} ORDER BY id"), [], project)
    }

    fn insert_project(&mut self, row: &Project) -> Outcome<()> {
        self.change(
            "INSERT INTO projects (organization, name, name_folded, slug, ever_served, description, environment, tags, \
             mode, caching_enabled, cache_duration_seconds, require_second_approver, retention_days, log_payloads, \
             lifecycle, served_version, open_version, last_version, generation, updated_at, searched, created_at, \
             created_by, revision, id) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.organization,
                row.name,
                row.name.to_lowercase(),
                row.slug,
                row.ever_served,
                row.description,
                row.environment,
                Json(&row.tags),
                row.mode,
                row.caching_enabled,
                row.cache_duration_seconds,
                row.require_second_approver,
                row.retention_days,
                row.log_payloads,
                row.lifecycle,
                row.served_version,
                row.open_version,
                row.last_version,
                row.generation,
                row.updated_at,
                searched(row),
                row.created_at,
                row.created_by,
                row.revision,
                row.id
            ],
        )
    }

    fn update_project(&mut self, row: &Project) -> Outcome<()> {
        self.change(
            "UPDATE projects SET organization = ?, name = ?, name_folded = ?, slug = ?, ever_served = ?, \
             description = ?, environment = ?, tags = ?, mode = ?, caching_enabled = ?, cache_duration_seconds = ?, \
             require_second_approver = ?, retention_days = ?, log_payloads = ?, lifecycle = ?, served_version = ?, \
             open_version = ?, last_version = ?, generation = ?, updated_at = ?, searched = ?, \
             revision = revision + 1 WHERE id = ? AND revision = ?",
            params![
                row.organization,
                row.name,
                row.name.to_lowercase(),
                row.slug,
                row.ever_served,
                row.description,
                row.environment,
                Json(&row.tags),
                row.mode,
                row.caching_enabled,
                row.cache_duration_seconds,
                row.require_second_approver,
                row.retention_days,
                row.log_payloads,
                row.lifecycle,
                row.served_version,
                row.open_version,
                row.last_version,
                row.generation,
                row.updated_at,
                searched(row),
                row.id,
                row.revision
            ],
        )
    }

    fn delete_project(&mut self, id: &Id) -> Outcome<()> {
        self.change("DELETE FROM projects WHERE id = ?", [id])
    }

    fn versions(&self, project: &Id, filter: &VersionFilter, page: &PageRequest) -> Outcome<Page<Version>> {
        self.versions_page(project, filter, page)
    }

    fn version(&self, project: &Id, number: u32) -> Outcome<Option<Version>> {
        self.one_version(project, number)
    }

    fn version_text(&self, project: &Id, number: u32) -> Outcome<Option<Vec<u8>>> {
        self.checked_text(project, number)
    }

    fn insert_version(&mut self, row: &Version, text: &[u8]) -> Outcome<()> {
        self.add_version(row, text)
    }

    fn update_version(&mut self, row: &Version) -> Outcome<()> {
        self.change_version(row)
    }

    fn activations(&self, project: &Id, page: &PageRequest) -> Outcome<Page<Activation>> {
        self.activations_page(project, page)
    }

    fn insert_activation(&mut self, row: &Activation) -> Outcome<()> {
        self.add_activation(row)
    }

    fn previously_served(&self, project: &Id) -> Outcome<Option<u32>> {
        self.served_before(project)
    }
}

/// What a search looks through. Between the fields stands a character that no field may have.
fn searched(row: &Project) -> String {
    format!("{}\u{1f}{}\u{1f}{}", row.name, row.slug, row.description).to_lowercase()
}

fn project(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: columns.take()?,
        organization: columns.take()?,
        name: columns.take()?,
        slug: columns.take()?,
        ever_served: columns.take()?,
        description: columns.take()?,
        environment: columns.take()?,
        tags: columns.list()?,
        mode: columns.take()?,
        caching_enabled: columns.take()?,
        cache_duration_seconds: columns.take()?,
        require_second_approver: columns.take()?,
        retention_days: columns.take()?,
        log_payloads: columns.take()?,
        lifecycle: columns.take()?,
        served_version: columns.take()?,
        open_version: columns.take()?,
        last_version: columns.take()?,
        generation: columns.take()?,
        created_at: columns.take()?,
        updated_at: columns.take()?,
        created_by: columns.take()?,
        revision: columns.take()?,
    })
}

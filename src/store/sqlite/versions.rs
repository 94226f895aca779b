//! Versions, their texts and activations in SQLite.

use rusqlite::params;
use sha2::{Digest as _, Sha256};

use super::{
    columns::{Columns, only},
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::Id,
    store::{
        error::StoreError,
        query::{Page, PageRequest, VersionFilter},
        record::{Activation, Version},
        tx::Outcome,
    },
};

const VERSION: &str = "SELECT project, number, state, digest, size, author, created_at, comment, problems, approver, \
    approved_at, approve_comment, copied_from, replaces, served_at FROM versions";

impl SqliteTx<'_> {
    pub(super) fn versions_page(
        &self,
        project: &Id,
        filter: &VersionFilter,
        page: &PageRequest,
    ) -> Outcome<Page<Version>> {
        let mut select = Select::from(VERSION.to_owned());
        select.with("project = ?", project);
        select.with_some("state = ?", &filter.state);
        select.with_some("author = ?", &filter.author);
        select.with_some("created_at >= ?", &filter.since);
        select.with_some("created_at < ?", &filter.until);
        select.page(By::Number("number"), page);
        self.page(&select, page, version)
    }

    pub(super) fn one_version(&self, project: &Id, number: u32) -> Outcome<Option<Version>> {
        self.first(&format!("{VERSION} WHERE project = ? AND number = ?"), params![project, number], version)
    }

    /// Reads a text and checks it against its digest: a flipped bit must not become a configuration.
    pub(super) fn checked_text(&self, project: &Id, number: u32) -> Outcome<Option<Vec<u8>>> {
        let sql = "SELECT t.text, v.digest FROM version_texts t JOIN versions v USING (project, number) \
             WHERE project = ? AND number = ?";
        let found = self.first(sql, params![project, number], |columns| {
            Ok((columns.take::<Vec<u8>>()?, columns.take::<[u8; 32]>()?))
        })?;
        match found {
            Some((text, digest)) if Sha256::digest(&text).as_slice() != digest => {
                Err(StoreError::Corrupt(format!("the text of version {number} of {project} does not fit its digest")))
            }
            found => Ok(found.map(|(text, _)| text)),
        }
    }

    pub(super) fn add_version(&self, row: &Version, text: &[u8]) -> Outcome<()> {
        self.change(
            "INSERT INTO versions (project, number, state, digest, size, author, created_at, comment, problems, \
             approver, approved_at, approve_comment, copied_from, replaces, served_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.project,
                row.number,
                row.state,
                row.digest,
                row.size,
                row.author,
                row.created_at,
                row.comment,
                row.problems,
                row.approver,
                row.approved_at,
                row.approve_comment,
                row.copied_from,
                row.replaces,
                row.served_at
            ],
        )?;
        self.change(
            "INSERT INTO version_texts (project, number, text) VALUES (?, ?, ?)",
            params![row.project, row.number, text],
        )
    }

    pub(super) fn change_version(&self, row: &Version) -> Outcome<()> {
        self.change(
            "UPDATE versions SET state = ?, problems = ?, approver = ?, approved_at = ?, approve_comment = ?, \
             served_at = ? WHERE project = ? AND number = ?",
            params![
                row.state,
                row.problems,
                row.approver,
                row.approved_at,
                row.approve_comment,
                row.served_at,
                row.project,
                row.number
            ],
        )
    }

    pub(super) fn activations_page(&self, project: &Id, page: &PageRequest) -> Outcome<Page<Activation>> {
        let sql = "SELECT project, generation, version, kind, actor, at, comment FROM activations";
        let mut select = Select::from(sql.to_owned());
        select.with("project = ?", project);
        select.page(By::Number("generation"), page);
        self.page(&select, page, activation)
    }

    pub(super) fn add_activation(&self, row: &Activation) -> Outcome<()> {
        self.change(
            "INSERT INTO activations (project, generation, version, kind, actor, at, comment) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![row.project, row.generation, row.version, row.kind, row.actor, row.at, row.comment],
        )
    }

    /// What is live now is what the last activation says; before it is the last other version that a text is stored for.
    pub(super) fn served_before(&self, project: &Id) -> Outcome<Option<u32>> {
        let sql = "SELECT a.version FROM activations a JOIN versions v ON v.project = a.project AND v.number = a.version \
             WHERE a.project = ?1 AND a.version IS NOT \
             (SELECT version FROM activations WHERE project = ?1 ORDER BY generation DESC LIMIT 1) \
             ORDER BY a.generation DESC LIMIT 1";
        self.first(sql, [project], only)
    }
}

fn version(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Version> {
    Ok(Version {
        project: columns.take()?,
        number: columns.take()?,
        state: columns.take()?,
        digest: columns.take()?,
        size: columns.take()?,
        author: columns.take()?,
        created_at: columns.take()?,
        comment: columns.take()?,
        problems: columns.take()?,
        approver: columns.take()?,
        approved_at: columns.take()?,
        approve_comment: columns.take()?,
        copied_from: columns.take()?,
        replaces: columns.take()?,
        served_at: columns.take()?,
    })
}

fn activation(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Activation> {
    Ok(Activation {
        project: columns.take()?,
        generation: columns.take()?,
        version: columns.take()?,
        kind: columns.take()?,
        actor: columns.take()?,
        at: columns.take()?,
        comment: columns.take()?,
    })
}

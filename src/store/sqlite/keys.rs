//! API keys in SQLite.

use rusqlite::params;

use super::{
    columns::{Columns, only},
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::{Id, UnixTime},
    store::{
        error::StoreError,
        query::{KeyFilter, Page, PageRequest},
        record::ApiKey,
        tx::{Keys, Outcome},
    },
};

pub(super) const KEY: &str = "SELECT id, project, public_id, last4, digest, old_digest, old_expires_at, description, status, \
    expires_at, \"group\", created_by, created_at, last_used_at, revision FROM keys";

impl Keys for SqliteTx<'_> {
    fn keys(&self, project: &Id, filter: &KeyFilter, page: &PageRequest) -> Outcome<Page<ApiKey>> {
        let mut select = Select::from(KEY.to_owned());
        select.with("project = ?", project);
        select.with_some("created_by = ?", &filter.created_by);
        select.with_some("status = ?", &filter.status);
        select.with_some("\"group\" = ?", &filter.group);
        select.page(By::TimeAndId("created_at", "id"), page);
        self.page(&select, page, key)
    }

    fn key(&self, id: &Id) -> Outcome<Option<ApiKey>> {
        self.first(&format!("{KEY} WHERE id = ?"), [id], key)
    }

    fn keys_of_project(&self, project: &Id) -> Outcome<Vec<ApiKey>> {
        self.all(&format!("{KEY} WHERE project = ? ORDER BY created_at, id"), [project], key)
    }

    fn each_key(&self, each: &mut dyn FnMut(ApiKey)) -> Outcome<()> {
        self.each(KEY, [], key, each)
    }

    fn active_key_count(&self, organization: &Id, creator: Option<&Id>) -> Outcome<u64> {
        self.count(
            "SELECT count(*) FROM projects p JOIN keys k ON k.project = p.id \
             WHERE p.organization = ?1 AND k.status = 'active' AND (?2 IS NULL OR k.created_by = ?2)",
            params![organization, creator],
        )
    }

    fn insert_key(&mut self, row: &ApiKey) -> Outcome<()> {
        self.check_digests(row)?;
        self.change(
            "INSERT INTO keys (id, project, public_id, last4, digest, old_digest, old_expires_at, description, status, \
             expires_at, \"group\", created_by, created_at, last_used_at, revision) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.project,
                row.public_id,
                row.last4,
                row.digest,
                row.old_digest,
                row.old_expires_at,
                row.description,
                row.status,
                row.expires_at,
                row.group,
                row.created_by,
                row.created_at,
                row.last_used_at,
                row.revision
            ],
        )
    }

    /// Leaves `last_used_at` as it is: that is [`Keys::touch_keys`], which may have come between.
    fn update_key(&mut self, row: &ApiKey) -> Outcome<()> {
        self.check_digests(row)?;
        self.change(
            "UPDATE keys SET public_id = ?, last4 = ?, digest = ?, old_digest = ?, old_expires_at = ?, \
             description = ?, status = ?, expires_at = ?, \"group\" = ?, revision = revision + 1 \
             WHERE id = ? AND revision = ?",
            params![
                row.public_id,
                row.last4,
                row.digest,
                row.old_digest,
                row.old_expires_at,
                row.description,
                row.status,
                row.expires_at,
                row.group,
                row.id,
                row.revision
            ],
        )
    }

    fn delete_key(&mut self, id: &Id, revision: u64) -> Outcome<()> {
        self.change("DELETE FROM keys WHERE id = ? AND revision = ?", params![id, revision])
    }

    fn touch_keys(&mut self, used: &[(String, UnixTime)]) -> Outcome<()> {
        for (public_id, at) in used {
            let sql = "UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE public_id = ?";
            self.run(sql, params![at, public_id])?;
        }
        Ok(())
    }

    fn disable_keys_of(&mut self, organization: &Id, creator: &Id) -> Outcome<Vec<ApiKey>> {
        let ids: Vec<Id> = self.all(
            "SELECT k.id FROM projects p JOIN keys k ON k.project = p.id \
             WHERE p.organization = ? AND k.created_by = ? AND k.status = 'active' ORDER BY k.created_at, k.id",
            [organization, creator],
            only,
        )?;
        let mut changed = Vec::with_capacity(ids.len());
        for id in ids {
            self.change("UPDATE keys SET status = 'disabled', revision = revision + 1 WHERE id = ?", [&id])?;
            changed.extend(self.key(&id)?);
        }
        Ok(changed)
    }
}

impl SqliteTx<'_> {
    /// No digest, present or old, may belong to two keys: the unique columns alone would not compare one with the other.
    fn check_digests(&self, row: &ApiKey) -> Outcome<()> {
        let sql = "SELECT (SELECT count(*) FROM keys WHERE digest = ?2 AND id <> ?3) \
             + (SELECT count(*) FROM keys WHERE old_digest = ?1 AND id <> ?3)";
        let mut others = self.count(sql, params![row.digest, row.old_digest, row.id])?;
        if row.old_digest == Some(row.digest) {
            others += 1;
        }
        if others > 0 { Err(StoreError::Taken("digest")) } else { Ok(()) }
    }
}

pub(super) fn key(columns: &mut Columns<'_, '_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        id: columns.take()?,
        project: columns.take()?,
        public_id: columns.take()?,
        last4: columns.take()?,
        digest: columns.take()?,
        old_digest: columns.take()?,
        old_expires_at: columns.take()?,
        description: columns.take()?,
        status: columns.take()?,
        expires_at: columns.take()?,
        group: columns.take()?,
        created_by: columns.take()?,
        created_at: columns.take()?,
        last_used_at: columns.take()?,
        revision: columns.take()?,
    })
}

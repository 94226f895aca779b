//! The audit log in SQLite: each event behind the last one.

use rusqlite::params;

use super::{
    columns::Columns,
    select::{By, Select},
    tx::SqliteTx,
};
use crate::store::{
    chain::hash_of,
    query::{AuditFilter, Page, PageRequest},
    record::{AuditEntry, AuditEvent},
    tx::{Audit, Outcome},
};

/// Entries of one read of the chain at most.
const CHAIN_ROWS_MAX: u32 = 1_000;

const ENTRY: &str = "SELECT sequence, at, actor_kind, actor, address, action, object, organization, project, before, \
    after, request_id, comment, previous, hash FROM audit";

impl Audit for SqliteTx<'_> {
    fn append_audit(&mut self, event: &AuditEvent) -> Outcome<u64> {
        let last = self.first("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1", [], |columns| {
            Ok((columns.take::<u64>()?, columns.take::<[u8; 32]>()?))
        })?;
        let (sequence, previous) = last.map_or((1, [0; 32]), |(sequence, hash)| (sequence + 1, hash));
        self.change(
            "INSERT INTO audit (sequence, at, actor_kind, actor, address, action, object, organization, project, \
             before, after, request_id, comment, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                sequence,
                event.at,
                event.actor_kind,
                event.actor,
                event.address,
                event.action,
                event.object,
                event.organization,
                event.project,
                event.before,
                event.after,
                event.request_id,
                event.comment,
                previous,
                hash_of(&previous, sequence, event)
            ],
        )?;
        Ok(sequence)
    }

    fn audit(&self, filter: &AuditFilter, page: &PageRequest) -> Outcome<Page<AuditEntry>> {
        let mut select = Select::from(ENTRY.to_owned());
        select.with_some("organization = ?", &filter.organization);
        select.with_some("project = ?", &filter.project);
        select.with_some("actor = ?", &filter.actor);
        select.with_some("action = ?", &filter.action);
        select.with_some("object = ?", &filter.object);
        select.with_some("request_id = ?", &filter.request_id);
        select.with_some("at >= ?", &filter.since);
        select.with_some("at < ?", &filter.until);
        select.page(By::Number("sequence"), page);
        self.page(&select, page, entry)
    }

    fn audit_after(&self, after: u64, limit: u32) -> Outcome<Vec<AuditEntry>> {
        let sql = format!("{ENTRY} WHERE sequence > ? ORDER BY sequence LIMIT ?");
        self.all(&sql, params![after, limit.min(CHAIN_ROWS_MAX)], entry)
    }
}

fn entry(columns: &mut Columns<'_, '_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        sequence: columns.take()?,
        event: AuditEvent {
            at: columns.take()?,
            actor_kind: columns.take()?,
            actor: columns.take()?,
            address: columns.take()?,
            action: columns.take()?,
            object: columns.take()?,
            organization: columns.take()?,
            project: columns.take()?,
            before: columns.take()?,
            after: columns.take()?,
            request_id: columns.take()?,
            comment: columns.take()?,
        },
        previous: columns.take()?,
        hash: columns.take()?,
    })
}

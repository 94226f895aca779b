//! Sealed requests and answers in SQLite.

use rusqlite::params;

use super::{
    columns::{Columns, only},
    tx::SqliteTx,
};
use crate::{
    base::{Id, UnixTime},
    store::{payload_tx::Payloads, record::StoredPayload, tx::Outcome},
};

const SETTING: &str = "coalesce(projects.log_payloads, organizations.log_payloads) \
    FROM projects JOIN organizations ON organizations.id = projects.organization";

impl Payloads for SqliteTx<'_> {
    fn keeps_payloads(&self, project: &Id) -> Outcome<bool> {
        Ok(self.first(&format!("SELECT {SETTING} WHERE projects.id = ?"), [project], only)?.unwrap_or(false))
    }

    fn payload_settings(&self, organization: Option<&Id>) -> Outcome<Vec<(Id, bool)>> {
        let sql = format!("SELECT projects.id, {SETTING} WHERE ?1 IS NULL OR projects.organization = ?1");
        self.all(&sql, [organization], |columns| Ok((columns.take()?, columns.take()?)))
    }

    fn payload_count(&self) -> Outcome<u64> {
        self.count("SELECT count(*) FROM payloads", [])
    }

    fn payload_key(&self, project: &str) -> Outcome<Option<Vec<u8>>> {
        self.first("SELECT sealed FROM payload_keys WHERE project = ?", [project], only)
    }

    fn insert_payload_key(&mut self, project: &str, sealed: &[u8]) -> Outcome<()> {
        self.change("INSERT INTO payload_keys (project, sealed) VALUES (?, ?)", params![project, sealed])
    }

    fn stale_payload_keys(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<(String, Vec<u8>)>> {
        self.all(
            "SELECT project, sealed FROM payload_keys WHERE substr(sealed, 1, length(?1)) <> ?1 AND project > ?2 \
             ORDER BY project LIMIT ?3",
            params![head, after, limit],
            |columns| Ok((columns.take()?, columns.take()?)),
        )
    }

    fn insert_payload(&mut self, row: &StoredPayload) -> Outcome<()> {
        self.change(
            "INSERT INTO payloads (project, at, request_id, member, sealed) VALUES (?, ?, ?, ?, ?)",
            params![row.project, row.at, row.request_id, row.member, row.sealed],
        )
    }

    fn payload(&self, project: &str, request_id: &str, member: Option<&str>) -> Outcome<Option<StoredPayload>> {
        self.first(
            "SELECT project, at, request_id, member, sealed FROM payloads WHERE project = ?1 AND request_id = ?2 \
             AND (?3 IS NULL OR member = ?3) ORDER BY id DESC LIMIT 1",
            params![project, request_id, member],
            payload,
        )
    }

    fn forget_payloads(&mut self, project: &str, before: UnixTime, count: u32) -> Outcome<bool> {
        let sql = "DELETE FROM payloads WHERE id IN (SELECT id FROM payloads WHERE project = ? AND at < ? LIMIT ?)";
        let gone = self.run(sql, params![project, before, count])?;
        Ok(u32::try_from(gone).is_ok_and(|gone| gone >= count))
    }
}

fn payload(columns: &mut Columns<'_, '_>) -> rusqlite::Result<StoredPayload> {
    Ok(StoredPayload {
        project: columns.take()?,
        at: columns.take()?,
        request_id: columns.take()?,
        member: columns.take()?,
        sealed: columns.take()?,
    })
}

//! Kept answers, egress rules and instance facts in SQLite.

use rusqlite::params;

use super::{
    columns::{Columns, only},
    tx::SqliteTx,
};
use crate::{
    base::{Id, UnixTime},
    store::{
        record::{EgressRule, KeptAnswer},
        tx::{Notes, Outcome},
    },
};

pub(super) const ANSWER: &str = "SELECT caller, key, request_digest, status, sealed_body, at FROM kept_answers";

impl Notes for SqliteTx<'_> {
    fn kept_answer(&self, caller: &str, key: &str) -> Outcome<Option<KeptAnswer>> {
        self.first(&format!("{ANSWER} WHERE caller = ? AND key = ?"), [caller, key], answer)
    }

    fn keep_answer(&mut self, row: &KeptAnswer) -> Outcome<()> {
        self.change(
            "INSERT OR REPLACE INTO kept_answers (caller, key, request_digest, status, sealed_body, at) VALUES (?, ?, ?, ?, ?, ?)",
            params![row.caller, row.key, row.request_digest, row.status, row.sealed_body, row.at],
        )
    }

    fn forget_answers(&mut self, before: UnixTime) -> Outcome<()> {
        self.run("DELETE FROM kept_answers WHERE at < ?", [before]).map(drop)
    }

    fn egress_rules(&self) -> Outcome<Vec<EgressRule>> {
        let sql =
            "SELECT id, network, ports, comment, created_by, created_at FROM egress_rules ORDER BY created_at, id";
        self.all(sql, [], |columns| {
            Ok(EgressRule {
                id: columns.take()?,
                network: columns.take()?,
                ports: columns.take()?,
                comment: columns.take()?,
                created_by: columns.take()?,
                created_at: columns.take()?,
            })
        })
    }

    fn insert_egress_rule(&mut self, row: &EgressRule) -> Outcome<()> {
        self.change(
            "INSERT INTO egress_rules (id, network, ports, comment, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            params![row.id, row.network, row.ports, row.comment, row.created_by, row.created_at],
        )
    }

    fn delete_egress_rule(&mut self, id: &Id) -> Outcome<()> {
        self.change("DELETE FROM egress_rules WHERE id = ?", [id])
    }

    fn note(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        self.first("SELECT value FROM notes WHERE name = ?", [name], only)
    }

    fn put_note(&mut self, name: &str, value: Option<&[u8]>) -> Outcome<()> {
        let changed = match value {
            Some(value) => self.run(
                "INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                params![name, value],
            ),
            None => self.run("DELETE FROM notes WHERE name = ?", [name]),
        };
        changed.map(drop)
    }
}

pub(super) fn answer(columns: &mut Columns<'_, '_>) -> rusqlite::Result<KeptAnswer> {
    Ok(KeptAnswer {
        caller: columns.take()?,
        key: columns.take()?,
        request_digest: columns.take()?,
        status: columns.take()?,
        sealed_body: columns.take()?,
        at: columns.take()?,
    })
}

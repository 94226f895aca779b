//! Kept answers and facts about the instance in SQLite.

use rusqlite::params;

use super::{columns::only, tx::SqliteTx};
use crate::{
    base::UnixTime,
    store::{
        record::KeptAnswer,
        tx::{Notes, Outcome},
    },
};

impl Notes for SqliteTx<'_> {
    fn kept_answer(&self, caller: &str, key: &str) -> Outcome<Option<KeptAnswer>> {
        let sql = "SELECT caller, key, request_digest, status, sealed_body, at FROM kept_answers \
             WHERE caller = ? AND key = ?";
        self.first(sql, [caller, key], |columns| {
            Ok(KeptAnswer {
                caller: columns.take()?,
                key: columns.take()?,
                request_digest: columns.take()?,
                status: columns.take()?,
                sealed_body: columns.take()?,
                at: columns.take()?,
            })
        })
    }

    fn keep_answer(&mut self, row: &KeptAnswer) -> Outcome<()> {
        self.change(
            "INSERT INTO kept_answers (caller, key, request_digest, status, sealed_body, at) VALUES (?, ?, ?, ?, ?, ?)",
            params![row.caller, row.key, row.request_digest, row.status, row.sealed_body, row.at],
        )
    }

    fn forget_answers(&mut self, before: UnixTime) -> Outcome<()> {
        self.run("DELETE FROM kept_answers WHERE at < ?", [before]).map(drop)
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

//! Admin tokens and sessions in SQLite.

use rusqlite::params;

use super::{
    columns::{Columns, grants_json},
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::{Id, UnixTime},
    store::{
        query::{Page, PageRequest},
        record::{AdminToken, SecondFactor, Session},
        tx::{Access, Outcome},
    },
};

const TOKEN: &str = "SELECT id, digest, last4, description, organization, instance_admin, role, grants, created_by, \
    expires_at, created_at, last_used_at FROM admin_tokens";

pub(super) const SECOND_FACTOR: &str = "SELECT user, sealed, confirmed_at, last_step, created_at FROM second_factors";

impl Access for SqliteTx<'_> {
    fn admin_tokens(
        &self,
        organization: Option<&Id>,
        creator: Option<&Id>,
        page: &PageRequest,
    ) -> Outcome<Page<AdminToken>> {
        let mut select = Select::from(TOKEN.to_owned());
        select.with_some("organization = ?", &organization);
        select.with_some("created_by = ?", &creator);
        select.page(By::TimeAndId("created_at", "id"), page);
        self.page(&select, page, token)
    }

    fn admin_token(&self, id: &Id) -> Outcome<Option<AdminToken>> {
        self.first(&format!("{TOKEN} WHERE id = ?"), [id], token)
    }

    fn admin_token_by_digest(&self, digest: &[u8; 32]) -> Outcome<Option<AdminToken>> {
        self.first(&format!("{TOKEN} WHERE digest = ?"), params![digest], token)
    }

    fn insert_admin_token(&mut self, row: &AdminToken) -> Outcome<()> {
        self.change(
            "INSERT INTO admin_tokens (id, digest, last4, description, organization, instance_admin, role, grants, \
             created_by, expires_at, created_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.digest,
                row.last4,
                row.description,
                row.organization,
                row.instance_admin,
                row.role,
                grants_json(&row.grants),
                row.created_by,
                row.expires_at,
                row.created_at,
                row.last_used_at
            ],
        )
    }

    fn delete_admin_token(&mut self, id: &Id) -> Outcome<()> {
        self.change("DELETE FROM admin_tokens WHERE id = ?", [id])
    }

    fn touch_admin_token(&mut self, id: &Id, at: UnixTime) -> Outcome<()> {
        self.run("UPDATE admin_tokens SET last_used_at = ? WHERE id = ?", params![at, id]).map(drop)
    }

    fn session(&self, digest: &[u8; 32]) -> Outcome<Option<Session>> {
        let sql = "SELECT digest, user, created_at, last_seen_at FROM sessions WHERE digest = ?";
        self.first(sql, params![digest], |columns| {
            Ok(Session {
                digest: columns.take()?,
                user: columns.take()?,
                created_at: columns.take()?,
                last_seen_at: columns.take()?,
            })
        })
    }

    fn insert_session(&mut self, row: &Session) -> Outcome<()> {
        self.change(
            "INSERT INTO sessions (digest, user, created_at, last_seen_at) VALUES (?, ?, ?, ?)",
            params![row.digest, row.user, row.created_at, row.last_seen_at],
        )
    }

    fn touch_session(&mut self, digest: &[u8; 32], at: UnixTime) -> Outcome<()> {
        self.run("UPDATE sessions SET last_seen_at = ? WHERE digest = ?", params![at, digest]).map(drop)
    }

    fn delete_session(&mut self, digest: &[u8; 32]) -> Outcome<()> {
        self.run("DELETE FROM sessions WHERE digest = ?", params![digest]).map(drop)
    }

    fn delete_sessions_of(&mut self, user: &Id) -> Outcome<()> {
        self.run("DELETE FROM sessions WHERE user = ?", [user]).map(drop)
    }

    fn second_factor(&self, user: &Id) -> Outcome<Option<SecondFactor>> {
        self.first(&format!("{SECOND_FACTOR} WHERE user = ?"), [user], second_factor)
    }

    fn put_second_factor(&mut self, row: &SecondFactor) -> Outcome<()> {
        self.change(
            "INSERT OR REPLACE INTO second_factors (user, sealed, confirmed_at, last_step, created_at) \
             VALUES (?, ?, ?, ?, ?)",
            params![row.user, row.sealed, row.confirmed_at, row.last_step, row.created_at],
        )
    }

    fn use_step(&mut self, user: &Id, step: u64) -> Outcome<()> {
        self.change("UPDATE second_factors SET last_step = ?2 WHERE user = ?1 AND last_step < ?2", params![user, step])
    }

    fn delete_second_factor(&mut self, user: &Id) -> Outcome<()> {
        self.run("DELETE FROM second_factors WHERE user = ?", [user]).map(drop)
    }

    fn delete_old_sessions(&mut self, created: UnixTime, seen: UnixTime) -> Outcome<()> {
        self.run("DELETE FROM sessions WHERE created_at < ? OR last_seen_at < ?", params![created, seen]).map(drop)
    }
}

fn token(columns: &mut Columns<'_, '_>) -> rusqlite::Result<AdminToken> {
    Ok(AdminToken {
        id: columns.take()?,
        digest: columns.take()?,
        last4: columns.take()?,
        description: columns.take()?,
        organization: columns.take()?,
        instance_admin: columns.take()?,
        role: columns.take()?,
        grants: columns.grants()?,
        created_by: columns.take()?,
        expires_at: columns.take()?,
        created_at: columns.take()?,
        last_used_at: columns.take()?,
    })
}

pub(super) fn second_factor(columns: &mut Columns<'_, '_>) -> rusqlite::Result<SecondFactor> {
    Ok(SecondFactor {
        user: columns.take()?,
        sealed: columns.take()?,
        confirmed_at: columns.take()?,
        last_step: columns.take()?,
        created_at: columns.take()?,
    })
}

//! Organizations, users, members and invitations in SQLite.

use rusqlite::{ToSql, params};

use super::{
    columns::{Columns, grants_json, ids_json},
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::{Id, UnixTime},
    store::{
        error::StoreError,
        query::{Page, PageRequest},
        record::{Invitation, Member, Organization, User},
        tx::{Outcome, People},
    },
};

const ORGANIZATION: &str = "SELECT id, name, status, project_limit, active_key_limit, default_retention_days, \
    log_payloads, require_second_approver, created_at, revision FROM organizations";
const USER: &str = "SELECT id, email, password_hash, instance_admin, created_at, revision FROM users";
const MEMBER: &str = "SELECT m.organization, m.user, u.email, m.role, m.grants, m.active_key_limit, m.last_seen_at, \
    m.created_at, m.revision FROM members m JOIN users u ON u.id = m.user";
const INVITATION: &str = "SELECT id, organization, email, role, grants, token_digest, status, expires_at, created_by, \
    created_at, revision FROM invitations";

impl People for SqliteTx<'_> {
    fn organizations(&self, among: Option<&[Id]>, page: &PageRequest) -> Outcome<Page<Organization>> {
        let among = among.map(ids_json);
        let mut select = Select::from(ORGANIZATION.to_owned());
        select.with_some("id IN (SELECT value FROM json_each(?))", &among);
        select.page(By::TimeAndId("created_at", "id"), page);
        self.page(&select, page, organization)
    }

    fn organization(&self, id: &Id) -> Outcome<Option<Organization>> {
        self.first(&format!("{ORGANIZATION} WHERE id = ?"), [id], organization)
    }

    fn insert_organization(&mut self, row: &Organization) -> Outcome<()> {
        self.change(
            "INSERT INTO organizations (id, name, status, project_limit, active_key_limit, default_retention_days, \
             log_payloads, require_second_approver, created_at, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.name,
                row.status,
                row.project_limit,
                row.active_key_limit,
                row.default_retention_days,
                row.log_payloads,
                row.require_second_approver,
                row.created_at,
                row.revision
            ],
        )
    }

    fn update_organization(&mut self, row: &Organization) -> Outcome<()> {
        self.change(
            "UPDATE organizations SET name = ?, status = ?, project_limit = ?, active_key_limit = ?, \
             default_retention_days = ?, log_payloads = ?, require_second_approver = ?, revision = revision + 1 \
             WHERE id = ? AND revision = ?",
            params![
                row.name,
                row.status,
                row.project_limit,
                row.active_key_limit,
                row.default_retention_days,
                row.log_payloads,
                row.require_second_approver,
                row.id,
                row.revision
            ],
        )
    }

    fn delete_organization(&mut self, id: &Id) -> Outcome<()> {
        let served = "SELECT count(*) FROM projects WHERE organization = ? AND served_version IS NOT NULL";
        if self.count(served, [id])? > 0 {
            return Err(StoreError::Stale);
        }
        self.run("DELETE FROM projects WHERE organization = ?", [id])?;
        self.change("DELETE FROM organizations WHERE id = ?", [id])
    }

    fn user(&self, id: &Id) -> Outcome<Option<User>> {
        self.first(&format!("{USER} WHERE id = ?"), [id], user)
    }

    fn user_by_email(&self, email: &str) -> Outcome<Option<User>> {
        self.first(&format!("{USER} WHERE email = ?"), [email.to_lowercase()], user)
    }

    fn instance_admin_count(&self) -> Outcome<u64> {
        self.count("SELECT count(*) FROM users WHERE instance_admin", [])
    }

    fn insert_user(&mut self, row: &User) -> Outcome<()> {
        self.change(
            "INSERT INTO users (id, email, password_hash, instance_admin, created_at, revision) \
             VALUES (?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.email.to_lowercase(),
                row.password_hash,
                row.instance_admin,
                row.created_at,
                row.revision
            ],
        )
    }

    fn update_user(&mut self, row: &User) -> Outcome<()> {
        self.change(
            "UPDATE users SET email = ?, password_hash = ?, instance_admin = ?, revision = revision + 1 \
             WHERE id = ? AND revision = ?",
            params![row.email.to_lowercase(), row.password_hash, row.instance_admin, row.id, row.revision],
        )
    }

    fn members(&self, organization: &Id, page: &PageRequest) -> Outcome<Page<Member>> {
        let mut select = Select::from(MEMBER.to_owned());
        select.with("m.organization = ?", organization);
        select.page(By::TimeAndId("m.created_at", "m.user"), page);
        self.page(&select, page, member)
    }

    fn member(&self, organization: &Id, user: &Id) -> Outcome<Option<Member>> {
        self.first(&format!("{MEMBER} WHERE m.organization = ? AND m.user = ?"), [organization, user], member)
    }

    fn memberships(&self, user: &Id) -> Outcome<Vec<Member>> {
        self.all(&format!("{MEMBER} WHERE m.user = ? ORDER BY m.created_at, m.organization"), [user], member)
    }

    fn owner_count(&self, organization: &Id) -> Outcome<u64> {
        self.count("SELECT count(*) FROM members WHERE organization = ? AND role = 'owner'", [organization])
    }

    fn insert_member(&mut self, row: &Member) -> Outcome<()> {
        self.change(
            "INSERT INTO members (organization, user, role, grants, active_key_limit, last_seen_at, created_at, \
             revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.organization,
                row.user,
                row.role,
                grants_json(&row.grants),
                row.active_key_limit,
                row.last_seen_at,
                row.created_at,
                row.revision
            ],
        )
    }

    fn update_member(&mut self, row: &Member) -> Outcome<()> {
        self.change(
            "UPDATE members SET role = ?, grants = ?, active_key_limit = ?, last_seen_at = ?, \
             revision = revision + 1 WHERE organization = ? AND user = ? AND revision = ?",
            params![
                row.role,
                grants_json(&row.grants),
                row.active_key_limit,
                row.last_seen_at,
                row.organization,
                row.user,
                row.revision
            ],
        )
    }

    fn touch_members(&mut self, user: &Id, at: UnixTime) -> Outcome<()> {
        self.run("UPDATE members SET last_seen_at = ? WHERE user = ?", params![at, user]).map(drop)
    }

    fn delete_member(&mut self, organization: &Id, user: &Id) -> Outcome<()> {
        self.change("DELETE FROM members WHERE organization = ? AND user = ?", [organization, user])
    }

    fn invitations(&self, organization: &Id, page: &PageRequest) -> Outcome<Page<Invitation>> {
        let mut select = Select::from(INVITATION.to_owned());
        select.with("organization = ?", organization);
        select.page(By::TimeAndId("created_at", "id"), page);
        self.page(&select, page, invitation)
    }

    fn invitation(&self, id: &Id) -> Outcome<Option<Invitation>> {
        self.first(&format!("{INVITATION} WHERE id = ?"), [id], invitation)
    }

    fn invitation_by_token(&self, digest: &[u8; 32]) -> Outcome<Option<Invitation>> {
        self.first(&format!("{INVITATION} WHERE token_digest = ?"), [digest as &dyn ToSql], invitation)
    }

    fn insert_invitation(&mut self, row: &Invitation) -> Outcome<()> {
        self.change(
            "INSERT INTO invitations (id, organization, email, role, grants, token_digest, status, expires_at, \
             created_by, created_at, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.organization,
                row.email.to_lowercase(),
                row.role,
                grants_json(&row.grants),
                row.token_digest,
                row.status,
                row.expires_at,
                row.created_by,
                row.created_at,
                row.revision
            ],
        )
    }

    fn update_invitation(&mut self, row: &Invitation) -> Outcome<()> {
        self.change(
            "UPDATE invitations SET role = ?, grants = ?, token_digest = ?, status = ?, expires_at = ?, \
             revision = revision + 1 WHERE id = ? AND revision = ?",
            params![
                row.role,
                grants_json(&row.grants),
                row.token_digest,
                row.status,
                row.expires_at,
                row.id,
                row.revision
            ],
        )
    }
}

fn organization(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Organization> {
    Ok(Organization {
        id: columns.take()?,
        name: columns.take()?,
        status: columns.take()?,
        project_limit: columns.take()?,
        active_key_limit: columns.take()?,
        default_retention_days: columns.take()?,
        log_payloads: columns.take()?,
        require_second_approver: columns.take()?,
        created_at: columns.take()?,
        revision: columns.take()?,
    })
}

fn user(columns: &mut Columns<'_, '_>) -> rusqlite::Result<User> {
    Ok(User {
        id: columns.take()?,
        email: columns.take()?,
        password_hash: columns.take()?,
        instance_admin: columns.take()?,
        created_at: columns.take()?,
        revision: columns.take()?,
    })
}

fn member(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Member> {
    Ok(Member {
        organization: columns.take()?,
        user: columns.take()?,
        email: columns.take()?,
        role: columns.take()?,
        grants: columns.grants()?,
        active_key_limit: columns.take()?,
        last_seen_at: columns.take()?,
        created_at: columns.take()?,
        revision: columns.take()?,
    })
}

fn invitation(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Invitation> {
    Ok(Invitation {
        id: columns.take()?,
        organization: columns.take()?,
        email: columns.take()?,
        role: columns.take()?,
        grants: columns.grants()?,
        token_digest: columns.take()?,
        status: columns.take()?,
        expires_at: columns.take()?,
        created_by: columns.take()?,
        created_at: columns.take()?,
        revision: columns.take()?,
    })
}

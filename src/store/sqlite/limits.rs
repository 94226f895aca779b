//! Limits in SQLite.

use rusqlite::params;

use super::{
    columns::Columns,
    keys::{KEY, key},
    tx::SqliteTx,
};
use crate::{
    base::Id,
    store::{
        record::{ApiKey, PolicyPlace, StoredLimit},
        tx::{Limits, Outcome},
    },
};

const LIMIT: &str = "SELECT id, organization, user, project, \"key\", kind, amount, \"window\", algorithm, mode, \
    created_by, created_at, revision FROM limits";
const ORDER: &str = "ORDER BY created_at, id";

impl Limits for SqliteTx<'_> {
    fn limits(&self, place: &PolicyPlace) -> Outcome<Vec<StoredLimit>> {
        self.all(&format!("{LIMIT} WHERE owner = ? {ORDER}"), [place.owner()], limit)
    }

    fn limit(&self, id: &Id) -> Outcome<Option<StoredLimit>> {
        self.first(&format!("{LIMIT} WHERE id = ?"), [id], limit)
    }

    fn limits_of_organization(&self, organization: &Id) -> Outcome<Vec<StoredLimit>> {
        self.all(&format!("{LIMIT} WHERE organization = ? {ORDER}"), [organization], limit)
    }

    fn each_limit(&self, each: &mut dyn FnMut(StoredLimit)) -> Outcome<()> {
        self.each(&format!("{LIMIT} {ORDER}"), [], limit, each)
    }

    fn insert_limit(&mut self, row: &StoredLimit) -> Outcome<()> {
        let (user, project, key) = match &row.place {
            PolicyPlace::Organization(_) => (None, None, None),
            PolicyPlace::Member { user, .. } => (Some(user), None, None),
            PolicyPlace::Project(id) => (None, Some(id), None),
            PolicyPlace::Key(id) => (None, None, Some(id)),
        };
        self.change(
            "INSERT INTO limits (id, owner, organization, user, project, \"key\", kind, amount, \"window\", algorithm, \
             mode, created_by, created_at, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.place.owner(),
                row.organization,
                user,
                project,
                key,
                row.kind,
                row.amount,
                row.window,
                row.algorithm,
                row.mode,
                row.created_by,
                row.created_at,
                row.revision
            ],
        )
    }

    fn update_limit(&mut self, row: &StoredLimit) -> Outcome<()> {
        self.change(
            "UPDATE limits SET amount = ?, \"window\" = ?, algorithm = ?, mode = ?, revision = revision + 1 \
             WHERE id = ? AND revision = ?",
            params![row.amount, row.window, row.algorithm, row.mode, row.id, row.revision],
        )
    }

    fn delete_limit(&mut self, id: &Id, revision: u64) -> Outcome<()> {
        self.change("DELETE FROM limits WHERE id = ? AND revision = ?", params![id, revision])
    }

    fn keys_under(&self, place: &PolicyPlace) -> Outcome<Vec<ApiKey>> {
        let of_projects = "project IN (SELECT p.id FROM projects p WHERE p.organization = ?)";
        match place {
            PolicyPlace::Organization(id) => self.all(&format!("{KEY} WHERE {of_projects}"), [id], key),
            PolicyPlace::Project(id) => self.all(&format!("{KEY} WHERE project = ?"), [id], key),
            PolicyPlace::Member { organization, user } => {
                self.all(&format!("{KEY} WHERE {of_projects} AND created_by = ?"), [organization, user], key)
            }
            PolicyPlace::Key(id) => self.all(&format!("{KEY} WHERE id = ?"), [id], key),
        }
    }
}

fn limit(columns: &mut Columns<'_, '_>) -> rusqlite::Result<StoredLimit> {
    let id = columns.take()?;
    let organization: Id = columns.take()?;
    Ok(StoredLimit {
        id,
        place: place(columns, &organization)?,
        organization,
        kind: columns.take()?,
        amount: columns.take()?,
        window: columns.take()?,
        algorithm: columns.take()?,
        mode: columns.take()?,
        created_by: columns.take()?,
        created_at: columns.take()?,
        revision: columns.take()?,
    })
}

fn place(columns: &mut Columns<'_, '_>, organization: &Id) -> rusqlite::Result<PolicyPlace> {
    let user: Option<Id> = columns.take()?;
    let project: Option<Id> = columns.take()?;
    let key: Option<Id> = columns.take()?;
    let organization = organization.clone();
    match (user, project, key) {
        (Some(user), None, None) => Ok(PolicyPlace::Member { organization, user }),
        (None, None, None) => Ok(PolicyPlace::Organization(organization)),
        (None, Some(id), None) => Ok(PolicyPlace::Project(id)),
        (None, None, Some(id)) => Ok(PolicyPlace::Key(id)),
        _ => Err(rusqlite::Error::IntegralValueOutOfRange(2, 0)),
    }
}

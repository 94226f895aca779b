//! IAM rules in SQLite.

use rusqlite::params;

use super::{columns::Columns, tx::SqliteTx};
use crate::{
    base::Id,
    store::{
        record::{ApiKey, PolicyPlace, Rule},
        tx::{Keys as _, Outcome, Rules},
    },
};

const RULE: &str = "SELECT id, organization, user, project, key, kind, value, status, created_by, created_at, revision \
    FROM rules";

impl Rules for SqliteTx<'_> {
    fn rules(&self, place: &PolicyPlace) -> Outcome<Vec<Rule>> {
        let order = "ORDER BY created_at, id";
        match place {
            PolicyPlace::Organization(id) => {
                self.all(&format!("{RULE} WHERE organization = ? AND user IS NULL {order}"), [id], rule)
            }
            PolicyPlace::Project(id) => self.all(&format!("{RULE} WHERE project = ? {order}"), [id], rule),
            PolicyPlace::Member { organization, user } => {
                self.all(&format!("{RULE} WHERE organization = ? AND user = ? {order}"), [organization, user], rule)
            }
            PolicyPlace::Key(id) => self.all(&format!("{RULE} WHERE key = ? {order}"), [id], rule),
        }
    }

    fn rule(&self, id: &Id) -> Outcome<Option<Rule>> {
        self.first(&format!("{RULE} WHERE id = ?"), [id], rule)
    }

    fn each_rule(&self, each: &mut dyn FnMut(Rule)) -> Outcome<()> {
        self.each(&format!("{RULE} ORDER BY created_at, id"), [], rule, each)
    }

    fn insert_rule(&mut self, row: &Rule) -> Outcome<()> {
        let (organization, user, project, key) = match &row.place {
            PolicyPlace::Organization(id) => (Some(id), None, None, None),
            PolicyPlace::Member { organization, user } => (Some(organization), Some(user), None, None),
            PolicyPlace::Project(id) => (None, None, Some(id), None),
            PolicyPlace::Key(id) => (None, None, None, Some(id)),
        };
        self.change(
            "INSERT INTO rules (id, organization, user, project, key, kind, value, status, created_by, created_at, \
             revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                organization,
                user,
                project,
                key,
                row.kind,
                row.value,
                row.status,
                row.created_by,
                row.created_at,
                row.revision
            ],
        )
    }

    fn update_rule(&mut self, row: &Rule) -> Outcome<()> {
        self.change(
            "UPDATE rules SET kind = ?, value = ?, status = ?, revision = revision + 1 WHERE id = ? AND revision = ?",
            params![row.kind, row.value, row.status, row.id, row.revision],
        )
    }

    fn delete_rule(&mut self, id: &Id, revision: u64) -> Outcome<()> {
        self.change("DELETE FROM rules WHERE id = ? AND revision = ?", params![id, revision])
    }

    fn keys_made_by(&self, organization: &Id, creator: &Id) -> Outcome<Vec<ApiKey>> {
        let ids: Vec<Id> = self.all(
            "SELECT k.id FROM projects p JOIN keys k ON k.project = p.id \
             WHERE p.organization = ? AND k.created_by = ? ORDER BY k.created_at, k.id",
            [organization, creator],
            super::columns::only,
        )?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(self.key(&id)?);
        }
        Ok(found)
    }
}

fn rule(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Rule> {
    Ok(Rule {
        id: columns.take()?,
        place: place(columns)?,
        kind: columns.take()?,
        value: columns.take()?,
        status: columns.take()?,
        created_by: columns.take()?,
        created_at: columns.take()?,
        revision: columns.take()?,
    })
}

fn place(columns: &mut Columns<'_, '_>) -> rusqlite::Result<PolicyPlace> {
    let organization: Option<Id> = columns.take()?;
    let user: Option<Id> = columns.take()?;
    let project: Option<Id> = columns.take()?;
    let key: Option<Id> = columns.take()?;
    match (organization, user, project, key) {
        (Some(organization), Some(user), None, None) => Ok(PolicyPlace::Member { organization, user }),
        (Some(id), None, None, None) => Ok(PolicyPlace::Organization(id)),
        (None, None, Some(id), None) => Ok(PolicyPlace::Project(id)),
        (None, None, None, Some(id)) => Ok(PolicyPlace::Key(id)),
        _ => Err(rusqlite::Error::IntegralValueOutOfRange(1, 0)),
    }
}

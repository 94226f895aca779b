//! Alert rules, what fires, notices and deliveries in SQLite.

use rusqlite::params;

use super::{
    columns::{Columns, Json, only},
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::{Id, UnixTime},
    store::{
        alert_tx::{Alerts, ExpiringKey},
        query::{Page, PageRequest},
        record::{Alert, AlertDelivery, AlertMark, AlertNotice, Owner},
        tx::Outcome,
    },
};

pub(super) const ALERT: &str = "SELECT id, organization, project, scope, target, name, description, enabled, \
    disabled_reason, event, condition, channels, sealed, created_by, created_at, changed_at, revision FROM alerts";
const DELIVERY: &str =
    "SELECT id, notice, alert, channel, payload, state, attempts, next_at, error FROM alert_deliveries";

impl Alerts for SqliteTx<'_> {
    fn alerts(&self, owner: &Owner, page: &PageRequest) -> Outcome<Page<Alert>> {
        let mut select = Select::from(ALERT.to_owned());
        match owner {
            Owner::Project(id) => select.with("project = ?", id),
            Owner::Organization(id) => {
                select.with("organization = ?", id);
                select.when("project IS NULL");
            }
            // The instance has none.
            Owner::Instance => select.when("organization IS NULL"),
        }
        select.page(By::TimeAndId("created_at", "id"), page);
        self.page(&select, page, alert)
    }

    fn alert(&self, id: &Id) -> Outcome<Option<Alert>> {
        self.first(&format!("{ALERT} WHERE id = ?"), [id], alert)
    }

    fn enabled_alerts(&self) -> Outcome<Vec<Alert>> {
        self.all(&format!("{ALERT} WHERE enabled = 1 ORDER BY id"), [], alert)
    }

    fn alert_count(&self, organization: &Id) -> Outcome<u64> {
        self.count("SELECT count(*) FROM alerts WHERE organization = ?", [organization])
    }

    fn insert_alert(&mut self, row: &Alert) -> Outcome<()> {
        self.change(
            "INSERT INTO alerts (id, organization, project, scope, target, name, description, enabled, \
             disabled_reason, event, condition, channels, sealed, created_by, created_at, changed_at, revision) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.organization,
                row.project,
                row.scope,
                row.target,
                row.name,
                row.description,
                row.enabled,
                row.disabled_reason,
                row.event,
                Json(&row.condition),
                Json(&row.channels),
                row.sealed_secret,
                row.created_by,
                row.created_at,
                row.changed_at,
                row.revision
            ],
        )
    }

    fn update_alert(&mut self, row: &Alert) -> Outcome<()> {
        self.change(
            "UPDATE alerts SET name = ?, description = ?, enabled = ?, disabled_reason = ?, condition = ?, \
             channels = ?, sealed = ?, changed_at = ?, revision = revision + 1 WHERE id = ? AND revision = ?",
            params![
                row.name,
                row.description,
                row.enabled,
                row.disabled_reason,
                Json(&row.condition),
                Json(&row.channels),
                row.sealed_secret,
                row.changed_at,
                row.id,
                row.revision
            ],
        )?;
        self.run("DELETE FROM alert_marks WHERE alert = ?", [&row.id]).map(drop)
    }

    fn delete_alert(&mut self, id: &Id, revision: u64) -> Outcome<()> {
        self.change("DELETE FROM alerts WHERE id = ? AND revision = ?", params![id, revision])
    }

    fn alert_marks(&self) -> Outcome<Vec<AlertMark>> {
        self.all("SELECT alert, subject, level, since, noticed_at FROM alert_marks", [], |columns| {
            Ok(AlertMark {
                alert: columns.take()?,
                subject: columns.take()?,
                level: columns.take()?,
                since: columns.take()?,
                noticed_at: columns.take()?,
            })
        })
    }

    fn put_alert_mark(&mut self, row: &AlertMark) -> Outcome<()> {
        self.change(
            "INSERT OR REPLACE INTO alert_marks (alert, subject, level, since, noticed_at) VALUES (?, ?, ?, ?, ?)",
            params![row.alert, row.subject, row.level, row.since, row.noticed_at],
        )
    }

    fn delete_alert_mark(&mut self, alert: &Id, subject: &str) -> Outcome<()> {
        self.run("DELETE FROM alert_marks WHERE alert = ? AND subject = ?", params![alert, subject]).map(drop)
    }

    fn insert_alert_notice(&mut self, row: &AlertNotice, kept: u32) -> Outcome<u64> {
        let id = self.first(
            "INSERT INTO alert_notices (alert, at, state, subject, value, detail) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            params![row.alert, row.at, row.state, row.subject, row.value, row.detail],
            only,
        )?;
        self.run(
            "DELETE FROM alert_notices WHERE alert = ?1 AND id <= \
             (SELECT id FROM alert_notices WHERE alert = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            params![row.alert, kept],
        )?;
        Ok(id.unwrap_or_default())
    }

    fn alert_notices(&self, alert: &Id, page: &PageRequest) -> Outcome<Page<AlertNotice>> {
        let mut select =
            Select::from("SELECT id, alert, at, state, subject, value, detail FROM alert_notices".to_owned());
        select.with("alert = ?", alert);
        select.page(By::Number("id"), page);
        self.page(&select, page, |columns| {
            Ok(AlertNotice {
                id: columns.take()?,
                alert: columns.take()?,
                at: columns.take()?,
                state: columns.take()?,
                subject: columns.take()?,
                value: columns.take()?,
                detail: columns.take()?,
            })
        })
    }

    fn alert_deliveries(&self, notice: u64) -> Outcome<Vec<AlertDelivery>> {
        self.all(&format!("{DELIVERY} WHERE notice = ? ORDER BY id"), [notice], delivery)
    }

    fn insert_alert_delivery(&mut self, row: &AlertDelivery) -> Outcome<()> {
        self.change(
            "INSERT INTO alert_deliveries (notice, alert, channel, payload, state, attempts, next_at, error) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![row.notice, row.alert, row.channel, row.payload, row.state, row.attempts, row.next_at, row.error],
        )
    }

    fn due_alert_deliveries(&self, at: UnixTime, limit: u32) -> Outcome<Vec<AlertDelivery>> {
        let sql = format!("{DELIVERY} WHERE state = 'pending' AND next_at <= ? ORDER BY next_at, id LIMIT ?");
        self.all(&sql, params![at, limit], delivery)
    }

    fn update_alert_delivery(&mut self, row: &AlertDelivery) -> Outcome<()> {
        let sql = "UPDATE alert_deliveries SET state = ?, attempts = ?, next_at = ?, error = ? WHERE id = ?";
        self.run(sql, params![row.state, row.attempts, row.next_at, row.error, row.id]).map(drop)
    }

    fn expiring_keys(&self, owner: &Owner, between: (UnixTime, UnixTime), limit: u32) -> Outcome<Vec<ExpiringKey>> {
        let (from, to) = between;
        let (which, id) = match owner {
            Owner::Project(id) => ("project = ?", id),
            Owner::Organization(id) => ("project IN (SELECT id FROM projects WHERE organization = ?)", id),
            Owner::Instance => return Ok(Vec::new()),
        };
        let sql = format!(
            "SELECT id, description, expires_at FROM keys WHERE {which} AND status = 'active' AND expires_at > ? \
             AND expires_at <= ? ORDER BY expires_at, id LIMIT ?"
        );
        self.all(&sql, params![id, from, to, limit], |columns| {
            Ok(ExpiringKey { id: columns.take()?, description: columns.take()?, expires_at: columns.take()? })
        })
    }
}

pub(super) fn alert(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Alert> {
    Ok(Alert {
        id: columns.take()?,
        organization: columns.take()?,
        project: columns.take()?,
        scope: columns.take()?,
        target: columns.take()?,
        name: columns.take()?,
        description: columns.take()?,
        enabled: columns.take()?,
        disabled_reason: columns.take()?,
        event: columns.take()?,
        condition: columns.list()?,
        channels: columns.list()?,
        sealed_secret: columns.take()?,
        created_by: columns.take()?,
        created_at: columns.take()?,
        changed_at: columns.take()?,
        revision: columns.take()?,
    })
}

fn delivery(columns: &mut Columns<'_, '_>) -> rusqlite::Result<AlertDelivery> {
    Ok(AlertDelivery {
        id: columns.take()?,
        notice: columns.take()?,
        alert: columns.take()?,
        channel: columns.take()?,
        payload: columns.take()?,
        state: columns.take()?,
        attempts: columns.take()?,
        next_at: columns.take()?,
        error: columns.take()?,
    })
}

//! Notices, stored with their deliveries.

use serde_json::json;

use super::step::Said;
use crate::{
    base::UnixTime,
    store::{Alert, AlertDelivery, AlertNotice, ChannelKind, DeliveryState, Outcome, Tx},
};

/// Notices that are kept of one rule.
const KEPT: u32 = 1_000;

/// What is told about a subject at a time.
pub(super) struct Told<'a> {
    pub(super) subject: &'a str,
    pub(super) said: &'a Said,
    pub(super) at: UnixTime,
}

/// Stores a notice, and a delivery for each channel that leaves the gateway.
///
/// # Errors
/// The store's.
pub(super) fn put(tx: &mut dyn Tx, alert: &Alert, told: &Told<'_>) -> Outcome<()> {
    let notice = AlertNotice {
        id: 0,
        alert: alert.id.clone(),
        at: told.at,
        state: told.said.state,
        subject: told.subject.to_owned(),
        value: told.said.value.clone(),
        detail: told.said.detail.clone(),
    };
    let id = tx.insert_alert_notice(&notice, KEPT)?;
    for channel in &alert.channels {
        if channel.kind() == ChannelKind::Dashboard {
            continue;
        }
        tx.insert_alert_delivery(&AlertDelivery {
            id: 0,
            notice: id,
            alert: alert.id.clone(),
            channel: channel.kind(),
            payload: payload(alert, id, &notice),
            state: DeliveryState::Pending,
            attempts: 0,
            next_at: told.at,
            error: String::new(),
        })?;
    }
    Ok(())
}

/// What is sent. The number of the notice tells a repeated delivery from a second notice.
fn payload(alert: &Alert, id: u64, notice: &AlertNotice) -> String {
    json!({
        "type": "alert",
        "notice": id,
        "state": notice.state,
        "at": notice.at.rfc3339(),
        "alert": { "id": alert.id.as_str(), "name": alert.name, "event": alert.event },
        "organization_id": alert.organization.as_str(),
        "project_id": alert.project.as_ref().map(|project| project.as_str()),
        "scope": alert.scope,
        "target": alert.target,
        "subject": notice.subject,
        "value": notice.value,
        "detail": notice.detail,
    })
    .to_string()
}

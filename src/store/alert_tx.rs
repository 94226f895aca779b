//! What a transaction can do with alert rules and notices.

use super::{
    query::{Page, PageRequest},
    record::{Alert, AlertDelivery, AlertMark, AlertNotice, Owner},
    tx::Outcome,
};
use crate::base::{Id, UnixTime};

/// A key that will expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringKey {
    /// Its id.
    pub id: Id,
    /// What it is for.
    pub description: String,
    /// When.
    pub expires_at: UnixTime,
}

/// Rules, what fires, notices, deliveries.
pub trait Alerts {
    /// Rules of a project, or those of an organization as a whole.
    fn alerts(&self, owner: &Owner, page: &PageRequest) -> Outcome<Page<Alert>>;
    /// One rule.
    fn alert(&self, id: &Id) -> Outcome<Option<Alert>>;
    /// Every rule of the instance that is looked at.
    fn enabled_alerts(&self) -> Outcome<Vec<Alert>>;
    /// Rules of an organization, those of its projects included.
    fn alert_count(&self, organization: &Id) -> Outcome<u64>;
    /// Adds a rule.
    fn insert_alert(&mut self, row: &Alert) -> Outcome<()>;
    /// Changes a rule; what fired of it is forgotten.
    fn update_alert(&mut self, row: &Alert) -> Outcome<()>;
    /// Deletes a rule with all that it noticed, if its revision is the stored one.
    fn delete_alert(&mut self, id: &Id, revision: u64) -> Outcome<()>;
    /// Everything that fires.
    fn alert_marks(&self) -> Outcome<Vec<AlertMark>>;
    /// Notes that something fires.
    fn put_alert_mark(&mut self, row: &AlertMark) -> Outcome<()>;
    /// Notes that it does not any more.
    fn delete_alert_mark(&mut self, alert: &Id, subject: &str) -> Outcome<()>;
    /// Adds a notice and forgets all but the newest `kept` of its rule; returns its number.
    fn insert_alert_notice(&mut self, row: &AlertNotice, kept: u32) -> Outcome<u64>;
    /// Notices of a rule, by time.
    fn alert_notices(&self, alert: &Id, page: &PageRequest) -> Outcome<Page<AlertNotice>>;
    /// Deliveries of a notice.
    fn alert_deliveries(&self, notice: u64) -> Outcome<Vec<AlertDelivery>>;
    /// Adds a delivery.
    fn insert_alert_delivery(&mut self, row: &AlertDelivery) -> Outcome<()>;
    /// Up to `limit` deliveries whose next try is due, the longest due first.
    fn due_alert_deliveries(&self, at: UnixTime, limit: u32) -> Outcome<Vec<AlertDelivery>>;
    /// Changes how far a delivery is; nothing when its rule was deleted meanwhile.
    fn update_alert_delivery(&mut self, row: &AlertDelivery) -> Outcome<()>;
    /// Up to `limit` active keys that expire between two times, of a project or of all of an organization.
    fn expiring_keys(&self, owner: &Owner, between: (UnixTime, UnixTime), limit: u32) -> Outcome<Vec<ExpiringKey>>;
}

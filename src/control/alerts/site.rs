//! Where a rule stands, who may touch it, and how it is shown.

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    instance::Control,
    permit::{Capability, Scope, permit},
    vault::{Place, Purpose},
};
use crate::{
    base::Id,
    snapshot::Snapshot,
    store::{Alert, AlertChannel, AlertDelivery, AlertNotice, AlertScope, AuditEvent, Owner, Page, PageRequest, Tx},
    upstream::BoundOrigin,
};

/// Who may see rules: the capability in a project, and in an organization.
pub(super) const READ: (Capability, Capability) = (Capability::AlertsRead, Capability::OrganizationAlertsRead);
/// Who may write them.
pub(super) const WRITE: (Capability, Capability) = (Capability::AlertsWrite, Capability::OrganizationAlertsWrite);

/// A rule as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownAlert {
    /// The rule.
    pub alert: Alert,
    /// Whether its route or key is not there any more.
    pub orphaned: bool,
}

/// What a rule noticed, and how that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// The notice.
    pub notice: AlertNotice,
    /// Its deliveries.
    pub deliveries: Vec<AlertDelivery>,
}

impl Control {
    /// Rules of a project, or of an organization as a whole.
    ///
    /// # Errors
    /// As [`permit`]; the store's.
    pub async fn alerts(
        &self,
        actor: &Actor,
        owner: &Owner,
        page: PageRequest,
    ) -> Result<Page<ShownAlert>, ControlError> {
        let (actor, owner, snapshot) = (actor.clone(), owner.clone(), self.served());
        let read = self.store().read(move |tx| {
            of_owner(tx, &actor, READ, &owner)?;
            let found = tx.alerts(&owner, &page)?;
            let rows = found.rows.into_iter().map(|alert| shown(tx, &snapshot, alert));
            Ok::<_, ControlError>(Page { rows: rows.collect::<Result<_, _>>()?, has_more: found.has_more })
        });
        read.await
    }

    /// One rule.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], as [`permit`]; the store's.
    pub async fn alert(&self, actor: &Actor, id: &Id) -> Result<ShownAlert, ControlError> {
        let (actor, id, snapshot) = (actor.clone(), id.clone(), self.served());
        self.store().read(move |tx| shown(tx, &snapshot, found(tx, &actor, READ, &id)?)).await
    }

    /// What a rule noticed.
    ///
    /// # Errors
    /// As [`Self::alert`].
    pub async fn alert_history(
        &self,
        actor: &Actor,
        id: &Id,
        page: PageRequest,
    ) -> Result<Page<HistoryRow>, ControlError> {
        let (actor, id) = (actor.clone(), id.clone());
        let read = self.store().read(move |tx| {
            found(tx, &actor, READ, &id)?;
            let notices = tx.alert_notices(&id, &page)?;
            let rows = notices.rows.into_iter().map(|notice| {
                let deliveries = tx.alert_deliveries(notice.id)?;
                Ok::<_, ControlError>(HistoryRow { notice, deliveries })
            });
            Ok::<_, ControlError>(Page { rows: rows.collect::<Result<_, _>>()?, has_more: notices.has_more })
        });
        read.await
    }
}

/// The organization of an owner, after a check that the actor may do this there.
///
/// # Errors
/// The permission's, or the store's.
pub(super) fn of_owner(
    tx: &dyn Tx,
    actor: &Actor,
    (in_project, in_organization): (Capability, Capability),
    owner: &Owner,
) -> Result<Id, ControlError> {
    match owner {
        Owner::Project(project) => Ok(gate::project(tx, actor, in_project, project)?.organization),
        Owner::Organization(organization) => {
            tx.organization(organization)?.ok_or(ControlError::NotFound)?;
            permit(actor, in_organization, Scope::Organization(organization))?;
            Ok(organization.clone())
        }
        Owner::Instance => Err(ControlError::NotFound),
    }
}

/// Refuses a change where nothing may change any more: archived projects, suspended organizations.
///
/// # Errors
/// As [`of_owner`], [`ControlError::ProjectArchived`].
pub(super) fn writable(tx: &dyn Tx, actor: &Actor, owner: &Owner) -> Result<Id, ControlError> {
    match owner {
        Owner::Project(project) => Ok(gate::active_project(tx, actor, WRITE.0, project)?.organization),
        Owner::Organization(_) => {
            let organization = of_owner(tx, actor, WRITE, owner)?;
            gate::usable_organization(tx, actor, &organization)?;
            Ok(organization)
        }
        Owner::Instance => Err(ControlError::NotFound),
    }
}

/// A rule that the actor may use for this. Absent and foreign ones look alike.
///
/// # Errors
/// [`ControlError::NotFound`], [`ControlError::NotPermitted`]; the store's.
pub(super) fn found(
    tx: &dyn Tx,
    actor: &Actor,
    (in_project, in_organization): (Capability, Capability),
    id: &Id,
) -> Result<Alert, ControlError> {
    let alert = tx.alert(id)?.ok_or(ControlError::NotFound)?;
    match &alert.project {
        Some(project) => permit(actor, in_project, Scope::Project(&alert.organization, project))?,
        None => permit(actor, in_organization, Scope::Organization(&alert.organization))?,
    };
    Ok(alert)
}

/// Whose rule it is.
pub(super) fn owner_of(alert: &Alert) -> Owner {
    match &alert.project {
        Some(project) => Owner::Project(project.clone()),
        None => Owner::Organization(alert.organization.clone()),
    }
}

/// The rule with what is known of its target.
///
/// # Errors
/// The store's.
pub(super) fn shown(tx: &dyn Tx, snapshot: &Snapshot, alert: Alert) -> Result<ShownAlert, ControlError> {
    let target = alert.target.as_deref().unwrap_or_default();
    let project = alert.project.as_ref().map(Id::as_str).unwrap_or_default();
    let orphaned = match alert.scope {
        AlertScope::Organization | AlertScope::Project => false,
        AlertScope::Route => snapshot.project(project).is_none_or(|part| part.route(target).is_none()),
        AlertScope::Key => tx.key(&Id::stored(target))?.is_none_or(|key| key.project.as_str() != project),
    };
    Ok(ShownAlert { alert, orphaned })
}

/// An event about a rule.
pub(super) fn event(actor: &Actor, action: &str, alert: &Alert) -> AuditEvent {
    AuditEvent {
        organization: Some(alert.organization.clone()),
        project: alert.project.clone(),
        ..actor.event(action, alert.id.as_str())
    }
}

/// The rule as the audit log keeps it: of a webhook its place only, since paths of some hold a secret.
pub(super) fn audited(alert: &Alert) -> String {
    let channels = alert.channels.iter().map(|channel| match channel {
        AlertChannel::Webhook(url) => {
            let origin = BoundOrigin::of_url(url).map(|origin| origin.to_string()).unwrap_or_default();
            serde_json::json!({ "type": "webhook", "origin": origin })
        }
        AlertChannel::Email(to) => serde_json::json!({ "type": "email", "to": to }),
        AlertChannel::Dashboard => serde_json::json!({ "type": "dashboard" }),
    });
    serde_json::json!({
        "name": alert.name,
        "enabled": alert.enabled,
        "scope": alert.scope,
        "target": alert.target,
        "event": alert.event,
        "condition": alert.condition,
        "channels": channels.collect::<Vec<_>>(),
    })
    .to_string()
}

/// The place that the secret of a rule's webhook is bound to; empty without a webhook.
pub(in crate::control) fn origin_of(alert: &Alert) -> Vec<String> {
    let url = webhook_of(alert).and_then(|url| BoundOrigin::of_url(url).ok());
    url.map(|origin| origin.to_string()).into_iter().collect()
}

/// The address of a rule's webhook.
pub(super) fn webhook_of(alert: &Alert) -> Option<&str> {
    alert.channels.iter().find_map(|channel| match channel {
        AlertChannel::Webhook(url) => Some(url.as_str()),
        _ => None,
    })
}

/// Where the sealed secret of a rule's webhook belongs.
pub(in crate::control) fn place_of_webhook<'a>(alert: &'a Alert, origins: &'a [String]) -> Place<'a> {
    let (owner, record) = (alert.organization.as_str(), alert.id.as_str());
    Place { purpose: Purpose::Webhook, owner, record, version: 1, origins }
}

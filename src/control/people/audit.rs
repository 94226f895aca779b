//! Reading the audit log and checking its chain.

use super::super::{
    actor::Actor,
    error::ControlError,
    instance::Control,
    permit::{Capability, Scope, permit, permit_anywhere},
};
use crate::{
    base::Id,
    store::{AuditEntry, AuditFilter, Chain, Page, PageRequest, verify_chain},
};

/// Whose events are read.
#[derive(Debug, Clone)]
pub enum AuditScope {
    /// Those of an organization and its projects.
    Organization(Id),
    /// Those of a project.
    Project(Id),
    /// All of them.
    Instance,
}

impl Control {
    /// Events of a scope, newest first unless asked otherwise.
    ///
    /// # Errors
    /// As [`permit`].
    pub async fn audit(
        &self,
        actor: &Actor,
        scope: AuditScope,
        filter: AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>, ControlError> {
        let actor = actor.clone();
        self.store()
            .read(move |tx| {
                let mut filter = filter;
                match scope {
                    AuditScope::Instance => {
                        permit(&actor, Capability::InstanceAuditRead, Scope::Instance)?;
                    }
                    AuditScope::Organization(id) => {
                        permit(&actor, Capability::AuditRead, Scope::Organization(&id))?;
                        filter.organization = Some(id);
                    }
                    AuditScope::Project(id) => {
                        let project = tx.project(&id)?.ok_or(ControlError::NotFound)?;
                        permit(&actor, Capability::ProjectAuditRead, Scope::Project(&project.organization, &id))?;
                        filter.project = Some(id);
                    }
                }
                Ok(tx.audit(&filter, &page)?)
            })
            .await
    }

    /// Checks every entry of the log against its hash and the one before.
    ///
    /// # Errors
    /// [`ControlError::NotPermitted`] for who may read no audit log at all; the store's.
    pub async fn verify_audit(&self, actor: &Actor) -> Result<Chain, ControlError> {
        permit_anywhere(actor, Capability::AuditVerify)?;
        Ok(self.store().read(|tx| verify_chain(tx)).await?)
    }
}

//! Settings of the instance that change at run time.
//!
//! What new organizations begin with. Everything that belongs to one machine stays in its settings file.

use serde::{Deserialize, Serialize};

use super::{
    actor::Actor,
    error::{ControlError, FieldProblem},
    gate,
    instance::Control,
    permit::{Capability, Scope, permit},
};
use crate::{base::FeeRate, store::Tx};

/// Note that holds the settings, as JSON.
const NOTE: &str = "instance_settings";
/// Largest limit on projects.
pub(super) const PROJECT_LIMIT_MAX: u32 = 100_000;
/// Longest retention, in days.
pub(super) const RETENTION_DAYS_MAX: u32 = 3_650;

/// Settings of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceSettings {
    /// Projects of a new organization, at most. Default 10.
    pub default_project_limit: u32,
    /// Days that request logs of a new organization are kept, 1 to 3,650. Default 30.
    pub default_retention_days: u32,
    /// Fee on what platform credentials cost, for organizations without one of their own. Default 0.
    pub fee_percent: FeeRate,
    /// Rises by one with each change.
    pub revision: u64,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self { default_project_limit: 10, default_retention_days: 30, fee_percent: FeeRate::ZERO, revision: 1 }
    }
}

/// What is to change; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct InstanceSettingsPatch {
    /// Projects of a new organization, at most.
    pub default_project_limit: Option<u32>,
    /// Days that request logs of a new organization are kept.
    pub default_retention_days: Option<u32>,
    /// Fee on what platform credentials cost.
    pub fee_percent: Option<FeeRate>,
}

/// The settings as they are stored, else the defaults.
///
/// # Errors
/// The store's; [`ControlError::Internal`] when they cannot be read.
pub(super) fn instance_settings(tx: &dyn Tx) -> Result<InstanceSettings, ControlError> {
    let Some(text) = tx.note(NOTE)? else {
        return Ok(InstanceSettings::default());
    };
    serde_json::from_slice(&text).map_err(|error| ControlError::Internal(format!("the instance's settings: {error}")))
}

impl Control {
    /// The settings of the instance.
    ///
    /// # Errors
    /// As [`permit`]; the store's.
    pub async fn instance_settings(&self, actor: &Actor) -> Result<InstanceSettings, ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        self.store().read(instance_settings).await
    }

    /// Changes settings whose revision is `expected`.
    ///
    /// # Errors
    /// As [`permit`]; field problems; [`ControlError::Stale`].
    pub async fn change_instance_settings(
        &self,
        actor: &Actor,
        expected: u64,
        patch: InstanceSettingsPatch,
    ) -> Result<InstanceSettings, ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        let actor = actor.clone();
        // The last change is what requests pay.
        let _publisher = self.publication().await;
        let changed = self
            .store()
            .write(move |tx| {
                let before = instance_settings(tx)?;
                gate::expect_revision(before.revision, expected)?;
                let after = applied(before.clone(), &patch)?;
                if after == before {
                    return Ok(before);
                }
                let after = InstanceSettings { revision: before.revision + 1, ..after };
                let text = serde_json::to_vec(&after).map_err(|error| ControlError::Internal(error.to_string()))?;
                tx.put_note(NOTE, Some(&text))?;
                let mut event = actor.event("instance.update", "settings");
                (event.before, event.after) = (shown(&before), shown(&after));
                tx.append_audit(&event)?;
                Ok::<_, ControlError>(after)
            })
            .await?;
        let registries = self.registries();
        registries.credits.set_instance_fee(changed.fee_percent, &registries.meters);
        Ok(changed)
    }
}

fn applied(mut row: InstanceSettings, patch: &InstanceSettingsPatch) -> Result<InstanceSettings, ControlError> {
    let mut problems = Vec::new();
    row.default_project_limit = patch.default_project_limit.unwrap_or(row.default_project_limit);
    if row.default_project_limit > PROJECT_LIMIT_MAX {
        problems.push(FieldProblem::new("default_project_limit", format!("0 to {PROJECT_LIMIT_MAX}")));
    }
    row.default_retention_days = patch.default_retention_days.unwrap_or(row.default_retention_days);
    if !(1..=RETENTION_DAYS_MAX).contains(&row.default_retention_days) {
        problems.push(FieldProblem::new("default_retention_days", format!("1 to {RETENTION_DAYS_MAX}")));
    }
    row.fee_percent = patch.fee_percent.unwrap_or(row.fee_percent);
    if problems.is_empty() { Ok(row) } else { Err(ControlError::Invalid(problems)) }
}

/// The settings as the audit log keeps them.
fn shown(row: &InstanceSettings) -> String {
    serde_json::json!({
        "default_project_limit": row.default_project_limit,
        "default_retention_days": row.default_retention_days,
        "fee_percent": row.fee_percent,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Rig, kind};
    use super::*;

    #[tokio::test]
    async fn new_organizations_begin_with_the_settings_of_the_instance() {
        let rig = Rig::new().await;
        let admin = Actor { instance_admin: true, ..rig.owner.clone() };
        let limits = async |name: &str| {
            let made = rig.control.create_organization(&admin, name).await.unwrap();
            (made.project_limit, made.default_retention_days)
        };
        assert_eq!(limits("before").await, (10, 30));
        let patch = InstanceSettingsPatch { default_project_limit: Some(3), ..InstanceSettingsPatch::default() };
        assert_eq!(kind(&rig.control.change_instance_settings(&rig.owner, 1, patch.clone()).await), "not_permitted");
        let changed = rig.control.change_instance_settings(&admin, 1, patch.clone()).await.unwrap();
        assert_eq!((changed.default_project_limit, changed.revision), (3, 2));
        assert_eq!(kind(&rig.control.change_instance_settings(&admin, 1, patch.clone()).await), "stale");
        assert_eq!(rig.control.change_instance_settings(&admin, 2, patch).await.unwrap(), changed, "nothing to change");
        assert_eq!(limits("after").await, (3, 30));
        let bad = InstanceSettingsPatch {
            default_project_limit: Some(100_001),
            default_retention_days: Some(0),
            fee_percent: None,
        };
        let Err(ControlError::Invalid(problems)) = rig.control.change_instance_settings(&admin, 2, bad).await else {
            panic!("accepted");
        };
        assert_eq!(problems.len(), 2);
    }
}

//! Which projects keep what is said, as workers see it.

use std::sync::Arc;

use super::super::{error::ControlError, instance::Control};
use crate::base::Id;

impl Control {
    /// Shows workers what the settings of an organization's projects say now, after they changed.
    ///
    /// # Errors
    /// The store's; those of [`Control::wait_until_live`].
    pub(in crate::control) async fn show_captured(self: &Arc<Self>, organization: Id) -> Result<(), ControlError> {
        let control = Arc::clone(self);
        Self::to_its_end(async move {
            let publisher = control.publication().await;
            let read = control.store().read(move |tx| Ok::<_, ControlError>(tx.payload_settings(Some(&organization))?));
            let settings = read.await?;
            let generation = publisher.change(|edit| {
                settings.iter().for_each(|(project, captured)| edit.put_captured(project.as_str(), *captured));
            });
            control.wait_until_live(&publisher, generation).await
        })
        .await
    }
}

//! A new text for an API key, with an overlap of the old one.

use std::{sync::Arc, time::Duration};

use super::super::{actor::Actor, error::ControlError, instance::Control};
use super::api_key::{Deed, put_text};
use crate::{
    base::{Id, Secret, UnixTime, renew_key, unix_time},
    store::ApiKey,
};

/// Longest time that a rolled key's old text goes on working: a week.
const OVERLAP_MAX: Duration = Duration::from_secs(604_800);

impl Control {
    /// Gives a key a new text under the same ids; the old one works for `overlap` more. Zero ends an overlap that is
    /// running.
    ///
    /// # Errors
    /// The permission's; [`ControlError::IllegalTransition`] while an overlap is running and `overlap` is not zero, and
    /// for an expired key.
    pub async fn roll_key(
        self: &Arc<Self>,
        actor: &Actor,
        (project, id): (&Id, &Id),
        overlap: Duration,
    ) -> Result<(ApiKey, Secret), ControlError> {
        if overlap > OVERLAP_MAX {
            return Err(ControlError::field("overlap_seconds", format!("must be 0 to {}", OVERLAP_MAX.as_secs())));
        }
        // The public id never changes, so the new text can be made before the transaction.
        let public_id = self.key(actor, project, id).await?.public_id;
        let text = renew_key(&public_id)?;
        let (shown, pepper) = (text.clone(), self.pepper().clone());
        let rolled = self.edit_key(actor, (project, id), Deed::silent("key.roll", None), move |_, before| {
            let mut after = rolled(before, overlap, unix_time())?;
            put_text(&mut after, &text, &pepper);
            Ok(after)
        });
        Ok((rolled.await?, shown))
    }
}

/// The key without its new text.
fn rolled(before: &ApiKey, overlap: Duration, now: UnixTime) -> Result<ApiKey, ControlError> {
    if before.expires_at.is_some_and(|end| end <= now) {
        return Err(ControlError::IllegalTransition("the key has expired; make a new one".to_owned()));
    }
    if before.old_expires_at.is_some_and(|end| now < end) && !overlap.is_zero() {
        let message = "the last roll still overlaps; end it with `overlap_seconds: 0`, or wait until it has ended";
        return Err(ControlError::IllegalTransition(message.to_owned()));
    }
    let (old_digest, old_expires_at) =
        if overlap.is_zero() { (None, None) } else { (Some(before.digest), Some(UnixTime(now.0 + overlap))) };
    Ok(ApiKey { old_digest, old_expires_at, ..before.clone() })
}

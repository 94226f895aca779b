//! Seals anew what was sealed under an earlier master key.
//!
//! After a rotation the file holds the new key first and the old one behind it. Values are sealed anew in the background, a
//! few a transaction, so that nobody waits; when none is left, the old key can be removed. A value that does not open is
//! left as it is, and goes on being counted.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    actor::Actor,
    alerts::{origin_of, place_of_webhook},
    answers::place_of_answer,
    error::ControlError,
    instance::Control,
    login::place_of_second_factor,
    payloads::place_of_payload_key,
    sealed_keys::{origins_of, place_of_provider_key, place_of_secret},
    start::PEPPER_NOTE,
    vault::{PEPPER_PLACE, Place, Vault},
};
use crate::{
    base::log::{Level, Value, emit},
    store::{SealPlace, Tx},
};

/// Values of one transaction: others get their turn between two.
const BATCH_MAX: u32 = 50;
/// Wait before the next try when the store cannot be read or written.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The kinds of values, in the order of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pepper,
    Secrets,
    ProviderKeys,
    SecondFactors,
    Answers,
    Alerts,
    PayloadKeys,
    Done,
}

impl Kind {
    fn next(self) -> Self {
        match self {
            Self::Pepper => Self::Secrets,
            Self::Secrets => Self::ProviderKeys,
            Self::ProviderKeys => Self::SecondFactors,
            Self::SecondFactors => Self::Answers,
            Self::Answers => Self::Alerts,
            Self::Alerts => Self::PayloadKeys,
            Self::PayloadKeys | Self::Done => Self::Done,
        }
    }
}

/// How far a sweep has come: everything up to here was looked at.
#[derive(Debug, Clone)]
struct Sweep {
    kind: Kind,
    after: (String, String),
    sealed: u64,
    left: u64,
}

impl Control {
    /// How many values are still sealed under another master key than the current one.
    ///
    /// # Errors
    /// The store's.
    pub async fn stale_seal_count(&self) -> Result<u64, ControlError> {
        let vault = self.vault();
        let read = self.store().read(move |tx| {
            let pepper = tx.note(PEPPER_NOTE)?.is_some_and(|sealed| !vault.is_current(&sealed));
            Ok::<_, ControlError>(tx.stale_seal_count(&vault.head())? + u64::from(pepper))
        });
        read.await
    }

    /// Seals everything anew that was sealed under another master key; returns how many values that were.
    ///
    /// # Errors
    /// The store's; what was done so far is kept.
    pub async fn reseal(&self) -> Result<u64, ControlError> {
        if self.stale_seal_count().await? == 0 {
            return Ok(0);
        }
        let mut sweep = Sweep { kind: Kind::Pepper, after: Default::default(), sealed: 0, left: 0 };
        while sweep.kind != Kind::Done {
            let vault = self.vault();
            sweep = self.store().write(move |tx| step(tx, &vault, sweep)).await?;
        }
        let fields = [("sealed", Value::Uint(sweep.sealed)), ("left", Value::Uint(sweep.left))];
        if sweep.left > 0 {
            let said = "some values do not open with any master key in the file; put the one back that is missing";
            emit(Level::Error, said, &fields);
        } else {
            emit(Level::Info, "all values are sealed under the current master key; older ones can be removed", &fields);
        }
        Ok(sweep.sealed)
    }
}

/// Sweeps once at the start, and again until that has worked or `shutdown` says so.
pub async fn keep_sealed(control: Arc<Control>, mut shutdown: watch::Receiver<bool>) {
    while let Err(error) = control.reseal().await {
        let text = error.to_string();
        emit(Level::Warn, "values are not sealed anew yet", &[("reason", Value::Text(&text))]);
        // An error means that the sender has gone, which ends the process as well.
        if tokio::time::timeout(AGAIN_AFTER, shutdown.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

/// Seals the next few values anew, with their event in the audit log.
fn step(tx: &mut dyn Tx, vault: &Vault, sweep: Sweep) -> Result<Sweep, ControlError> {
    let before = sweep.sealed;
    let (sweep, looked_at) = match sweep.kind {
        Kind::Pepper => pepper(tx, vault, sweep)?,
        Kind::Secrets => secrets(tx, vault, sweep)?,
        Kind::ProviderKeys => provider_keys(tx, vault, sweep)?,
        Kind::SecondFactors => second_factors(tx, vault, sweep)?,
        Kind::Answers => answers(tx, vault, sweep)?,
        Kind::Alerts => alerts(tx, vault, sweep)?,
        Kind::PayloadKeys => payload_keys(tx, vault, sweep)?,
        Kind::Done => (sweep, 0),
    };
    if sweep.sealed > before {
        let mut event = Actor::system().event("instance.reseal", "master_key");
        event.after = serde_json::json!({ "sealed": sweep.sealed - before }).to_string();
        tx.append_audit(&event)?;
    }
    if looked_at < BATCH_MAX {
        return Ok(Sweep { kind: sweep.kind.next(), after: Default::default(), ..sweep });
    }
    Ok(sweep)
}

type Stepped = Result<(Sweep, u32), ControlError>;

fn pepper(tx: &mut dyn Tx, vault: &Vault, mut sweep: Sweep) -> Stepped {
    if let Some(sealed) = tx.note(PEPPER_NOTE)?.filter(|sealed| !vault.is_current(sealed)) {
        sweep.put(tx, vault, (PEPPER_PLACE, SealPlace::Note(PEPPER_NOTE)), &sealed)?;
    }
    Ok((sweep, 0))
}

fn secrets(tx: &mut dyn Tx, vault: &Vault, mut sweep: Sweep) -> Stepped {
    let rows = tx.stale_secrets(&vault.head(), &sweep.after.0, BATCH_MAX)?;
    for row in &rows {
        if let Some(value) = &row.value {
            sweep.put(tx, vault, (place_of_secret(row, value.version), SealPlace::Secret(&row.id)), &value.bytes)?;
        }
        sweep.after.0 = row.id.as_str().to_owned();
    }
    Ok((sweep, count(&rows)))
}

fn provider_keys(tx: &mut dyn Tx, vault: &Vault, mut sweep: Sweep) -> Stepped {
    let rows = tx.stale_provider_keys(&vault.head(), &sweep.after.0, BATCH_MAX)?;
    for row in &rows {
        let origins = origins_of(row);
        if let Some(value) = &row.value {
            let place = place_of_provider_key(row, value.version, &origins);
            sweep.put(tx, vault, (place, SealPlace::ProviderKey(&row.id)), &value.bytes)?;
        }
        sweep.after.0 = row.id.as_str().to_owned();
    }
    Ok((sweep, count(&rows)))
}

fn second_factors(tx: &mut dyn Tx, vault: &Vault, mut sweep: Sweep) -> Stepped {
    let rows = tx.stale_second_factors(&vault.head(), &sweep.after.0, BATCH_MAX)?;
    for row in &rows {
        sweep.put(tx, vault, (place_of_second_factor(&row.user), SealPlace::SecondFactor(&row.user)), &row.sealed)?;
        sweep.after.0 = row.user.as_str().to_owned();
    }
    Ok((sweep, count(&rows)))
}

fn answers(tx: &mut dyn Tx, vault: &Vault, mut sweep: Sweep) -> Stepped {
    let (caller, key) = &sweep.after;
    let rows = tx.stale_answers(&vault.head(), (caller, key), BATCH_MAX)?;
    for row in &rows {
        let place = place_of_answer(&row.caller, &row.key);
        sweep.put(tx, vault, (place, SealPlace::Answer(&row.caller, &row.key)), &row.sealed_body)?;
        sweep.after = (row.caller.clone(), row.key.clone());
    }
    Ok((sweep, count(&rows)))
}

fn alerts(tx: &mut dyn Tx, vault: &Vault, mut sweep: Sweep) -> Stepped {
    let rows = tx.stale_alerts(&vault.head(), &sweep.after.0, BATCH_MAX)?;
    for row in &rows {
        let origin = origin_of(row);
        if let Some(sealed) = &row.sealed_secret {
            sweep.put(tx, vault, (place_of_webhook(row, &origin), SealPlace::Alert(&row.id)), sealed)?;
        }
        sweep.after.0 = row.id.as_str().to_owned();
    }
    Ok((sweep, count(&rows)))
}

/// The payloads themselves stay as they are: their keys do not change.
fn payload_keys(tx: &mut dyn Tx, vault: &Vault, mut sweep: Sweep) -> Stepped {
    let rows = tx.stale_payload_keys(&vault.head(), &sweep.after.0, BATCH_MAX)?;
    for (project, sealed) in &rows {
        sweep.put(tx, vault, (place_of_payload_key(project), SealPlace::PayloadKey(project)), sealed)?;
        sweep.after.0.clone_from(project);
    }
    Ok((sweep, count(&rows)))
}

impl Sweep {
    fn put(
        &mut self,
        tx: &mut dyn Tx,
        vault: &Vault,
        (place, at): (Place<'_>, SealPlace<'_>),
        sealed: &[u8],
    ) -> Result<(), ControlError> {
        let Ok(fresh) = vault.reseal(place, sealed) else {
            self.left += 1;
            return Ok(());
        };
        if tx.reseal(at, sealed, &fresh)? {
            self.sealed += 1;
        }
        Ok(())
    }
}

fn count<T>(rows: &[T]) -> u32 {
    u32::try_from(rows.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MASTER_KEY, Rig};
    use super::super::{Answer, KeepAnswers, Kept, NewProviderKey, NewSecret, SealedKeys};
    use super::*;
    use crate::{
        base::Secret,
        store::{Owner, SecondFactor},
    };

    const OTHER_KEY: &str = "a5";

    /// More than one transaction of secrets, and one of everything else.
    async fn fill(rig: &Rig) -> (Owner, crate::base::Id) {
        let project = rig.project_id("chat").await;
        let owner = Owner::Project(project.clone());
        let value = Secret::new("sk-0123456789".to_owned());
        for number in 0..=BATCH_MAX {
            let new = NewSecret {
                name: format!("NAME_{number}"),
                value: value.clone(),
                bound_origins: vec!["https://api.openai.com".to_owned()],
                shared_with: None,
            };
            rig.control.create_secret(&rig.owner, &owner, new).await.unwrap();
        }
        let new = NewProviderKey {
            provider: "openai".to_owned(),
            label: "main".to_owned(),
            value,
            base_url: None,
            sort_order: 0,
        };
        rig.control.create_provider_key(&rig.owner, &owner, new).await.unwrap();
        let user = super::super::tests::person(rig, crate::store::OrganizationRole::Owner, Vec::new()).await.id;
        let sealed = rig.control.vault().seal(place_of_second_factor(&user), b"secret").unwrap();
        let at = crate::base::unix_time();
        let row = SecondFactor { user: user.clone(), sealed, confirmed_at: None, last_step: 0, created_at: at };
        rig.control.store().write(move |tx| tx.put_second_factor(&row)).await.unwrap();
        let answer = Answer { request_digest: [1; 32], status: 201, body: b"said".to_vec() };
        rig.control.keep_answer("usr_a", "key", answer).await.unwrap();
        (owner, user)
    }

    async fn opens(rig: &Rig, owner: &Owner, user: &crate::base::Id) -> bool {
        let Owner::Project(project) = owner else { panic!() };
        let project = rig.state(project).await.project;
        let keys = rig.control.store().read(move |tx| SealedKeys::read(tx, &project)).await.unwrap();
        let opened = keys.open(&rig.control.vault());
        let id = user.clone();
        let factor = rig.control.store().read(move |tx| tx.second_factor(&id)).await.unwrap().unwrap();
        let kept = rig.control.kept_answer("usr_a", "key", &[1; 32]).await;
        opened.unreadable.is_empty()
            && opened.secrets.len() == usize::try_from(BATCH_MAX + 1).unwrap()
            && opened.provider_keys.len() == 1
            && rig.control.vault().open_seal(place_of_second_factor(user), &factor.sealed).is_ok()
            && matches!(kept, Ok(Kept::Answer(answer)) if answer.body == b"said")
    }

    #[tokio::test]
    async fn old_master_key_can_be_removed_once_everything_is_sealed_anew() {
        let rig = Rig::new().await;
        let (owner, user) = fill(&rig).await;
        assert_eq!(rig.control.stale_seal_count().await.unwrap(), 0);
        assert_eq!(rig.control.reseal().await.unwrap(), 0, "nothing to do");

        let both = format!("{}\n{}", OTHER_KEY.repeat(32), MASTER_KEY.repeat(32));
        let rig = rig.restarted_with(&both).await;
        let total = u64::from(BATCH_MAX) + 1 + 4;
        assert_eq!(rig.control.stale_seal_count().await.unwrap(), total);
        assert!(opens(&rig, &owner, &user).await, "the old key still opens");
        assert_eq!(rig.control.reseal().await.unwrap(), total);
        assert_eq!(rig.control.stale_seal_count().await.unwrap(), 0);
        assert!(opens(&rig, &owner, &user).await);

        let rig = rig.restarted_with(&OTHER_KEY.repeat(32)).await;
        assert!(opens(&rig, &owner, &user).await, "without the old key");
        assert_eq!(rig.control.reseal().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn value_of_a_lost_master_key_is_left_and_counted() {
        let rig = Rig::new().await;
        let lost = Vault::parse(&"77".repeat(32)).unwrap();
        let user = super::super::tests::person(&rig, crate::store::OrganizationRole::Owner, Vec::new()).await.id;
        let sealed = lost.seal(place_of_second_factor(&user), b"secret").unwrap();
        let at = crate::base::unix_time();
        let row = SecondFactor { user, sealed, confirmed_at: None, last_step: 0, created_at: at };
        rig.control.store().write(move |tx| tx.put_second_factor(&row)).await.unwrap();
        let swept = rig.control.reseal().await;
        assert_eq!(swept.unwrap(), 0);
        assert_eq!(rig.control.stale_seal_count().await.unwrap(), 1);
    }
}

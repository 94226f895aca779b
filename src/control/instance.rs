//! The control plane as one object, shared by all callers.
//!
//! Each file of this folder adds the actions of one kind of object as `impl Control`. An action takes its actor first, asks
//! `permit` inside the transaction that reads the object's tenancy, and writes its audit event in the same transaction as
//! the change. What workers must see goes live under the publication lock, so changes become visible one after the other.

use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, MutexGuard, TryLockError};

use crate::{
    limit::Meters,
    shared::Shared,
    snapshot::{Edit, Registries, Snapshot},
    store::{Store, Tx},
};

use super::{
    alerts::{Alerting, Mail},
    error::ControlError,
    file_projects::FileProjects,
    keys::{Credentials, KeyUse},
    ledger::Tails,
    login::{Passwords, Throttle},
    payloads::Payloads,
    publish::Publisher,
    serve::Serves,
    vault::{Pepper, Vault},
};

/// Everything that the rules of the control plane act on.
pub struct Control {
    store: Store,
    vault: Arc<Vault>,
    pepper: Pepper,
    registries: Registries,
    shared: Arc<Shared>,
    publication: Mutex<Arc<Publisher>>,
    serves: Serves,
    key_use: Arc<KeyUse>,
    credentials: Credentials,
    passwords: Passwords,
    throttle: std::sync::Mutex<Throttle>,
    files: Option<Arc<FileProjects>>,
    alerting: Alerting,
    tails: Arc<Tails>,
    payloads: Payloads,
    /// Held while usage is priced again: one run at a time.
    repricing: Mutex<()>,
}

/// What a [`Control`] is made of.
pub struct ControlParts {
    /// Where everything is kept.
    pub store: Store,
    /// Seals and opens secrets.
    pub vault: Arc<Vault>,
    /// Key of the digests of API keys.
    pub pepper: Pepper,
    /// Replaces what is served; stands behind the first snapshot.
    pub publisher: Arc<Publisher>,
    /// The projects of files, in file mode.
    pub files: Option<Arc<FileProjects>>,
}

impl Control {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: ControlParts) -> Self {
        Self {
            store: parts.store,
            vault: parts.vault,
            pepper: parts.pepper,
            registries: parts.publisher.registries().clone(),
            shared: Arc::clone(parts.publisher.shared()),
            publication: Mutex::new(parts.publisher),
            serves: Serves::default(),
            key_use: Arc::default(),
            credentials: Credentials::default(),
            passwords: Passwords::new(),
            throttle: std::sync::Mutex::default(),
            files: parts.files,
            alerting: Alerting::default(),
            tails: Arc::default(),
            payloads: Payloads::default(),
            repricing: Mutex::default(),
        }
    }

    /// Lets alerts be sent by e-mail.
    #[must_use]
    pub fn with_mail(self, mail: Option<Mail>) -> Self {
        Self { alerting: Alerting::with_mail(mail), ..self }
    }

    /// What is shared by those who change alert rules and those who follow them.
    pub(super) fn alerting(&self) -> &Alerting {
        &self.alerting
    }

    /// Those who follow requests as they end.
    #[must_use]
    pub fn tails(&self) -> &Arc<Tails> {
        &self.tails
    }

    /// What requests said, on its way to the store.
    #[must_use]
    pub fn payloads(&self) -> &Payloads {
        &self.payloads
    }

    /// Takes the turn to price usage again.
    ///
    /// # Errors
    /// Somebody else has it.
    pub(super) fn repricing(&self) -> Result<MutexGuard<'_, ()>, TryLockError> {
        self.repricing.try_lock()
    }

    /// Whether the process has begun to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// What workers and the control plane share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where everything is kept.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Seals and opens secrets.
    #[must_use]
    pub fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    /// Key of the digests of API keys.
    #[must_use]
    pub fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// The projects of files; none in store mode.
    #[must_use]
    pub fn files(&self) -> Option<&FileProjects> {
        self.files.as_deref()
    }

    /// The snapshot that is served now, without waiting for a change that is on its way.
    #[must_use]
    pub fn served(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load()
    }

    /// Usage records that wait for the admin thread.
    pub(super) fn queue_depth(&self) -> usize {
        self.shared.queue.depth()
    }

    /// Takes the publication lock. It is held from the read of what is stored until the workers show the new snapshot.
    pub async fn publication(&self) -> MutexGuard<'_, Arc<Publisher>> {
        self.publication.lock().await
    }

    /// What outlives snapshots; compiling needs it.
    pub(super) fn registries(&self) -> Registries {
        self.registries.clone()
    }

    /// The counters of limits.
    pub(super) fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.registries.meters)
    }

    /// Where the last use of API keys is noted.
    #[must_use]
    pub fn key_use(&self) -> &Arc<KeyUse> {
        &self.key_use
    }

    /// How stored credentials fare at their providers.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn serves(&self) -> &Serves {
        &self.serves
    }

    pub(super) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Wrong logins. Never held across an `.await`.
    pub(super) fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a change of what files own.
    ///
    /// # Errors
    /// [`ControlError::FileOwned`] in file mode.
    pub fn refuse_if_files_own(&self, what: &str) -> Result<(), ControlError> {
        if self.files.is_none() {
            return Ok(());
        }
        Err(ControlError::FileOwned(format!(
            "{what} come from the files named in the settings (`projects_dir`, `keys_file`); change the files, or remove \
             both settings to manage them here"
        )))
    }

    /// Commits a change, shows workers what it made, and waits for them: one step under the publication lock that runs to
    /// its end.
    ///
    /// The change returns what `show` puts into the snapshot, and the answer.
    ///
    /// # Errors
    /// Those of the change; nothing has changed then. Those of [`Control::wait_until_live`]; the change is stored then.
    pub(super) async fn commit_and_show<S: Send + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut dyn Tx) -> Result<(S, T), ControlError> + Send + 'static,
        show: impl FnOnce(&mut Edit, S) + Send + 'static,
    ) -> Result<T, ControlError> {
        let control = Arc::clone(self);
        Self::to_its_end(async move {
            let publisher = control.publication().await;
            let (shown, made) = control.store().write(change).await?;
            let generation = publisher.change(|edit| show(edit, shown));
            control.wait_until_live(&publisher, generation).await?;
            Ok(made)
        })
        .await
    }

    /// As [`Control::commit_and_show`], with something long that is read beside the writer, which has others to serve. It
    /// has to be what changes under the publication lock only, so that it is still true when the change is stored.
    ///
    /// # Errors
    /// As [`Control::commit_and_show`], and those of the reading; nothing has changed then.
    pub(super) async fn read_commit_and_show<R: Send + 'static, S: Send + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&dyn Tx) -> Result<R, ControlError> + Send + 'static,
        change: impl FnOnce(&mut dyn Tx, R) -> Result<(S, T), ControlError> + Send + 'static,
        show: impl FnOnce(&mut Edit, S) + Send + 'static,
    ) -> Result<T, ControlError> {
        let control = Arc::clone(self);
        Self::to_its_end(async move {
            let publisher = control.publication().await;
            let found = control.store().read(read).await?;
            let (shown, made) = control.store().write(move |tx| change(tx, found)).await?;
            let generation = publisher.change(|edit| show(edit, shown));
            control.wait_until_live(&publisher, generation).await?;
            Ok(made)
        })
        .await
    }

    /// Runs a change to its end even when its caller goes away: between the commit and the publish nothing may be lost.
    ///
    /// # Errors
    /// Those of the change; [`ControlError::Internal`] when it panicked.
    pub(super) async fn to_its_end<T: Send + 'static>(
        change: impl Future<Output = Result<T, ControlError>> + Send + 'static,
    ) -> Result<T, ControlError> {
        match tokio::spawn(change).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ControlError::Internal("a change of what is served panicked".to_owned())),
        }
    }
}

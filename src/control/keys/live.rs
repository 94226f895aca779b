//! From a change of keys to all workers.
//!
//! Commit and publish are one step under the publication lock that runs to its end, so no call returns before what it
//! changed holds everywhere, and no change is lost between the two when a caller goes away.

use std::sync::Arc;

use super::super::{
    check::Candidate, error::ControlError, grants::digests_of, instance::Control, limits::LimitBook,
    publish::Publisher, rules::RuleChange, start,
};
use crate::{
    base::{Digest, Id},
    limit::{self, Kind, Limit, Meters},
    snapshot::{Edit, Grant, ProjectPart, RuleOwner},
    store::{ApiKey, Lifecycle, Owner, PolicyPlace, Project, Tx},
};

/// What workers have to be told about API keys.
pub(in crate::control) struct KeyChange {
    book: LimitBook,
    gone: Vec<Digest>,
    grants: Vec<(Digest, Grant)>,
    /// Rules of keys, as they are now.
    rules: Vec<RuleChange>,
    /// Keys whose rules went with them.
    without_rules: Vec<RuleOwner>,
}

impl KeyChange {
    /// Nothing has changed yet.
    pub(in crate::control) fn new(meters: Arc<Meters>) -> Self {
        Self {
            book: LimitBook::new(meters),
            gone: Vec::new(),
            grants: Vec::new(),
            rules: Vec::new(),
            without_rules: Vec::new(),
        }
    }

    /// Adds every key over which the limits of a place of the organization stand, with its limits as they are now.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn replace_under(
        &mut self,
        tx: &dyn Tx,
        organization: &Id,
        place: &PolicyPlace,
    ) -> Result<(), ControlError> {
        let keys = tx.keys_under(place)?;
        self.replace_all(tx, organization, &keys)
    }

    /// Adds keys of an organization as they are now.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn replace_all(
        &mut self,
        tx: &dyn Tx,
        organization: &Id,
        keys: &[ApiKey],
    ) -> Result<(), ControlError> {
        if keys.len() > 1 {
            self.book.learn_organization(tx, organization)?;
        }
        self.grants.reserve(keys.len());
        for key in keys {
            self.grants.extend(self.book.grants(tx, key)?);
        }
        Ok(())
    }

    /// Adds a key as it was and as it is now; read in the transaction that changes it.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn replace(
        &mut self,
        tx: &dyn Tx,
        before: Option<&ApiKey>,
        after: Option<&ApiKey>,
    ) -> Result<(), ControlError> {
        self.gone.extend(before.map(digests_of).unwrap_or_default());
        let Some(key) = after else {
            self.without_rules.extend(before.map(|key| RuleOwner::Key(key.id.as_str().into())));
            return Ok(());
        };
        self.grants.extend(self.book.grants(tx, key)?);
        Ok(())
    }

    /// Whether a limit in money binds one of the keys as they are now.
    pub(in crate::control) fn limits_money(&self) -> bool {
        let is_of_money = |limit: &Limit| limit.kind() == Kind::Money && limit.mode == limit::Mode::Enforce;
        self.grants.iter().any(|(_, grant)| grant.limits.limits().iter().any(is_of_money))
    }

    /// Adds the rules of a key that was just made.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn with_rules_of(&mut self, tx: &dyn Tx, key: &Id) -> Result<(), ControlError> {
        let meters = Arc::clone(self.book.meters());
        self.rules.push(RuleChange::read(tx, &PolicyPlace::Key(key.clone()), meters)?);
        Ok(())
    }

    /// Shows it. Rules come before the grants that they bind.
    pub(in crate::control) fn put(self, edit: &mut Edit) {
        self.rules.into_iter().for_each(|rules| rules.put(edit));
        self.without_rules.into_iter().for_each(|owner| edit.put_rules(owner, Vec::new()));
        for digest in &self.gone {
            edit.remove_grant(digest);
        }
        for (digest, grant) in self.grants {
            edit.put_grant(digest, grant);
        }
    }
}

/// A served version as it has to be compiled anew, or why it cannot be read.
pub(in crate::control) type Served = Result<Candidate, Box<start::Unreadable>>;

impl Control {
    /// Commits a change of API keys and makes it live.
    ///
    /// # Errors
    /// Those of the change; nothing has changed then.
    pub(in crate::control) async fn change_keys<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut dyn Tx) -> Result<(KeyChange, T), ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        self.commit_and_show(change, |edit, changed: KeyChange| changed.put(edit)).await
    }

    /// Commits a change of secrets or provider keys, and compiles every served project anew that may use them.
    ///
    /// The project's generation stays: its configuration is the same. One that does not compile any more answers 503, so
    /// that a value that was cleared or deleted is not used any longer.
    ///
    /// # Errors
    /// Those of the change; nothing has changed then.
    pub(in crate::control) async fn change_secrets<T: Send + 'static>(
        self: &Arc<Self>,
        owner: &Owner,
        change: impl FnOnce(&mut dyn Tx) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let (control, owner) = (Arc::clone(self), owner.clone());
        Self::to_its_end(async move {
            let publisher = control.publication().await;
            // Read in the same transaction: nothing can fail between the commit and the publish.
            let work = move |tx: &mut dyn Tx| {
                let made = change(tx)?;
                let served = Self::served_for(tx, &owner)?;
                Ok::<_, ControlError>((made, served))
            };
            let (made, served) = control.store().write(work).await?;
            control.publish_anew(&publisher, served).await?;
            Ok(made)
        })
        .await
    }

    /// Compiles what is served and publishes it.
    ///
    /// # Errors
    /// Workers that do not show it in time.
    pub(in crate::control) async fn publish_anew(
        &self,
        publisher: &Publisher,
        served: Vec<Served>,
    ) -> Result<(), ControlError> {
        if served.is_empty() {
            return Ok(());
        }
        let mut parts = Vec::with_capacity(served.len());
        for served in served {
            parts.push(self.compile_anew(publisher, served).await);
        }
        let generation = publisher.change(|edit| {
            for (id, part) in parts {
                edit.put_project(id, part);
            }
        });
        self.wait_until_live(publisher, generation).await
    }

    /// What is served of the owner's projects.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::control) fn served_for(tx: &dyn Tx, owner: &Owner) -> Result<Vec<Served>, ControlError> {
        let found = projects_of(tx, owner)?.into_iter();
        let live = found.filter(|project| project.lifecycle == Lifecycle::Active);
        let numbered = live.filter_map(|project| project.served_version.map(|number| (project, number)));
        Ok(numbered.map(|(project, number)| start::candidate(tx, project, number)).collect())
    }

    /// One project after the other on a thread of its own: a check that panics breaks its own project only.
    async fn compile_anew(&self, publisher: &Publisher, served: Served) -> (Arc<str>, ProjectPart) {
        let (id, slug, part) = match served {
            Ok(candidate) => {
                let (vault, registries) = (self.vault(), publisher.registries().clone());
                let (id, slug) = (candidate.project.id.clone(), candidate.project.slug.clone());
                let compiling =
                    tokio::task::spawn_blocking(move || start::compiled(&candidate, &vault, &registries)).await;
                (id, slug, compiling.ok())
            }
            Err(unreadable) => {
                let start::Unreadable { project, reason } = *unreadable;
                start::report(&project, &reason);
                (project.id, project.slug, None)
            }
        };
        (id.as_str().into(), part.unwrap_or_else(|| ProjectPart::broken(&slug)))
    }
}

/// The projects that may use what an owner has.
pub(super) fn projects_of(tx: &dyn Tx, owner: &Owner) -> Result<Vec<Project>, ControlError> {
    match owner {
        Owner::Instance => Ok(tx.all_projects()?),
        Owner::Project(id) => Ok(tx.project(id)?.into_iter().collect()),
        Owner::Organization(id) => {
            let mut found = tx.all_projects()?;
            found.retain(|project| project.organization == *id);
            Ok(found)
        }
    }
}

//! The first snapshot of store mode: all that is stored.
//!
//! A project whose stored configuration cannot be read or compiled answers 503 `config_error`; all others serve.

use std::sync::Arc;

use crate::{
    base::{
        Id, KeyHasher,
        log::{Level, Value, emit},
    },
    iam::Rule,
    snapshot::{Edit, ProjectPart, Registries, RuleOwner},
    store::{ApiKey, Lifecycle, OrganizationStatus, Project, Store, StoredLimit, Tx},
};

use super::{
    check::{Candidate, listed},
    credits::load_credits,
    error::ControlError,
    limits::LimitBook,
    rules::stored_rules,
    vault::{Pepper, Vault, VaultError},
    versions::digest_of,
};

/// Name under which the sealed pepper is stored.
pub(super) const PEPPER_NOTE: &str = "api_key_pepper";

/// What the store holds that workers must know.
struct Stored {
    served: Vec<Result<Candidate, Box<Unreadable>>>,
    archived: Vec<Project>,
    keys: Vec<ApiKey>,
    rules: Vec<(RuleOwner, Vec<Rule>)>,
    limits: Vec<StoredLimit>,
    /// The organization of each project and its status.
    organizations: Vec<(Id, Id, OrganizationStatus)>,
    /// Each project, and whether what its requests say is kept.
    captured: Vec<(Id, bool)>,
}

/// A project whose served version cannot be read.
pub(super) struct Unreadable {
    /// The project.
    pub(super) project: Project,
    /// Why.
    pub(super) reason: String,
}

/// Compiles everything that is stored.
///
/// # Errors
/// The store's, when it cannot be read at all.
pub async fn load(
    store: &Store,
    (vault, pepper): (&Vault, &Pepper),
    registries: &Registries,
) -> Result<Edit, ControlError> {
    load_credits(store, registries).await?;
    let stored = store.read(read).await?;
    let mut edit = Edit::empty(KeyHasher::keyed(pepper.bytes()));
    for (owner, rules) in stored.rules {
        edit.put_rules(owner, rules);
    }
    for served in stored.served {
        let (id, part) = match served {
            Ok(candidate) => (candidate.project.id.clone(), compiled(&candidate, vault, registries)),
            Err(unreadable) => {
                let Unreadable { project, reason } = *unreadable;
                report(&project, &reason);
                (project.id, ProjectPart::broken(&project.slug))
            }
        };
        edit.put_project(id.as_str().into(), part);
    }
    for project in stored.archived {
        edit.put_project(project.id.as_str().into(), ProjectPart::archived(&project.slug));
    }
    for (project, _) in stored.captured.iter().filter(|(_, captured)| *captured) {
        edit.put_captured(project.as_str(), true);
    }
    let mut book = LimitBook::new(Arc::clone(&registries.meters));
    for (project, organization, status) in stored.organizations {
        book.learn_project(project, organization, status);
    }
    book.learn_all(stored.limits);
    for key in &stored.keys {
        for (digest, grant) in book.known_grants(key) {
            edit.put_grant(digest, grant);
        }
    }
    Ok(edit)
}

/// Opens the pepper of API keys; makes it for a new store.
///
/// # Errors
/// The store's; [`ControlError::Internal`] when the master key is not the one it was sealed with.
pub async fn open_pepper(store: &Store, vault: &Vault) -> Result<Pepper, ControlError> {
    let made = vault.make_pepper().map_err(sealed)?;
    let kept = store
        .write(move |tx| {
            if let Some(kept) = tx.note(PEPPER_NOTE)? {
                return Ok::<_, ControlError>(kept);
            }
            tx.put_note(PEPPER_NOTE, Some(&made))?;
            Ok(made)
        })
        .await?;
    vault.open_pepper(&kept).map_err(sealed)
}

/// Whether the store was used before: then its master key must be there.
///
/// # Errors
/// The store's.
pub async fn has_pepper(store: &Store) -> Result<bool, ControlError> {
    Ok(store.read(|tx| tx.note(PEPPER_NOTE)).await?.is_some())
}

fn sealed(error: VaultError) -> ControlError {
    ControlError::Internal(format!("the pepper of API keys: {error}; put the master key file of this store back"))
}

fn read(tx: &dyn Tx) -> Result<Stored, ControlError> {
    let mut stored = Stored {
        served: Vec::new(),
        archived: Vec::new(),
        keys: Vec::new(),
        rules: stored_rules(tx)?,
        limits: Vec::new(),
        organizations: Vec::new(),
        captured: tx.payload_settings(None)?,
    };
    let mut organizations = std::collections::HashMap::new();
    for project in tx.all_projects()? {
        let status = match organizations.get(&project.organization) {
            Some(known) => *known,
            None => {
                let found = tx.organization(&project.organization)?;
                let status = found.map_or(OrganizationStatus::Active, |row| row.status);
                organizations.insert(project.organization.clone(), status);
                status
            }
        };
        stored.organizations.push((project.id.clone(), project.organization.clone(), status));
        match (project.lifecycle, project.served_version) {
            (Lifecycle::Archived, _) => stored.archived.push(project),
            (Lifecycle::Active, Some(number)) => stored.served.push(candidate(tx, project, number)),
            (Lifecycle::Active, None) => {}
        }
    }
    tx.each_key(&mut |key| stored.keys.push(key))?;
    tx.each_limit(&mut |limit| stored.limits.push(limit))?;
    Ok(stored)
}

/// A served version as it was stored. Damage of it is no reason not to serve the others.
pub(super) fn candidate(tx: &dyn Tx, project: Project, number: u32) -> Result<Candidate, Box<Unreadable>> {
    let read = || -> Result<Candidate, ControlError> {
        let version = tx.version(&project.id, number)?.ok_or(ControlError::NotFound)?;
        let candidate = Candidate::read(tx, &project, number)?.without_money_rule();
        if digest_of(&candidate.text) != version.digest {
            return Err(ControlError::Internal("the stored text is not the one that was saved".to_owned()));
        }
        Ok(candidate)
    };
    read().map_err(|error| {
        let reason = match error {
            ControlError::NotFound => "its served version is not stored".to_owned(),
            ControlError::Internal(reason) => reason,
            other => other.to_string(),
        };
        Box::new(Unreadable { project: project.clone(), reason })
    })
}

/// The part of a served version; a broken one, with a line in the log, when it does not compile.
pub(super) fn compiled(candidate: &Candidate, vault: &Vault, registries: &Registries) -> ProjectPart {
    let verdict = candidate.judge(vault, registries);
    let errors = verdict.error_count();
    if let Some(part) = verdict.part {
        return part;
    }
    let first = verdict.problems.iter().find(|problem| problem.severity == crate::config::Severity::Error);
    let first = first.map_or_else(String::new, |problem| problem.render(&candidate.place()));
    let unreadable = candidate.keys.open(vault).unreadable;
    let sealed = if unreadable.is_empty() {
        String::new()
    } else {
        format!("; these do not open with the master key: {}", listed(&unreadable))
    };
    report(&candidate.project, &format!("{errors} problem(s), the first: {first}{sealed}"));
    ProjectPart::broken(&candidate.project.slug)
}

/// Says in the log why a stored configuration cannot be served.
pub(super) fn report(project: &Project, reason: &str) {
    let fields = [
        ("project", Value::Text(&project.slug)),
        ("project_id", Value::Text(project.id.as_str())),
        ("reason", Value::Text(reason)),
    ];
    emit(Level::Error, "a stored configuration cannot be served; its project answers 503 `config_error`", &fields);
}

//! Projects put away, taken out again, and deleted for good.

use std::sync::Arc;

use crate::{
    base::{Digest, Id, unix_time},
    snapshot::ProjectPart,
    store::{Activation, ActivationKind, Lifecycle, Project, Tx},
};

use super::{
    actor::Actor,
    error::ControlError,
    gate::{self, expect_revision, project_json},
    grants::digests_of,
    instance::Control,
    permit::Capability,
    project_settings::check_comment,
    projects::{ProjectState, refuse_above_limit, state_of},
    rules::forgotten,
    transitions::{Action, next},
};

impl Control {
    /// Puts a project away: nothing of it is served, its own keys get 410, everything is kept.
    ///
    /// # Errors
    /// [`ControlError::IllegalTransition`] when it is put away already, or the permission's.
    pub async fn archive_project(
        self: &Arc<Self>,
        actor: &Actor,
        id: &Id,
        comment: String,
    ) -> Result<ProjectState, ControlError> {
        self.refuse_if_files_own("projects")?;
        check_comment(&comment)?;
        let (actor, id) = (actor.clone(), id.clone());
        self.commit_and_show(
            move |tx| {
                let archived = archive(tx, &actor, &id, comment)?;
                Ok(((id, ProjectPart::archived(&archived.project.slug)), archived))
            },
            |edit, (id, part)| edit.put_project(id.as_str().into(), part),
        )
        .await
    }

    /// Takes a project out again: status `DEV`; a roll back serves its last version again.
    ///
    /// # Errors
    /// [`ControlError::IllegalTransition`] when it is not put away, [`ControlError::LimitReached`], or the permission's.
    pub async fn restore_project(
        self: &Arc<Self>,
        actor: &Actor,
        id: &Id,
        comment: String,
    ) -> Result<ProjectState, ControlError> {
        self.refuse_if_files_own("projects")?;
        check_comment(&comment)?;
        let (actor, id) = (actor.clone(), id.clone());
        self.commit_and_show(
            move |tx| {
                let restored = restore(tx, &actor, &id, comment)?;
                Ok((id, restored))
            },
            |edit, id| edit.remove_project(id.as_str()),
        )
        .await
    }

    /// Deletes a project for good: versions, keys and secrets are erased, audit events stay.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] unless `confirm` is its slug, [`ControlError::Stale`], or the permission's.
    pub async fn delete_project(
        self: &Arc<Self>,
        actor: &Actor,
        id: &Id,
        revision: u64,
        confirm: String,
    ) -> Result<(), ControlError> {
        self.refuse_if_files_own("projects")?;
        let (actor, id) = (actor.clone(), id.clone());
        let registries = self.registries();
        self.commit_and_show(
            move |tx| {
                let rules = forgotten(tx, None, std::slice::from_ref(&id))?;
                let (organization, digests) = delete(tx, &actor, &id, revision, &confirm)?;
                Ok(((organization, id, digests, rules), ()))
            },
            move |edit, (organization, id, digests, rules)| {
                registries.credits.forget_project((organization.as_str(), id.as_str()));
                edit.remove_project(id.as_str());
                edit.put_captured(id.as_str(), false);
                rules.into_iter().for_each(|owner| edit.put_rules(owner, Vec::new()));
                digests.iter().for_each(|digest| edit.remove_grant(digest));
            },
        )
        .await
    }
}

fn archive(tx: &mut dyn Tx, actor: &Actor, id: &Id, comment: String) -> Result<ProjectState, ControlError> {
    let before = gate::project(tx, actor, Capability::ProjectArchive, id)?;
    gate::usable_organization(tx, actor, &before.organization)?;
    if before.lifecycle == Lifecycle::Archived {
        return Err(ControlError::IllegalTransition("the project is already archived; restore it to use it".into()));
    }
    let now = unix_time();
    let mut after = before.clone();
    after.lifecycle = Lifecycle::Archived;
    after.updated_at = now;
    if let Some(number) = before.served_version {
        let mut served = gate::version(tx, id, number)?;
        served.state = next(served.state, Action::Archive)
            .map_err(|illegal| ControlError::Internal(format!("the served version cannot be archived: {illegal:?}")))?;
        tx.update_version(&served)?;
        after.served_version = None;
        after.generation += 1;
        tx.insert_activation(&Activation {
            project: id.clone(),
            generation: after.generation,
            version: None,
            kind: ActivationKind::Archive,
            actor: actor.author.clone(),
            at: now,
            comment: comment.clone(),
        })?;
    }
    finish(tx, actor, "project.archive", (&before, &after), comment)
}

fn restore(tx: &mut dyn Tx, actor: &Actor, id: &Id, comment: String) -> Result<ProjectState, ControlError> {
    let before = gate::project(tx, actor, Capability::ProjectArchive, id)?;
    let limit = gate::usable_organization(tx, actor, &before.organization)?.project_limit;
    if before.lifecycle == Lifecycle::Active {
        return Err(ControlError::IllegalTransition("the project is not archived; there is nothing to restore".into()));
    }
    refuse_above_limit(tx, &before.organization, limit)?;
    let after = Project { lifecycle: Lifecycle::Active, updated_at: unix_time(), ..before.clone() };
    finish(tx, actor, "project.restore", (&before, &after), comment)
}

fn finish(
    tx: &mut dyn Tx,
    actor: &Actor,
    action: &str,
    (before, after): (&Project, &Project),
    comment: String,
) -> Result<ProjectState, ControlError> {
    tx.update_project(after)?;
    let mut event = gate::event(actor, action, after.id.as_str(), after);
    event.before = project_json(before).to_string();
    event.after = project_json(after).to_string();
    event.comment = comment;
    tx.append_audit(&event)?;
    let stored = tx.project(&after.id)?.ok_or(ControlError::NotFound)?;
    state_of(tx, stored)
}

/// Returns its organization, and the digests under which its keys were looked up.
fn delete(
    tx: &mut dyn Tx,
    actor: &Actor,
    id: &Id,
    revision: u64,
    confirm: &str,
) -> Result<(Id, Vec<Digest>), ControlError> {
    let project = gate::project(tx, actor, Capability::ProjectDelete, id)?;
    gate::usable_organization(tx, actor, &project.organization)?;
    if confirm != project.slug {
        return Err(ControlError::field("confirm", "must be the slug of the project, since nothing brings it back"));
    }
    expect_revision(project.revision, revision)?;
    let digests = tx.keys_of_project(id)?.iter().flat_map(digests_of).collect();
    tx.delete_project(id)?;
    let mut event = gate::event(actor, "project.delete", id.as_str(), &project);
    event.before = project_json(&project).to_string();
    tx.append_audit(&event)?;
    Ok((project.organization, digests))
}

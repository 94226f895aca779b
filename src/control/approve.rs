//! Approval: the check that decides, and the rule of four eyes.

use std::collections::BTreeSet;

use crate::{
    base::{Id, unix_time},
    store::{Project, Tx, Version},
};

use super::{
    actor::Actor,
    check::{Candidate, rehearsal},
    drafts::advance,
    error::ControlError,
    gate::{self, version_json},
    instance::Control,
    permit::Capability,
    project_settings::check_comment,
    transitions::Action,
};

impl Control {
    /// Approves a draft: it is checked and compiled by the code that serves it.
    ///
    /// # Errors
    /// [`ControlError::ConfigInvalid`] with every problem, [`ControlError::SecondPersonRequired`],
    /// [`ControlError::IllegalTransition`], or the permission's.
    pub async fn approve(
        &self,
        actor: &Actor,
        project: &Id,
        number: u32,
        comment: String,
    ) -> Result<Version, ControlError> {
        self.refuse_if_files_own("configurations")?;
        check_comment(&comment)?;
        let (reader, id) = (actor.clone(), project.clone());
        let candidate = self
            .store()
            .read(move |tx| {
                let (found, _) = approvable(tx, &reader, &id, number)?;
                Candidate::read(tx, &found, number)
            })
            .await?;
        let (candidate, verdict) = candidate.judge_aside(self.vault(), rehearsal(&self.registries())).await?;
        verdict.accept(&candidate.place())?;
        let (actor, id) = (actor.clone(), project.clone());
        self.store()
            .write(move |tx| {
                let (found, mut version) = approvable(tx, &actor, &id, number)?;
                let mut event = gate::event(&actor, "config.approve", id.as_str(), &found);
                event.before = version_json(&version).to_string();
                version.state = advance(tx, &found, &version, Action::Approve)?;
                version.approver = Some(actor.author.clone());
                version.approved_at = Some(unix_time());
                version.approve_comment.clone_from(&comment);
                tx.update_version(&version)?;
                touch(tx, &found)?;
                event.after = version_json(&version).to_string();
                event.comment = comment;
                tx.append_audit(&event)?;
                Ok(version)
            })
            .await
    }

    /// Takes an approval back: the version is a draft again.
    ///
    /// # Errors
    /// [`ControlError::IllegalTransition`], or the permission's.
    pub async fn withdraw(
        &self,
        actor: &Actor,
        project: &Id,
        number: u32,
        comment: String,
    ) -> Result<Version, ControlError> {
        self.refuse_if_files_own("configurations")?;
        check_comment(&comment)?;
        let (actor, id) = (actor.clone(), project.clone());
        self.store()
            .write(move |tx| {
                let found = gate::active_project(tx, &actor, Capability::Approve, &id)?;
                let mut version = gate::version(tx, &id, number)?;
                let mut event = gate::event(&actor, "config.withdraw", id.as_str(), &found);
                event.before = version_json(&version).to_string();
                version.state = advance(tx, &found, &version, Action::Withdraw)?;
                // Else the author could approve again what the other person no longer stands for.
                version.approver = None;
                version.approved_at = None;
                version.approve_comment = String::new();
                tx.update_version(&version)?;
                touch(tx, &found)?;
                event.after = version_json(&version).to_string();
                event.comment = comment;
                tx.append_audit(&event)?;
                Ok(version)
            })
            .await
    }
}

/// Everything that approval needs but the check itself.
fn approvable(tx: &dyn Tx, actor: &Actor, id: &Id, number: u32) -> Result<(Project, Version), ControlError> {
    let project = gate::active_project(tx, actor, Capability::Approve, id)?;
    let version = gate::version(tx, id, number)?;
    advance(tx, &project, &version, Action::Approve)?;
    let organization = tx.organization(&project.organization)?.ok_or(ControlError::NotFound)?;
    let second = project.require_second_approver.unwrap_or(organization.require_second_approver);
    if second && unapproved_authors(tx, &project.id, &version)?.contains(&actor.author) {
        return Err(ControlError::SecondPersonRequired(
            "you wrote a version since the last approval of this draft; ask another person to approve it".to_owned(),
        ));
    }
    Ok((project, version))
}

/// Authors of all versions saved since the last approval of this line of drafts: of the version, of the drafts that it
/// replaced, and of those that it was copied from, up to one that was approved.
fn unapproved_authors(tx: &dyn Tx, project: &Id, version: &Version) -> Result<BTreeSet<Id>, ControlError> {
    let mut authors = BTreeSet::from([version.author.clone()]);
    let mut seen = BTreeSet::from([version.number]);
    let mut next: Vec<u32> = version.replaces.into_iter().chain(version.copied_from).collect();
    while let Some(number) = next.pop() {
        if !seen.insert(number) {
            continue;
        }
        let earlier = gate::version(tx, project, number)?;
        if earlier.approver.is_none() {
            next.extend(earlier.replaces.into_iter().chain(earlier.copied_from));
            authors.insert(earlier.author);
        }
    }
    Ok(authors)
}

/// An approval changes what the project shows, and so its `ETag`.
fn touch(tx: &mut dyn Tx, project: &Project) -> Result<(), ControlError> {
    Ok(tx.update_project(&Project { updated_at: unix_time(), ..project.clone() })?)
}

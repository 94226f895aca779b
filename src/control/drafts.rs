//! Drafts: save, check, copy, drop.
//!
//! A draft may be invalid: its problems are stored with it. Each save makes a new version, none is ever changed.

use crate::{
    base::{Id, unix_time},
    config::Problem,
    store::{Project, Tx, Version, VersionState},
};

use super::{
    actor::Actor,
    check::{Candidate, check_storable, rehearsal},
    error::ControlError,
    gate::{self, expect_revision, version_json},
    instance::Control,
    permit::Capability,
    project_settings::check_comment,
    transitions::{Action, next},
    versions::{NewText, new_version, version_revision},
};

/// What the caller takes for the open version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This one, by [`version_revision`].
    Open(u64),
    /// None is open.
    NoneOpen,
}

/// A text to be saved.
#[derive(Debug, Clone)]
pub struct DraftText {
    /// At most 1 MiB of UTF-8.
    pub text: Vec<u8>,
    /// Up to 2,000 characters.
    pub comment: String,
}

/// What became of a save.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The new version.
    pub version: Version,
    /// Whether it replaced an approved one.
    pub approval_lost: bool,
}

impl Control {
    /// Saves a text as the new open version.
    ///
    /// # Errors
    /// [`ControlError::Stale`] when the open version is another, [`ControlError::TooLarge`], or the permission's.
    pub async fn save_draft(
        &self,
        actor: &Actor,
        project: &Id,
        expected: Expected,
        draft: DraftText,
    ) -> Result<Saved, ControlError> {
        self.refuse_if_files_own("configurations")?;
        let (gate_actor, gate_project) = (actor.clone(), project.clone());
        let DraftText { text, comment } = draft;
        let candidate = self
            .store()
            .read(move |tx| {
                let found = gate::active_project(tx, &gate_actor, Capability::DraftWrite, &gate_project)?;
                check_storable(&text)?;
                check_comment(&comment)?;
                expect_open(tx, &found, expected)?;
                let number = found.last_version + 1;
                Ok::<_, ControlError>((Candidate::new(tx, &found, number, text)?, comment))
            })
            .await?;
        self.save_checked(actor, expected, candidate, None).await
    }

    /// Copies the text of a version that is no longer open to a new draft.
    ///
    /// # Errors
    /// As [`Self::save_draft`]; [`ControlError::IllegalTransition`] for the open version itself.
    pub async fn copy_version(
        &self,
        actor: &Actor,
        (project, number): (&Id, u32),
        expected: Expected,
        comment: String,
    ) -> Result<Saved, ControlError> {
        self.refuse_if_files_own("configurations")?;
        let (gate_actor, gate_project) = (actor.clone(), project.clone());
        let candidate = self
            .store()
            .read(move |tx| {
                let found = gate::active_project(tx, &gate_actor, Capability::DraftWrite, &gate_project)?;
                check_comment(&comment)?;
                let source = gate::version(tx, &gate_project, number)?;
                advance(tx, &found, &source, Action::Copy)?;
                expect_open(tx, &found, expected)?;
                let text = tx.version_text(&gate_project, number)?.ok_or(ControlError::NotFound)?;
                Ok::<_, ControlError>((Candidate::new(tx, &found, found.last_version + 1, text)?, comment))
            })
            .await?;
        self.save_checked(actor, expected, candidate, Some(number)).await
    }

    /// Drops the open version; what is served stays live.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when none is open, [`ControlError::Stale`], or the permission's.
    pub async fn discard_draft(&self, actor: &Actor, project: &Id, revision: u64) -> Result<(), ControlError> {
        self.refuse_if_files_own("configurations")?;
        let (actor, project) = (actor.clone(), project.clone());
        self.store().write(move |tx| discard(tx, &actor, &project, revision)).await
    }

    /// Checks a text as approval would and stores nothing.
    ///
    /// # Errors
    /// [`ControlError::TooLarge`], or the permission's.
    pub async fn validate(&self, actor: &Actor, project: &Id, text: Vec<u8>) -> Result<Vec<Problem>, ControlError> {
        if let Some(files) = self.files() {
            return files.validate(actor, project, &text);
        }
        let (actor, project) = (actor.clone(), project.clone());
        let candidate = self
            .store()
            .read(move |tx| {
                let found = gate::project(tx, &actor, Capability::DraftWrite, &project)?;
                check_storable(&text)?;
                let number = found.last_version + 1;
                Candidate::new(tx, &found, number, text)
            })
            .await?;
        let (_, verdict) = candidate.judge_aside(self.vault(), rehearsal(&self.registries())).await?;
        Ok(verdict.problems)
    }

    async fn save_checked(
        &self,
        actor: &Actor,
        expected: Expected,
        (candidate, comment): (Candidate, String),
        copied_from: Option<u32>,
    ) -> Result<Saved, ControlError> {
        let (candidate, verdict) = candidate.judge_aside(self.vault(), rehearsal(&self.registries())).await?;
        let (actor, problems) = (actor.clone(), verdict.problems_json());
        self.store()
            .write(move |tx| {
                let project = gate::active_project(tx, &actor, Capability::DraftWrite, &candidate.project.id)?;
                expect_open(tx, &project, expected)?;
                let text = NewText { author: &actor.author, text: &candidate.text, comment, problems };
                let version = Version { copied_from, ..new_version(&project.id, project.last_version + 1, text) };
                save(tx, &actor, &project, (version, &candidate.text))
            })
            .await
    }
}

/// Refuses unless the open version is the one that the caller saw.
fn expect_open(tx: &dyn Tx, project: &Project, expected: Expected) -> Result<(), ControlError> {
    let open = match project.open_version {
        Some(number) => version_revision(&gate::version(tx, &project.id, number)?),
        None => 0,
    };
    match expected {
        Expected::NoneOpen => expect_revision(open, 0),
        Expected::Open(revision) => expect_revision(open, revision),
    }
}

/// The state after an action, or the refusal in words.
///
/// # Errors
/// [`ControlError::IllegalTransition`], or the store's.
pub(super) fn advance(
    tx: &dyn Tx,
    project: &Project,
    version: &Version,
    action: Action,
) -> Result<VersionState, ControlError> {
    match next(version.state, action) {
        Ok(state) => Ok(state),
        Err(illegal) => Err(ControlError::IllegalTransition(illegal.detail(&gate::facts(tx, project, version)?))),
    }
}

fn save(
    tx: &mut dyn Tx,
    actor: &Actor,
    project: &Project,
    (mut version, text): (Version, &[u8]),
) -> Result<Saved, ControlError> {
    let mut approval_lost = false;
    let mut event = gate::event(actor, "config.save", project.id.as_str(), project);
    if let Some(number) = project.open_version {
        let mut replaced = gate::version(tx, &project.id, number)?;
        event.before = version_json(&replaced).to_string();
        approval_lost = replaced.state == VersionState::ReadyToServe;
        replaced.state = advance(tx, project, &replaced, Action::Save)?;
        tx.update_version(&replaced)?;
        version.replaces = Some(number);
    }
    tx.insert_version(&version, text)?;
    let number = version.number;
    tx.update_project(&Project {
        open_version: Some(number),
        last_version: number,
        updated_at: unix_time(),
        ..project.clone()
    })?;
    event.after = version_json(&version).to_string();
    event.comment.clone_from(&version.comment);
    tx.append_audit(&event)?;
    Ok(Saved { version, approval_lost })
}

fn discard(tx: &mut dyn Tx, actor: &Actor, id: &Id, revision: u64) -> Result<(), ControlError> {
    let project = gate::active_project(tx, actor, Capability::DraftWrite, id)?;
    let mut version = gate::version(tx, id, project.open_version.ok_or(ControlError::NotFound)?)?;
    expect_revision(version_revision(&version), revision)?;
    let mut event = gate::event(actor, "config.discard", id.as_str(), &project);
    event.before = version_json(&version).to_string();
    version.state = advance(tx, &project, &version, Action::Discard)?;
    tx.update_version(&version)?;
    tx.update_project(&Project { open_version: None, updated_at: unix_time(), ..project })?;
    event.after = version_json(&version).to_string();
    tx.append_audit(&event)?;
    Ok(())
}

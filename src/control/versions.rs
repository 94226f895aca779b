//! Versions of a configuration: the history and the texts.

use sha2::{Digest as _, Sha256};

use crate::{
    base::{Id, unix_time},
    store::{Activation, Page, PageRequest, Version, VersionFilter, VersionState},
};

use super::{actor::Actor, error::ControlError, gate, instance::Control, permit::Capability};

/// Most bytes of a configuration.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// A version with its exact text.
#[derive(Debug, Clone)]
pub struct VersionText {
    /// The version.
    pub version: Version,
    /// The bytes as they were saved.
    pub text: Vec<u8>,
}

/// What a new version is made of.
pub(super) struct NewText<'a> {
    pub(super) author: &'a Id,
    pub(super) text: &'a [u8],
    pub(super) comment: String,
    /// JSON list.
    pub(super) problems: String,
}

impl Control {
    /// Lists versions, by number.
    ///
    /// # Errors
    /// The permission's or the store's.
    pub async fn versions(
        &self,
        actor: &Actor,
        project: &Id,
        filter: VersionFilter,
        page: PageRequest,
    ) -> Result<Page<Version>, ControlError> {
        if let Some(files) = self.files() {
            return files.versions(actor, project, &filter, &page);
        }
        let (actor, project) = (actor.clone(), project.clone());
        self.store()
            .read(move |tx| {
                gate::project(tx, &actor, Capability::ProjectRead, &project)?;
                Ok(tx.versions(&project, &filter, &page)?)
            })
            .await
    }

    /// Reads a version and its text.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], the permission's or the store's.
    pub async fn version(&self, actor: &Actor, project: &Id, number: u32) -> Result<VersionText, ControlError> {
        if let Some(files) = self.files() {
            return files.version(actor, project, number);
        }
        let (actor, project) = (actor.clone(), project.clone());
        self.store()
            .read(move |tx| {
                gate::project(tx, &actor, Capability::ProjectRead, &project)?;
                let version = gate::version(tx, &project, number)?;
                let text = tx.version_text(&project, number)?.ok_or(ControlError::NotFound)?;
                Ok(VersionText { version, text })
            })
            .await
    }

    /// Reads the open version and its text.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when none is open.
    pub async fn open_version(&self, actor: &Actor, project: &Id) -> Result<VersionText, ControlError> {
        let number = self.project(actor, project).await?.project.open_version;
        self.version(actor, project, number.ok_or(ControlError::NotFound)?).await
    }

    /// Lists what was live when, by generation.
    ///
    /// # Errors
    /// The permission's or the store's.
    pub async fn generations(
        &self,
        actor: &Actor,
        project: &Id,
        page: PageRequest,
    ) -> Result<Page<Activation>, ControlError> {
        if let Some(files) = self.files() {
            files.project(actor, project)?;
            return Ok(Page { rows: Vec::new(), has_more: false });
        }
        let (actor, project) = (actor.clone(), project.clone());
        self.store()
            .read(move |tx| {
                gate::project(tx, &actor, Capability::ProjectRead, &project)?;
                Ok(tx.activations(&project, &page)?)
            })
            .await
    }
}

/// What tells whether a version changed: its number and its state. The text never changes.
#[must_use]
pub fn version_revision(version: &Version) -> u64 {
    let state = VersionState::ALL.iter().position(|state| *state == version.state).unwrap_or(0);
    u64::from(version.number) << 3 | u64::try_from(state).unwrap_or(0)
}

pub(super) fn new_version(project: &Id, number: u32, new: NewText<'_>) -> Version {
    Version {
        project: project.clone(),
        number,
        state: VersionState::Draft,
        digest: digest_of(new.text),
        size: u32::try_from(new.text.len()).unwrap_or(u32::MAX),
        author: new.author.clone(),
        created_at: unix_time(),
        comment: new.comment,
        problems: new.problems,
        approver: None,
        approved_at: None,
        approve_comment: String::new(),
        copied_from: None,
        replaces: None,
        served_at: None,
    }
}

/// SHA-256 of a text.
#[must_use]
pub(super) fn digest_of(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

//! What becomes live, decided and written in a transaction.
//!
//! Serve, roll back and unserve differ in which version comes next; all else is the same. Nothing here is visible to a
//! worker: `serve.rs` publishes what was committed here.

use crate::{
    base::{Id, unix_time},
    store::{Activation, ActivationKind, Order, PageRequest, Project, Tx, Version},
};

use super::{
    actor::Actor,
    check::Candidate,
    drafts::advance,
    error::ControlError,
    gate::{self, project_json},
    permit::Capability,
    transitions::{Action, Facts, Illegal},
};

/// What is to be live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// An approved version.
    Serve(u32),
    /// An earlier one; none is the one before.
    RollBack(Option<u32>),
    /// Nothing.
    Unserve,
}

/// What the caller says about a change of what is live.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// Up to 2,000 characters.
    pub comment: String,
    /// The generation that the caller saw; none does not care.
    pub expected_generation: Option<u64>,
}

/// A goal that was found to be possible.
pub(super) struct Plan {
    pub(super) project: Project,
    /// The version that becomes live; none for unserve.
    pub(super) version: Option<Version>,
    kind: ActivationKind,
}

impl Goal {
    fn kind(self) -> ActivationKind {
        match self {
            Self::Serve(_) => ActivationKind::Serve,
            Self::RollBack(_) => ActivationKind::Rollback,
            Self::Unserve => ActivationKind::Unserve,
        }
    }

    fn audit_action(self) -> &'static str {
        match self {
            Self::Serve(_) => "config.serve",
            Self::RollBack(_) => "config.rollback",
            Self::Unserve => "config.unserve",
        }
    }
}

impl Plan {
    /// Checks role, lifecycle, generation and state.
    ///
    /// # Errors
    /// The permission's, [`ControlError::GenerationConflict`], [`ControlError::IllegalTransition`].
    pub(super) fn make(
        tx: &dyn Tx,
        actor: &Actor,
        id: &Id,
        goal: Goal,
        expected_generation: Option<u64>,
    ) -> Result<Self, ControlError> {
        let project = gate::active_project(tx, actor, Capability::Serve, id)?;
        if expected_generation.is_some_and(|expected| expected != project.generation) {
            return Err(generation_conflict(tx, &project)?);
        }
        let version = match goal {
            Goal::Serve(number) => Some(gate::version(tx, id, number)?),
            Goal::RollBack(Some(number)) => Some(gate::version(tx, id, number)?),
            Goal::RollBack(None) => Some(previous(tx, &project)?),
            Goal::Unserve => None,
        };
        match (&version, goal) {
            (Some(version), Goal::RollBack(_)) => drop(advance(tx, &project, version, Action::RollBack)?),
            (Some(version), _) => drop(advance(tx, &project, version, Action::Serve)?),
            (None, _) if project.served_version.is_none() => {
                return Err(ControlError::IllegalTransition(Illegal::NotServed.detail(&Facts::default())));
            }
            (None, _) => {}
        }
        Ok(Self { project, version, kind: goal.kind() })
    }

    /// The text that is to be live, and what it may use.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn candidate(&self, tx: &dyn Tx) -> Result<Option<Candidate>, ControlError> {
        match &self.version {
            Some(version) => Candidate::read(tx, &self.project, version.number).map(Some),
            None => Ok(None),
        }
    }

    /// Whether another plan, made later, comes to the same: then what was compiled for the first serves the second.
    pub(super) fn agrees(&self, later: &Self) -> bool {
        let number = |plan: &Self| plan.version.as_ref().map(|version| version.number);
        self.project.generation == later.project.generation
            && self.project.slug == later.project.slug
            && number(self) == number(later)
    }

    /// Writes what becomes live; returns the new generation.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn write(
        self,
        tx: &mut dyn Tx,
        actor: &Actor,
        goal: Goal,
        comment: String,
    ) -> Result<u64, ControlError> {
        let Self { project: before, version, kind } = self;
        let now = unix_time();
        let mut after = before.clone();
        if let Some(number) = before.served_version {
            let mut served = gate::version(tx, &before.id, number)?;
            served.state = advance(tx, &before, &served, Action::Unserve)?;
            tx.update_version(&served)?;
        }
        after.served_version = version.as_ref().map(|version| version.number);
        if let Some(mut version) = version {
            let action = if kind == ActivationKind::Rollback { Action::RollBack } else { Action::Serve };
            version.state = advance(tx, &before, &version, action)?;
            version.served_at = Some(now);
            tx.update_version(&version)?;
            after.ever_served = true;
            after.open_version = before.open_version.filter(|open| *open != version.number);
        }
        after.generation += 1;
        after.updated_at = now;
        tx.update_project(&after)?;
        tx.insert_activation(&Activation {
            project: before.id.clone(),
            generation: after.generation,
            version: after.served_version,
            kind,
            actor: actor.author.clone(),
            at: now,
            comment: comment.clone(),
        })?;
        let mut event = gate::event(actor, goal.audit_action(), before.id.as_str(), &before);
        event.before = project_json(&before).to_string();
        event.after = project_json(&after).to_string();
        event.comment = comment;
        tx.append_audit(&event)?;
        Ok(after.generation)
    }
}

/// The version that was live before the present one.
fn previous(tx: &dyn Tx, project: &Project) -> Result<Version, ControlError> {
    let Some(number) = tx.previously_served(&project.id)? else {
        let said = "no earlier version was served; approve and serve one, or name another with `to_version`";
        return Err(ControlError::IllegalTransition(said.to_owned()));
    };
    gate::version(tx, &project.id, number)
}

fn generation_conflict(tx: &dyn Tx, project: &Project) -> Result<ControlError, ControlError> {
    let last = PageRequest { limit: 1, after: None, order: Order::Descending };
    let by = match tx.activations(&project.id, &last)?.rows.first() {
        Some(activation) => {
            format!(", made by {} at {}", gate::name_of(tx, &activation.actor)?, activation.at.rfc3339())
        }
        None => String::new(),
    };
    Ok(ControlError::GenerationConflict(format!(
        "the generation is {} now{by}; look at what is served and repeat the call with it",
        project.generation
    )))
}

//! Serve, unserve, roll back: from the store to workers.
//!
//! Check, compile, commit, publish, in this order: until the commit nothing has changed, and the publish behind it cannot
//! fail. A process that dies between the two serves at its next start what was committed. A caller that goes away
//! changes nothing: what has begun runs to its end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    base::{
        Id, UnixTime,
        log::{Level, Value, emit},
        now, unix_time,
    },
    snapshot::ProjectPart,
};

use super::{
    activation::{Goal, Intent, Plan},
    actor::Actor,
    error::ControlError,
    instance::Control,
    project_settings::check_comment,
    publish::Publisher,
};

/// How long workers have to confirm a snapshot. One that does not is as good as dead.
const CONFIRM_MAX: Duration = Duration::from_secs(5);
/// After a process was stopped as a whole, its workers get this long to go on.
const CONFIRM_AGAIN: Duration = Duration::from_millis(250);

/// What is live after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activated {
    /// Generation of the project.
    pub generation: u64,
    /// The version that is live.
    pub version: Option<u32>,
    /// The generation of the project that each worker serves, by its number.
    pub workers: Vec<u64>,
}

/// Which projects are being served right now, and by whom.
#[derive(Default)]
pub(super) struct Serves(Mutex<HashMap<Id, (String, UnixTime)>>);

/// A project's serve lock; dropping it lets the next one in.
struct Serving<'a>(&'a Serves, Id);

impl Serves {
    fn begin(&self, project: &Id, actor: &Actor) -> Result<Serving<'_>, ControlError> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, since)) = running.get(project) {
            return Err(ControlError::ServeInProgress(format!(
                "{name} changes what is served since {}; wait until that has ended and look at the outcome",
                since.rfc3339()
            )));
        }
        running.insert(project.clone(), (actor.name.clone(), unix_time()));
        Ok(Serving(self, project.clone()))
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Control {
    /// Makes an approved version live.
    ///
    /// # Errors
    /// [`ControlError::IllegalTransition`], [`ControlError::GenerationConflict`], [`ControlError::ServeInProgress`],
    /// [`ControlError::ConfigInvalid`], [`ControlError::Unavailable`], or the permission's. Nothing has changed then.
    pub async fn serve(
        self: &Arc<Self>,
        actor: &Actor,
        project: &Id,
        number: u32,
        intent: Intent,
    ) -> Result<Activated, ControlError> {
        self.activate(actor, project, Goal::Serve(number), intent).await
    }

    /// Makes a version live that was live before; without a number the one before the present.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub async fn roll_back(
        self: &Arc<Self>,
        actor: &Actor,
        project: &Id,
        to_version: Option<u32>,
        intent: Intent,
    ) -> Result<Activated, ControlError> {
        self.activate(actor, project, Goal::RollBack(to_version), intent).await
    }

    /// Ends the serving of a project. Streams in flight finish.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub async fn unserve(
        self: &Arc<Self>,
        actor: &Actor,
        project: &Id,
        intent: Intent,
    ) -> Result<Activated, ControlError> {
        self.activate(actor, project, Goal::Unserve, intent).await
    }

    async fn activate(
        self: &Arc<Self>,
        actor: &Actor,
        project: &Id,
        goal: Goal,
        intent: Intent,
    ) -> Result<Activated, ControlError> {
        self.refuse_if_files_own("what is served")?;
        check_comment(&intent.comment)?;
        let (control, actor, id) = (Arc::clone(self), actor.clone(), project.clone());
        Self::to_its_end(async move {
            // Strangers are told so before they can learn that a serve is running.
            control.plan(&actor, &id, goal, &intent).await?;
            let _serving = control.serves().begin(&id, &actor)?;
            let publisher = control.publication().await;
            control.activate_locked(&publisher, (actor, id), goal, intent).await
        })
        .await
    }

    async fn plan(&self, actor: &Actor, id: &Id, goal: Goal, intent: &Intent) -> Result<Plan, ControlError> {
        let (actor, id, expected) = (actor.clone(), id.clone(), intent.expected_generation);
        self.store().read(move |tx| Plan::make(tx, &actor, &id, goal, expected)).await
    }

    /// Steps 1 to 6 of a serve, under the project's serve lock and the publication lock.
    async fn activate_locked(
        &self,
        publisher: &Publisher,
        (actor, id): (Actor, Id),
        goal: Goal,
        intent: Intent,
    ) -> Result<Activated, ControlError> {
        let (reader, read_id, expected) = (actor.clone(), id.clone(), intent.expected_generation);
        let (plan, candidate, captured) = self
            .store()
            .read(move |tx| {
                let plan = Plan::make(tx, &reader, &read_id, goal, expected)?;
                let candidate = plan.candidate(tx)?;
                Ok::<_, ControlError>((plan, candidate, tx.keeps_payloads(&read_id)?))
            })
            .await?;
        let part = match candidate {
            None => None,
            Some(candidate) => {
                let registries = publisher.registries().clone();
                let begun = now();
                let (candidate, verdict) = candidate.judge_aside(self.vault(), registries).await?;
                publisher.registries().metrics.config_compiled(begun.elapsed());
                let accepted = verdict.accept(&candidate.place());
                if let Err(ControlError::ConfigInvalid(refusals)) = &accepted {
                    publisher.registries().metrics.config_refused();
                    let count = u64::try_from(refusals.len()).unwrap_or(u64::MAX);
                    let fields = [("project", Value::Text(id.as_str())), ("problems", Value::Uint(count))];
                    emit(Level::Warn, "serve refused; the version before goes on serving", &fields);
                }
                Some(accepted?)
            }
        };
        refuse_if_worker_is_dead(publisher)?;
        let version = plan.version.as_ref().map(|version| version.number);
        let generation = self.commit(plan, (actor, id.clone()), goal, intent).await?;
        let published = publish(publisher, &id, part.map(|part| (part, captured)));
        self.wait_until_live(publisher, published).await?;
        // All have confirmed it, so that is what each of them serves.
        let workers = vec![generation; publisher.worker_generations().len()];
        Ok(Activated { generation, version, workers })
    }

    /// Step 4: all of it or nothing, and only if nothing changed since it was compiled.
    async fn commit(
        &self,
        plan: Plan,
        (actor, id): (Actor, Id),
        goal: Goal,
        intent: Intent,
    ) -> Result<u64, ControlError> {
        self.store()
            .write(move |tx| {
                let again = Plan::make(tx, &actor, &id, goal, intent.expected_generation)?;
                if !plan.agrees(&again) {
                    let said = "the project changed while its version was compiled; repeat the call";
                    return Err(ControlError::GenerationConflict(said.to_owned()));
                }
                again.write(tx, &actor, goal, intent.comment)
            })
            .await
    }

    /// Waits until every worker shows a generation. What is published stays published: a worker that does not show it is
    /// given up, and the process ends when the others have drained.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`], which says that the change is stored and what happens now.
    pub(super) async fn wait_until_live(&self, publisher: &Publisher, generation: u64) -> Result<(), ControlError> {
        if publisher.published_everywhere(generation, CONFIRM_MAX).await.is_ok() {
            return Ok(());
        }
        let Err(late) = publisher.published_everywhere(generation, CONFIRM_AGAIN).await else { return Ok(()) };
        let text = late.to_string();
        let said = "a change is stored and live, but not on every worker; draining the others";
        emit(Level::Error, said, &[("reason", Value::Text(&text))]);
        publisher.give_up(&late);
        Err(ControlError::Unavailable(format!(
            "the change is stored, but workers {:?} have not confirmed it within 5 s and count as dead: the process drains and \
             ends now, and serves the change when it is started again; do not repeat the call, look at the outcome then",
            late.workers
        )))
    }
}

/// Step 5. It cannot fail.
fn publish(publisher: &Publisher, id: &Id, part: Option<(ProjectPart, bool)>) -> u64 {
    match part {
        Some((part, captured)) => publisher.serve(|edit| {
            edit.put_project(id.as_str().into(), part);
            edit.put_captured(id.as_str(), captured);
        }),
        None => publisher.change(|edit| edit.remove_project(id.as_str())),
    }
}

/// Step 3: a prepared snapshot is one pointer that workers load, so what they have to agree to is that they still run.
fn refuse_if_worker_is_dead(publisher: &Publisher) -> Result<(), ControlError> {
    let now = now();
    let workers = publisher.registries().metrics.workers().iter().enumerate();
    let dead: Vec<String> = workers.filter(|(_, block)| !block.is_alive(now)).map(|(at, _)| at.to_string()).collect();
    if dead.is_empty() {
        return Ok(());
    }
    Err(ControlError::Unavailable(format!(
        "worker {} does not answer, so nothing was changed; look at `/livez`, restart the process, repeat the call",
        dead.join(", ")
    )))
}

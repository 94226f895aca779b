//! A run: planned whole, then carried out in bounded steps.
//!
//! The plan is stored before anything of it is done. Each step takes some changes from it, makes them, and posts what they
//! add up to, in one transaction: at every commit what was rolled up is what was entered.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::super::{
    actor::Actor,
    credits::correct_credits,
    error::ControlError,
    gate,
    instance::Control,
    ledger::cost_account,
    permit::{Capability, Scope, permit},
    project_settings::check_comment,
};
use super::{
    order::RepriceOrder,
    period::{Part, parts},
    prices::Prices,
    report::{RepriceFigures, RepriceReport},
    window::Scene,
};
use crate::{
    base::{
        Id, IdKind, NanoUsd,
        log::{Level, Value, emit},
        unix_time,
    },
    store::{
        LedgerEntry, LedgerKind, Page, PageRequest, Project, Reprice, RepriceChange, RepriceState, StoreError,
        TagPlace, TagTally, Tx,
    },
    usage::Credential,
};

/// What files own in file mode.
const OWNED: &str = "prices of projects";
/// Changes of one transaction: others wait for it.
const STEP: u32 = 500;
/// The same for storing them.
const STORED_AT_ONCE: usize = 1_000;
/// Changes of one run: they are held in memory until they are stored.
const CHANGES_MAX: usize = 200_000;
/// When the process tries again to go on with what an earlier one began.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A run and what it found.
#[derive(Debug, Clone, PartialEq)]
pub struct Repriced {
    /// The run; none for one that was dry.
    pub run: Option<Reprice>,
    /// What it found.
    pub report: RepriceReport,
}

/// What a run will do.
pub(super) struct Plan {
    pub(super) changes: Vec<RepriceChange>,
    report: RepriceReport,
}

impl Control {
    /// Prices past usage of a project again, or says what would change.
    ///
    /// # Errors
    /// As [`permit`]: requests of the platform's credentials are for whoever may write credits. Field problems;
    /// [`ControlError::InUse`] while another run is going on, and for an operation that was carried out before.
    pub async fn reprice(
        self: &Arc<Self>,
        actor: &Actor,
        project: &Id,
        order: RepriceOrder,
        operation: String,
    ) -> Result<Repriced, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (who, id, credential) = (actor.clone(), project.clone(), order.credential);
        let found = self.store().read(move |tx| permitted(tx, &who, &id, credential)).await?;
        check_comment(&order.comment)?;
        let parts = parts(order.from, order.to, unix_time())?;
        let (control, actor) = (Arc::clone(self), actor.clone());
        Self::to_its_end(async move {
            let _turn = control.repricing().map_err(|_| busy())?;
            control.finish_runs_of(Some(&found.id)).await?;
            control.refuse_known(&operation).await?;
            let plan = control.plan_reprice(&found, &order, parts).await?;
            if order.dry_run {
                return Ok(Repriced { run: None, report: plan.report });
            }
            control.refuse_overdraft(&found, &order, &plan.report).await?;
            let report = plan.report.clone();
            let run = control.begin_reprice(&actor, &found, (&order, operation), plan).await?;
            let run = control.carry_out(run).await?;
            Ok(Repriced { run: Some(run), report })
        })
        .await
    }

    /// Runs of a project.
    ///
    /// # Errors
    /// As [`permit`].
    pub async fn reprices(
        &self,
        actor: &Actor,
        project: &Id,
        page: PageRequest,
    ) -> Result<Page<Repriced>, ControlError> {
        let (actor, id) = (actor.clone(), project.clone());
        let found = self
            .store()
            .read(move |tx| {
                gate::project(tx, &actor, Capability::UsageReprice, &id)?;
                Ok::<_, ControlError>(tx.reprices(&id, &page)?)
            })
            .await?;
        let rows = found.rows.into_iter().map(|run| {
            let report = serde_json::from_str(&run.report);
            let report =
                report.map_err(|error| ControlError::Internal(format!("the report of {}: {error}", run.id)))?;
            Ok(Repriced { run: Some(run), report })
        });
        Ok(Page { rows: rows.collect::<Result<_, ControlError>>()?, has_more: found.has_more })
    }

    /// Goes on with every run that is open; what was not planned to its end is dropped.
    ///
    /// # Errors
    /// The store's; those of the first run that cannot be carried out.
    async fn finish_runs_of(&self, project: Option<&Id>) -> Result<(), ControlError> {
        let project = project.cloned();
        let mut outcome = Ok(());
        for run in self.store().read(move |tx| tx.open_reprices(project.as_ref())).await? {
            if run.state == RepriceState::Planning {
                self.store().write(move |tx| tx.delete_reprice(&run.id)).await?;
                continue;
            }
            // One that waits for credits holds up no other.
            outcome = outcome.and(self.carry_out(run).await.map(drop));
        }
        outcome
    }

    async fn refuse_known(&self, operation: &str) -> Result<(), ControlError> {
        let operation = operation.to_owned();
        match self.store().read(move |tx| tx.reprice_of(&operation)).await? {
            None => Ok(()),
            Some(run) => Err(ControlError::InUse(format!(
                "this `Idempotency-Key` has priced usage again before, as `{}`; choose a new one to do so once more",
                run.id
            ))),
        }
    }

    pub(super) async fn plan_reprice(
        &self,
        project: &Project,
        order: &RepriceOrder,
        parts: Vec<Part>,
    ) -> Result<Plan, ControlError> {
        let prices = self.ordered_prices(project, order).await?;
        let scene = Arc::new(self.reprice_scene(project, order, &prices).await?);
        let (mut changes, mut by_model) = (Vec::new(), BTreeMap::<_, RepriceFigures>::new());
        for part in parts {
            let scene = Arc::clone(&scene);
            let found = self.store().read(move |tx| scene.look(tx, part)).await?;
            changes.extend(found.changes);
            for (model, figures) in found.by_model {
                by_model.entry(model).or_default().add(&figures);
            }
            if changes.len() > CHANGES_MAX {
                let said =
                    format!("more than {CHANGES_MAX} sums and requests would change; price a shorter time at once");
                return Err(ControlError::field("from", said));
            }
        }
        Ok(Plan { changes, report: RepriceReport::of(by_model) })
    }

    async fn reprice_scene(
        &self,
        project: &Project,
        order: &RepriceOrder,
        prices: &Prices,
    ) -> Result<Scene, ControlError> {
        let name = project.id.as_str().to_owned();
        let counted = name.clone();
        let dimensions = self.store().read(move |tx| tx.dimensions(&counted)).await?;
        Ok(Scene::new(name, dimensions, (order, prices)))
    }

    /// What is charged to credits later comes out of what was paid in.
    async fn refuse_overdraft(
        &self,
        project: &Project,
        order: &RepriceOrder,
        report: &RepriceReport,
    ) -> Result<(), ControlError> {
        if order.credential != Credential::Platform {
            return Ok(());
        }
        let (organization, more) = (project.organization.clone(), report.total.difference());
        let account = format!("credits:{organization}");
        let paid_in = self.store().read(move |tx| tx.account(&account, 0)).await?.map_or(0, |account| account.posted);
        if more.units() <= paid_in {
            return Ok(());
        }
        let said = format!("{more} USD would be charged to credits of which less was paid in; top them up first");
        Err(ControlError::field("credential", said))
    }

    /// Stores a plan. Nothing of it is done before all of it is there.
    pub(super) async fn begin_reprice(
        &self,
        actor: &Actor,
        project: &Project,
        (order, operation): (&RepriceOrder, String),
        plan: Plan,
    ) -> Result<Reprice, ControlError> {
        let report = serde_json::to_string(&plan.report);
        let mut run = Reprice {
            id: Id::random(IdKind::Reprice)?,
            organization: project.organization.clone(),
            project: project.id.clone(),
            operation,
            credential: order.credential.as_str().to_owned(),
            state: RepriceState::Planning,
            changes: u64::try_from(plan.changes.len()).unwrap_or(u64::MAX),
            done: 0,
            comment: order.comment.clone(),
            report: report.map_err(|error| ControlError::Internal(error.to_string()))?,
            made_by: actor.author.clone(),
            made_at: unix_time(),
        };
        let row = run.clone();
        self.store().write(move |tx| tx.insert_reprice(&row)).await.map_err(|error| match error {
            StoreError::Taken(_) => busy(),
            other => other.into(),
        })?;
        let mut stored = 0;
        for some in plan.changes.chunks(STORED_AT_ONCE) {
            let (id, some) = (run.id.clone(), some.to_vec());
            let count = u64::try_from(some.len()).unwrap_or(u64::MAX);
            self.store().write(move |tx| tx.insert_changes(&id, stored, &some)).await?;
            stored += count;
        }
        run.state = RepriceState::Applying;
        let (row, actor, credential, place) = (run.clone(), actor.clone(), order.credential, project.id.clone());
        let event = event(&actor, project, (order, &run), &plan.report);
        self.store()
            .write(move |tx| {
                // Asked again: the plan took its time.
                permitted(tx, &actor, &place, credential)?;
                tx.append_audit(&event)?;
                Ok::<_, ControlError>(tx.update_reprice(&row)?)
            })
            .await?;
        Ok(run)
    }

    /// Carries out what is left of a run.
    pub(super) async fn carry_out(&self, mut run: Reprice) -> Result<Reprice, ControlError> {
        while run.state != RepriceState::Done {
            run = self.step_reprice(run).await?;
        }
        Ok(run)
    }

    /// One transaction of a run. Credits change under the publication lock, so that what was paid in last is what workers see.
    pub(super) async fn step_reprice(&self, run: Reprice) -> Result<Reprice, ControlError> {
        if run.credential != Credential::Platform.as_str() {
            let (run, _) = self.store().write(move |tx| advance(tx, run)).await?;
            return Ok(run);
        }
        let _publisher = self.publication().await;
        let (run, paid_in) = self.store().write(move |tx| advance(tx, run)).await?;
        if let Some(paid_in) = paid_in {
            let registries = self.registries();
            registries.credits.set_paid_in(run.organization.as_str(), paid_in, &registries.meters);
        }
        Ok(run)
    }
}

/// Goes on with the runs that an earlier process left open.
pub async fn finish_reprices(control: Arc<Control>, mut shutdown: watch::Receiver<bool>) {
    loop {
        let outcome = match control.repricing() {
            Ok(_turn) => control.finish_runs_of(None).await,
            Err(_) => Err(busy()),
        };
        let Err(error) = outcome else { return };
        let text = error.to_string();
        emit(Level::Warn, "usage is not priced again to the end yet", &[("reason", Value::Text(&text))]);
        // An error means that the sender has gone, which ends the process as well.
        if tokio::time::timeout(AGAIN_AFTER, shutdown.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

/// The project, if the actor may price its usage again.
fn permitted(tx: &dyn Tx, actor: &Actor, project: &Id, credential: Credential) -> Result<Project, ControlError> {
    let found = gate::project(tx, actor, Capability::UsageReprice, project)?;
    if credential == Credential::Platform {
        permit(actor, Capability::CreditsWrite, Scope::Organization(&found.organization))?;
    }
    Ok(found)
}

fn busy() -> ControlError {
    ControlError::InUse("usage is being priced again at this moment; wait until that has ended".to_owned())
}

fn event(
    actor: &Actor,
    project: &Project,
    (order, run): (&RepriceOrder, &Reprice),
    report: &RepriceReport,
) -> crate::store::AuditEvent {
    let mut event = gate::event(actor, "usage.reprice", run.id.as_str(), project);
    event.before = serde_json::json!({ "cost": report.total.old_cost }).to_string();
    event.after = serde_json::json!({
        "cost": report.total.new_cost,
        "requests": report.total.by_rows + report.total.by_sums,
        "credential": run.credential,
        "prices": format!("{:?}", order.prices).to_lowercase(),
        "from": order.from.rfc3339(),
        "to": order.to.rfc3339(),
        "route": order.route,
        "provider": order.provider,
        "model": order.model,
    })
    .to_string();
    event.comment.clone_from(&order.comment);
    event
}

/// Makes the next changes of a run and enters what they add up to; returns what is paid in if that changed.
fn advance(tx: &mut dyn Tx, mut run: Reprice) -> Result<(Reprice, Option<NanoUsd>), ControlError> {
    let changes = tx.take_changes(&run.id, STEP)?;
    let (mut cost, mut requests) = (0_i64, 0_u64);
    for change in &changes {
        match change {
            RepriceChange::Sum(of) => {
                tx.correct_sum(run.project.as_str(), of)?;
                cost =
                    cost.checked_add(of.cost).ok_or_else(|| ControlError::Internal("a run is too large".to_owned()))?;
                requests = requests.saturating_add(of.requests);
            }
            RepriceChange::Row(of) => tx.correct_request(&run.id, of)?,
            RepriceChange::Tag { bucket, name, value, cost } => {
                let (name, value) = (name.clone(), value.clone());
                let place = TagPlace { project: run.project.as_str().into(), bucket: *bucket, name, value };
                let tally = TagTally { cost: NanoUsd(*cost), ..TagTally::default() };
                tx.add_tag(run.organization.as_str(), &place, &tally)?;
            }
        }
    }
    let done = run.done.saturating_add(u64::try_from(changes.len()).unwrap_or(u64::MAX));
    run.done = if changes.is_empty() { run.changes } else { done };
    if run.done >= run.changes {
        run.state = RepriceState::Done;
    }
    let paid_in = if cost == 0 { None } else { enter(tx, &run, (cost, requests))? };
    tx.update_reprice(&run)?;
    Ok((run, paid_in))
}

/// Enters what some changes add up to.
fn enter(tx: &mut dyn Tx, run: &Reprice, (cost, requests): (i64, u64)) -> Result<Option<NanoUsd>, ControlError> {
    let account = cost_account(run.project.as_str());
    let entry = LedgerEntry {
        id: 0,
        at: unix_time(),
        kind: LedgerKind::Reprice,
        account: account.clone(),
        period: 0,
        amount: cost,
        requests,
        organization: run.organization.as_str().to_owned(),
        project: run.project.as_str().to_owned(),
        first_request: String::new(),
        last_request: String::new(),
        comment: run.comment.clone(),
        operation: format!("{}.{}", run.id, run.done),
    };
    tx.post(&entry)?;
    // Nobody spends from this account: what is leased of it is what is posted.
    tx.lease(&account, 0, 0)?;
    if run.credential != Credential::Platform.as_str() {
        return Ok(None);
    }
    let amount = cost.checked_neg().ok_or_else(|| ControlError::Internal("a run is too large".to_owned()))?;
    correct_credits(tx, &run.organization, LedgerEntry { amount, ..entry }).map(Some)
}

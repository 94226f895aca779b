//! What the book needs now and then: fold, forget, compare.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::watch, time::MissedTickBehavior};

use super::{
    batch::{COST, FEE},
    keeper::Keeper,
};
use crate::{
    base::{
        UnixTime,
        log::{Level, Value, emit},
        unix_time,
    },
    store::{Outcome, Span, StoreError, Tx},
};

/// How often minutes are folded into hours and days.
const FOLD_PERIOD: Duration = Duration::from_secs(60);
/// Minutes that are this old get nothing more but from a store that failed; that is added where it belongs all the same.
const FOLD_AGE: Duration = Duration::from_secs(120);
/// Roll-ups that one transaction folds: all other changes wait for it, some tens of milliseconds.
const FOLD_ROLLUPS: u32 = 1_000;
/// Turns of the above between two comparisons of the books, and two rounds of forgetting.
const TURNS: u64 = 60;
/// How long roll-ups are kept. Those of days are kept for ever.
const KEPT: [(Span, Duration); 2] =
    [(Span::Minute, Duration::from_secs(7 * 86_400)), (Span::Hour, Duration::from_secs(90 * 86_400))];
/// Days that rows are kept of what belongs to no project that is stored.
const RETENTION_DAYS: u32 = 30;
/// Rows that one transaction forgets: others get their turn between two.
const FORGET_ROWS: u32 = 1_000;
/// Accounts that one question compares.
const COMPARED_ACCOUNTS: u32 = 500;

impl Keeper {
    /// Folds what is due.
    ///
    /// # Errors
    /// The store's; what was folded before stays so.
    pub async fn fold(&self) -> Result<(), StoreError> {
        let before = UnixTime(unix_time().0.saturating_sub(FOLD_AGE));
        while self.book().write(move |tx| tx.fold_rollups(before, FOLD_ROLLUPS)).await? {}
        Ok(())
    }

    /// Forgets roll-ups, rows and payloads that are older than they are kept.
    ///
    /// # Errors
    /// The store's; what was forgotten before stays so.
    pub async fn forget(&self) -> Result<(), StoreError> {
        let read = |tx: &dyn Tx| Ok::<_, StoreError>((tx.counted_projects(None)?, tx.retentions()?));
        let (projects, retentions) = self.book().read(read).await?;
        let days: HashMap<String, u32> =
            retentions.into_iter().map(|(project, days)| (project.as_str().to_owned(), days)).collect();
        for project in projects {
            let kept = days.get(&project).copied().unwrap_or(RETENTION_DAYS);
            let before = ago(Duration::from_secs(u64::from(kept) * 86_400));
            let name = project.clone();
            self.repeat(move |tx| tx.forget_requests(&name, before, FORGET_ROWS)).await?;
            let name = project.clone();
            self.repeat(move |tx| tx.forget_payloads(&name, before, FORGET_ROWS)).await?;
            for (span, kept) in KEPT {
                let name = project.clone();
                self.repeat(move |tx| tx.forget_rollups(&name, span, ago(kept), FORGET_ROWS)).await?;
            }
        }
        Ok(())
    }

    /// How far the books are apart, in nano-USD and units of accounts: accounts from their entries, and what was rolled up
    /// from what was entered.
    ///
    /// # Errors
    /// The store's.
    pub async fn compare(&self) -> Result<u64, StoreError> {
        let mut apart = 0u64;
        let mut after = None;
        loop {
            let behind = after.clone();
            let (difference, last) =
                self.book().read(move |tx| tx.unposted(behind.as_ref(), COMPARED_ACCOUNTS)).await?;
            apart = apart.saturating_add(difference);
            let Some(last) = last else { break };
            after = Some(last);
        }
        for project in self.book().read(|tx| tx.counted_projects(None)).await? {
            let difference = self.book().read(move |tx| rolled_up_apart(tx, &project)).await?;
            apart = apart.saturating_add(difference);
        }
        self.note_difference(apart);
        Ok(apart)
    }

    /// Repeats a change as long as there is more to do.
    async fn repeat(
        &self,
        change: impl Fn(&mut dyn Tx) -> Outcome<bool> + Clone + Send + 'static,
    ) -> Result<(), StoreError> {
        loop {
            let change = change.clone();
            if !self.book().write(move |tx| change(tx)).await? {
                return Ok(());
            }
        }
    }
}

/// Both sides of one project, read from one state of the store.
fn rolled_up_apart(tx: &dyn Tx, project: &str) -> Outcome<u64> {
    let (cost, fee) = tx.rolled_up(project)?;
    let posted = |name: String| Ok::<_, StoreError>(tx.account(&name, 0)?.map_or(0, |account| account.posted));
    let apart = |rolled_up: i64, posted: u64| (i128::from(rolled_up) - i128::from(posted)).unsigned_abs();
    let sum = apart(cost, posted(format!("{COST}{project}"))?) + apart(fee, posted(format!("{FEE}{project}"))?);
    Ok(u64::try_from(sum).unwrap_or(u64::MAX))
}

fn ago(time: Duration) -> UnixTime {
    UnixTime(unix_time().0.saturating_sub(time))
}

/// Looks after the book until `shutdown` says so.
pub async fn look_after_book(keeper: Arc<Keeper>, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(FOLD_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        report("usage cannot be folded now", keeper.fold().await);
        if turn % TURNS == 1 {
            report("old usage cannot be forgotten now", keeper.forget().await);
            report("the books cannot be compared now", keeper.compare().await.map(drop));
        }
    }
}

fn report(said: &'static str, outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        emit(Level::Warn, said, &[("reason", Value::Text(&error.to_string()))]);
    }
}

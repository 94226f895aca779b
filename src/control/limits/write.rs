//! Limits: list, create, change, delete.

use std::sync::Arc;

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    instance::Control,
    keys::KeyChange,
    site::{Intent, PolicySite, Standing},
};
use super::{
    allowance::Allowances,
    book::compiled,
    reach::{NEEDED, Reach},
    unpriced::refuse_unpriced,
    words::{checked_window, window_of},
};
use crate::{
    base::{Id, IdKind, unix_time},
    limit::{LimitSet, LimitState, Meters},
    snapshot::Snapshot,
    store::{ApiKey, LimitAlgorithm, LimitKind, LimitMode, PolicyPlace, StoredLimit, Tx},
};

/// Most limits of one place: a request takes from each of them.
const LIMITS_MAX: usize = 16;
/// Largest amount: what money can hold.
const AMOUNT_MAX: u64 = i64::MAX.unsigned_abs();
/// What files own in file mode.
const OWNED: &str = "limits";

/// What a new limit is to be.
#[derive(Debug, Clone)]
pub struct NewLimit {
    /// What it counts.
    pub kind: LimitKind,
    /// Most in one window, in the unit of the kind: nano-USD for money.
    pub amount: u64,
    /// Length of a window, such as `1 minute`; none for all time and for what is open.
    pub window: Option<String>,
    /// How the window moves; none is a fixed window, or all time without one.
    pub algorithm: Option<LimitAlgorithm>,
    /// What it does when it is reached.
    pub mode: LimitMode,
}

/// What is to change; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct LimitPatch {
    /// Most in one window. The window goes on.
    pub amount: Option<u64>,
    /// What it does when it is reached.
    pub mode: Option<LimitMode>,
}

/// A limit and its counter.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitUse {
    /// The limit.
    pub limit: StoredLimit,
    /// What is used of it; none when its window cannot be read.
    pub state: Option<LimitState>,
}

impl LimitUse {
    /// Reads the counter of a limit.
    pub(super) fn read(limit: StoredLimit, meters: &Meters) -> Self {
        let set = LimitSet::new(compiled(&limit, meters).into_iter().collect());
        let state = set.states(meters.now()).next();
        Self { limit, state }
    }
}

impl Control {
    /// Limits of one place with their counters, the oldest first.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`] when there is no such place.
    pub async fn limits(&self, actor: &Actor, site: PolicySite) -> Result<Vec<LimitUse>, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let actor = actor.clone();
        let rows = self.store().read(move |tx| {
            site.permitted(tx, &actor, Intent::Read, &NEEDED)?;
            Ok::<_, ControlError>(tx.limits(&site.place())?)
        });
        let meters = self.meters();
        Ok(rows.await?.into_iter().map(|row| LimitUse::read(row, &meters)).collect())
    }

    /// One limit of a place with its counter.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`], also for a limit of another place.
    pub async fn limit(&self, actor: &Actor, site: PolicySite, id: Id) -> Result<LimitUse, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let actor = actor.clone();
        let row = self.store().read(move |tx| {
            site.permitted(tx, &actor, Intent::Read, &NEEDED)?;
            own_limit(tx, &site.place(), &id)
        });
        Ok(LimitUse::read(row.await?, &self.meters()))
    }

    /// Makes a limit; it holds on every worker when the call returns.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::NameTaken`], [`ControlError::LimitReached`].
    pub async fn create_limit(
        self: &Arc<Self>,
        actor: &Actor,
        site: PolicySite,
        new: NewLimit,
    ) -> Result<LimitUse, ControlError> {
        self.change_limits(actor, site, Intent::Write, move |tx, deed| {
            let (window, algorithm) = checked_window(new.kind, new.window.as_deref(), new.algorithm)?;
            let row = deed.new_row(new.kind, new.amount, (window, algorithm))?;
            let row = StoredLimit { mode: new.mode, ..row };
            deed.put(tx, (None, Some(row)), "kind")?.ok_or(ControlError::NotFound)
        })
        .await
    }

    /// Changes a limit whose revision is `expected`.
    ///
    /// # Errors
    /// The permission's; field problems; [`ControlError::NotFound`], [`ControlError::Stale`].
    pub async fn change_limit(
        self: &Arc<Self>,
        actor: &Actor,
        (site, id): (PolicySite, Id),
        expected: u64,
        patch: LimitPatch,
    ) -> Result<LimitUse, ControlError> {
        self.change_limits(actor, site, Intent::Write, move |tx, deed| {
            let before = own_limit(tx, &deed.place, &id)?;
            gate::expect_revision(before.revision, expected)?;
            let mut after = before.clone();
            after.amount = patch.amount.unwrap_or(after.amount);
            after.mode = patch.mode.unwrap_or(after.mode);
            deed.put(tx, (Some(before), Some(after)), "mode")?.ok_or(ControlError::NotFound)
        })
        .await
    }

    /// Deletes a limit whose revision is `expected`.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`], [`ControlError::Stale`].
    pub async fn delete_limit(
        self: &Arc<Self>,
        actor: &Actor,
        (site, id): (PolicySite, Id),
        expected: u64,
    ) -> Result<(), ControlError> {
        self.change_limits(actor, site, Intent::Remove, move |tx, deed| {
            let before = own_limit(tx, &deed.place, &id)?;
            gate::expect_revision(before.revision, expected)?;
            deed.put(tx, (Some(before.clone()), None), "")?;
            Ok(before)
        })
        .await
        .map(drop)
    }

    /// Commits a change of the limits of one place and makes it live.
    async fn change_limits(
        self: &Arc<Self>,
        actor: &Actor,
        site: PolicySite,
        intent: Intent,
        change: impl FnOnce(&mut dyn Tx, &Deed<'_>) -> Result<StoredLimit, ControlError> + Send + 'static,
    ) -> Result<LimitUse, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        let (actor, control) = (actor.clone(), Arc::clone(self));
        let meters = self.meters();
        let (who, at) = (actor.clone(), site.clone());
        // There may be 100,000 of them. Whoever may not change the limit has nothing read.
        let under = move |tx: &dyn Tx| {
            at.permitted(tx, &who, intent, &NEEDED)?;
            Ok(tx.keys_under(&at.place())?)
        };
        let change = move |tx: &mut dyn Tx, under: Vec<ApiKey>| {
            let standing = site.permitted(tx, &actor, intent, &NEEDED)?;
            let reach = Reach::of(&actor, &site, &standing.organization);
            let place = site.place();
            // Read under the publication lock: nothing is served in between.
            let snapshot = control.served();
            let deed = Deed { actor: &actor, standing: &standing, reach, place, snapshot: &snapshot };
            let made = change(tx, &deed)?;
            deed.touch(tx)?;
            let mut keys = KeyChange::new(control.meters());
            keys.replace_all(tx, &standing.organization, &under)?;
            let allowances = Allowances::read(tx, &standing.organization, &deed.place)?;
            Ok(((keys, allowances), made))
        };
        let registries = self.registries();
        let changed = self.read_commit_and_show(under, change, move |edit, (keys, allowances)| {
            keys.put(edit);
            allowances.show(&registries);
        });
        Ok(LimitUse::read(changed.await?, &meters))
    }
}

/// Who changes limits where.
pub(super) struct Deed<'a> {
    pub(super) actor: &'a Actor,
    pub(super) standing: &'a Standing,
    pub(super) reach: Reach,
    pub(super) place: PolicyPlace,
    pub(super) snapshot: &'a Snapshot,
}

impl Deed<'_> {
    /// A limit that is not stored yet.
    ///
    /// # Errors
    /// That of the random source.
    pub(super) fn new_row(
        &self,
        kind: LimitKind,
        amount: u64,
        (window, algorithm): (String, LimitAlgorithm),
    ) -> Result<StoredLimit, ControlError> {
        Ok(StoredLimit {
            id: Id::random(IdKind::Limit)?,
            organization: self.standing.organization.clone(),
            place: self.place.clone(),
            kind,
            amount,
            window,
            algorithm,
            mode: LimitMode::Enforce,
            created_by: self.actor.author.clone(),
            created_at: unix_time(),
            revision: 1,
        })
    }

    /// Puts a limit in the place of another, or adds or removes one; returns it as it is stored. `path` is the field that
    /// asks for it.
    ///
    /// # Errors
    /// As [`Control::create_limit`].
    pub(super) fn put(
        &self,
        tx: &mut dyn Tx,
        (before, after): (Option<StoredLimit>, Option<StoredLimit>),
        path: &str,
    ) -> Result<Option<StoredLimit>, ControlError> {
        if before == after {
            return Ok(after);
        }
        self.reach.check(before.as_ref(), after.as_ref())?;
        if let Some(row) = &after {
            if row.amount > AMOUNT_MAX {
                return Err(ControlError::field("amount", "too large"));
            }
            self.refuse_misplaced(row)?;
            self.refuse_second(tx, row)?;
            refuse_unpriced(tx, self.snapshot, row, path)?;
        }
        let action = match (&before, &after) {
            (None, Some(row)) => {
                tx.insert_limit(row)?;
                "limit.create"
            }
            (Some(_), Some(row)) => {
                tx.update_limit(row)?;
                "limit.update"
            }
            (Some(row), None) => {
                tx.delete_limit(&row.id, row.revision)?;
                "limit.delete"
            }
            (None, None) => return Ok(None),
        };
        let stored = match &after {
            // As stored: times have milliseconds there.
            Some(row) => tx.limit(&row.id)?,
            None => None,
        };
        self.note(tx, action, (before.as_ref(), stored.as_ref()))?;
        Ok(stored)
    }

    /// Only a project has an allowance.
    fn refuse_misplaced(&self, row: &StoredLimit) -> Result<(), ControlError> {
        if row.kind == LimitKind::Credits && !matches!(self.place, PolicyPlace::Project(_)) {
            let said = "`credits` is what a project may draw of its organization's credits; use `usd` here";
            return Err(ControlError::field("kind", said));
        }
        Ok(())
    }

    /// Two limits with one counter would take from it twice for each request.
    fn refuse_second(&self, tx: &dyn Tx, row: &StoredLimit) -> Result<(), ControlError> {
        let others = tx.limits(&self.place)?;
        let window = window_of(row.algorithm, &row.window);
        let shares = |other: &&StoredLimit| {
            other.id != row.id && other.kind == row.kind && window_of(other.algorithm, &other.window) == window
        };
        if let Some(other) = others.iter().find(shares) {
            let said = format!("limit `{}` has this kind, window and algorithm already; change that one", other.id);
            return Err(ControlError::NameTaken(said));
        }
        let is_new = others.iter().all(|other| other.id != row.id);
        if is_new && others.len() >= LIMITS_MAX {
            return Err(ControlError::LimitReached(format!("at most {LIMITS_MAX} limits stand at one place")));
        }
        Ok(())
    }

    /// Whoever has seen a key or a member before its limits changed has seen another one.
    fn touch(&self, tx: &mut dyn Tx) -> Result<(), ControlError> {
        match &self.place {
            PolicyPlace::Key(id) => {
                let key = tx.key(id)?.ok_or(ControlError::NotFound)?;
                tx.update_key(&key)?;
            }
            PolicyPlace::Member { organization, user } => {
                let member = tx.member(organization, user)?.ok_or(ControlError::NotFound)?;
                tx.update_member(&member)?;
            }
            PolicyPlace::Organization(_) | PolicyPlace::Project(_) => {}
        }
        Ok(())
    }

    fn note(
        &self,
        tx: &mut dyn Tx,
        action: &str,
        (before, after): (Option<&StoredLimit>, Option<&StoredLimit>),
    ) -> Result<(), ControlError> {
        let Some(limit) = after.or(before) else {
            return Ok(());
        };
        let mut event = self.standing.event(self.actor, action, &limit.id);
        event.before = before.map(shown).unwrap_or_default();
        event.after = after.map(shown).unwrap_or_default();
        tx.append_audit(&event)?;
        Ok(())
    }
}

/// A limit of this place. One of another does not exist.
fn own_limit(tx: &dyn Tx, place: &PolicyPlace, id: &Id) -> Result<StoredLimit, ControlError> {
    tx.limit(id)?.filter(|found| found.place == *place).ok_or(ControlError::NotFound)
}

/// The limit as the audit log keeps it.
fn shown(limit: &StoredLimit) -> String {
    serde_json::json!({
        "owner": limit.place.owner(),
        "kind": limit.kind,
        "amount": limit.amount,
        "window": limit.window,
        "algorithm": limit.algorithm,
        "mode": limit.mode,
    })
    .to_string()
}

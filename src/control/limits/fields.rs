//! The limits that are fields of a key or a member.
//!
//! Each field is a view of one row of the limits of its place: what is written here is listed there, and the other way
//! round.

use super::super::{actor::Actor, error::ControlError, instance::Control, site::Standing};
use super::{
    reach::Reach,
    words::{Span, Unit},
    write::{Deed, LimitUse},
};
use crate::{
    base::{Id, UnixTime, unix_time},
    limit::CalendarUnit,
    snapshot::Snapshot,
    store::{LimitAlgorithm, LimitKind, LimitMode, PolicyPlace, Project, StoredLimit, Tx},
};

/// How the period of a limit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodKind {
    /// Begins with the first request; a month has 30 days.
    Rolling,
    /// Begins with the hour, day, week or month of the calendar, in UTC.
    Calendar,
}

/// So much money in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodLimit {
    /// Nano-USD.
    pub amount: u64,
    /// Units of one period.
    pub count: u32,
    /// The unit.
    pub unit: CalendarUnit,
    /// How it moves.
    pub kind: PeriodKind,
}

/// Changes of the fields; absent ones stay, `Some(None)` lifts the limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldPatch {
    /// Nano-USD, all time.
    pub usage_limit: Option<Option<u64>>,
    /// Money in each period.
    pub period_limit: Option<Option<PeriodLimit>>,
    /// Requests a minute.
    pub requests_per_minute: Option<Option<u64>>,
    /// Tokens a minute.
    pub tokens_per_minute: Option<Option<u64>>,
    /// Requests open at once.
    pub max_concurrent: Option<Option<u64>>,
}

impl FieldPatch {
    /// Whether nothing is to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The fields as they stand, with what is used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LimitFields {
    /// Nano-USD, all time.
    pub usage_limit: Option<u64>,
    /// Money in each period.
    pub period_limit: Option<PeriodLimit>,
    /// Requests a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute.
    pub tokens_per_minute: Option<u64>,
    /// Requests open at once.
    pub max_concurrent: Option<u64>,
    /// Spent of `usage_limit`, in nano-USD; none without one.
    pub usage_total: Option<u64>,
    /// Spent in the present period, in nano-USD; none without one.
    pub usage_period: Option<u64>,
    /// When the present period ends; none while none has begun.
    pub period_resets_at: Option<UnixTime>,
    /// Nano-USD that open requests may still spend, of the larger of the two limits; none without any.
    pub reserved: Option<u64>,
}

/// One of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Usage,
    Period,
    Requests,
    Tokens,
    Concurrent,
}

/// What a field asks for.
struct Wanted {
    amount: u64,
    window: String,
    algorithm: LimitAlgorithm,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage_limit",
            Self::Period => "period_limit",
            Self::Requests => "requests_per_minute",
            Self::Tokens => "tokens_per_minute",
            Self::Concurrent => "max_concurrent",
        }
    }

    fn kind(self) -> LimitKind {
        match self {
            Self::Usage | Self::Period => LimitKind::Usd,
            Self::Requests => LimitKind::Requests,
            Self::Tokens => LimitKind::Tokens,
            Self::Concurrent => LimitKind::Concurrent,
        }
    }

    fn shows(self, row: &StoredLimit) -> bool {
        let is_shape = match self {
            Self::Usage => row.algorithm == LimitAlgorithm::Total,
            Self::Period => period_of(row).is_some(),
            Self::Requests | Self::Tokens => row.algorithm == LimitAlgorithm::FixedWindow && row.window == MINUTE,
            Self::Concurrent => row.algorithm == LimitAlgorithm::Concurrent,
        };
        row.kind == self.kind() && is_shape
    }
}

const MINUTE: &str = "1 minute";

/// The period that a row stands for, if it is one of whole hours.
fn period_of(row: &StoredLimit) -> Option<PeriodLimit> {
    let kind = match row.algorithm {
        LimitAlgorithm::FixedWindow => PeriodKind::Rolling,
        LimitAlgorithm::Calendar => PeriodKind::Calendar,
        _ => return None,
    };
    let Span { count, unit: Unit::Calendar(unit) } = Span::parse(&row.window)? else {
        return None;
    };
    Some(PeriodLimit { amount: row.amount, count, unit, kind })
}

impl FieldPatch {
    fn wanted(&self) -> Result<Vec<(Field, Option<Wanted>)>, ControlError> {
        let plain = |amount, window: &str, algorithm| Wanted { amount, window: window.to_owned(), algorithm };
        let mut all = Vec::new();
        if let Some(amount) = self.usage_limit {
            all.push((Field::Usage, amount.map(|amount| plain(amount, "", LimitAlgorithm::Total))));
        }
        if let Some(period) = self.period_limit {
            all.push((Field::Period, period.map(|period| period.wanted()).transpose()?));
        }
        for (field, amount) in [(Field::Requests, self.requests_per_minute), (Field::Tokens, self.tokens_per_minute)] {
            if let Some(amount) = amount {
                all.push((field, amount.map(|amount| plain(amount, MINUTE, LimitAlgorithm::FixedWindow))));
            }
        }
        if let Some(amount) = self.max_concurrent {
            all.push((Field::Concurrent, amount.map(|amount| plain(amount, "", LimitAlgorithm::Concurrent))));
        }
        Ok(all)
    }
}

impl PeriodLimit {
    fn wanted(&self) -> Result<Wanted, ControlError> {
        let span = Span { count: self.count, unit: Unit::Calendar(self.unit) };
        let algorithm = match self.kind {
            PeriodKind::Rolling => LimitAlgorithm::FixedWindow,
            PeriodKind::Calendar => LimitAlgorithm::Calendar,
        };
        if Span::parse(&span.text()).is_none() {
            return Err(ControlError::field("period_limit.every", "1 hour to 12 months"));
        }
        Ok(Wanted { amount: self.amount, window: span.text(), algorithm })
    }
}

/// Who changes the fields of a place that belongs to an organization and maybe a project.
pub(in crate::control) struct FieldDeed<'a> {
    pub(in crate::control) actor: &'a Actor,
    pub(in crate::control) organization: Id,
    pub(in crate::control) project: Option<Id>,
    pub(in crate::control) reach: Reach,
    pub(in crate::control) snapshot: &'a Snapshot,
}

impl<'a> FieldDeed<'a> {
    /// A change of a key of a project.
    pub(in crate::control) fn at_project(
        actor: &'a Actor,
        project: &Project,
        reach: Reach,
        snapshot: &'a Snapshot,
    ) -> Self {
        let (organization, project) = (project.organization.clone(), Some(project.id.clone()));
        Self { actor, organization, project, reach, snapshot }
    }

    /// Writes the fields of a place; false when all of them were so already.
    ///
    /// # Errors
    /// Field problems; [`ControlError::NotPermitted`], [`ControlError::NameTaken`]; the store's.
    pub(in crate::control) fn write(
        &self,
        tx: &mut dyn Tx,
        place: &PolicyPlace,
        patch: &FieldPatch,
    ) -> Result<bool, ControlError> {
        let standing = Standing { organization: self.organization.clone(), project: self.project.clone() };
        let (actor, reach, snapshot) = (self.actor, self.reach, self.snapshot);
        let deed = Deed { actor, standing: &standing, reach, place: place.clone(), snapshot };
        let mut any = false;
        for (field, wanted) in patch.wanted()? {
            let rows = tx.limits(place)?;
            // One that only reports is taken over when no other is there.
            let shown = rows.iter().filter(|row| field.shows(row));
            let before = shown.min_by_key(|row| row.mode == LimitMode::Shadow).cloned();
            let after = match (wanted, &before) {
                (None, _) => None,
                (Some(Wanted { amount, window, algorithm }), Some(row)) => {
                    Some(StoredLimit { amount, window, algorithm, mode: LimitMode::Enforce, ..row.clone() })
                }
                (Some(wanted), None) => {
                    Some(deed.new_row(field.kind(), wanted.amount, (wanted.window, wanted.algorithm))?)
                }
            };
            any |= before != after;
            deed.put(tx, (before, after), field.name())?;
        }
        Ok(any)
    }
}

/// Refuses amounts above those of the member who makes a key: they would promise what is never given.
///
/// # Errors
/// Field problems; the store's.
pub(in crate::control) fn refuse_above_member(
    tx: &dyn Tx,
    member: &PolicyPlace,
    patch: &FieldPatch,
) -> Result<(), ControlError> {
    let own = tx.limits(member)?;
    for (field, wanted) in patch.wanted()? {
        let Some(wanted) = wanted else { continue };
        let bound = own.iter().find(|row| {
            let is_same = (row.algorithm, row.window.as_str()) == (wanted.algorithm, wanted.window.as_str());
            row.kind == field.kind() && is_same && row.mode == LimitMode::Enforce
        });
        if bound.is_some_and(|bound| bound.amount < wanted.amount) {
            return Err(ControlError::field(field.name(), "above the limit of the member who makes the key"));
        }
    }
    Ok(())
}

impl Control {
    /// The fields of places that the caller was shown already.
    ///
    /// # Errors
    /// The store's.
    pub async fn limit_fields(&self, places: Vec<PolicyPlace>) -> Result<Vec<LimitFields>, ControlError> {
        let rows = self.store().read(move |tx| {
            let rows = places.iter().map(|place| Ok(tx.limits(place)?));
            rows.collect::<Result<Vec<_>, ControlError>>()
        });
        let (rows, meters) = (rows.await?, self.meters());
        let read = |rows: Vec<StoredLimit>| {
            let uses: Vec<_> = rows.into_iter().map(|row| LimitUse::read(row, &meters)).collect();
            LimitFields::of(&uses, unix_time())
        };
        Ok(rows.into_iter().map(read).collect())
    }
}

impl LimitFields {
    /// Reads the fields off the limits of a place.
    fn of(uses: &[LimitUse], now: UnixTime) -> Self {
        let find = |field: Field| uses.iter().find(|of| field.shows(&of.limit) && of.limit.mode == LimitMode::Enforce);
        let amount = |field| find(field).map(|of| of.limit.amount);
        let (total, period) = (find(Field::Usage), find(Field::Period));
        let posted = |of: Option<&LimitUse>| of.and_then(|of| of.state).map(|state| state.posted);
        let pending = |of: Option<&LimitUse>| of.and_then(|of| of.state).map(|state| state.pending);
        Self {
            usage_limit: amount(Field::Usage),
            period_limit: period.and_then(|of| period_of(&of.limit)),
            requests_per_minute: amount(Field::Requests),
            tokens_per_minute: amount(Field::Tokens),
            max_concurrent: amount(Field::Concurrent),
            usage_total: posted(total),
            usage_period: posted(period),
            period_resets_at: period.and_then(|of| of.resets_at(now)),
            reserved: pending(total).max(pending(period)),
        }
    }
}

impl LimitUse {
    /// When nothing of it will be used, if nobody comes; none if time does not help, or if nothing is used.
    #[must_use]
    pub fn resets_at(&self, now: UnixTime) -> Option<UnixTime> {
        let resets_in = self.state?.resets_in.filter(|left| !left.is_zero())?;
        Some(UnixTime(now.0.saturating_add(resets_in)))
    }
}

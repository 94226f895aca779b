//! Sums over time and groups, made of roll-ups.
//!
//! A bucket of the answer is made of the widest roll-ups that fit into it: hours of UTC are hours of most other zones too,
//! days are not. Hours are kept in parts where days of some zones begin; where no part fits, minutes do as long as they are kept. Counts and sums are exact;
//! percentiles come from merged distributions.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::super::error::ControlError;
use super::zone::{Buckets, Zone};
use crate::{
    base::{UnixTime, unix_time},
    store::{Dimension, OTHER_TAG, Rollup, Span, Tx},
    usage::Tally,
};

const DAY: u64 = 86_400;
/// Longest time that one question covers.
const DAYS_MAX: u64 = 366;
/// Rows of an answer at most.
const ROWS_MAX: usize = 10_000;
/// How far back roll-ups of minutes and hours go.
const MINUTES_KEPT: u64 = 7 * DAY;
const HOURS_KEPT: u64 = 90 * DAY;

/// Length of the buckets of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// Up to 7 days back.
    Minute,
    /// Up to 90 days back.
    Hour,
    /// Days of the zone.
    Day,
    /// Calendar months of the zone.
    Month,
}

/// What an answer is broken down by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupBy {
    /// Project.
    Project,
    /// Route.
    Route,
    /// Key.
    Key,
    /// Member who made the key.
    Member,
    /// Group of the key.
    Group,
    /// Provider.
    Provider,
    /// Model.
    Model,
    /// Target.
    Target,
    /// Path.
    Endpoint,
    /// Class of the status.
    Status,
    /// Code of the error.
    Error,
    /// Whether a stream was asked for.
    Stream,
    /// Whose credential served.
    Credential,
    /// Tag of the client, alone: a request with two tags is in two rows.
    Tag,
}

/// Only what has these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    /// Of this key.
    pub key: Option<String>,
    /// Of keys of this member.
    pub member: Option<String>,
    /// This route.
    pub route: Option<String>,
    /// This provider.
    pub provider: Option<String>,
    /// This model.
    pub model: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct UsageQuestion {
    /// From when on; earlier if no bucket of a roll-up begins there.
    pub from: UnixTime,
    /// Until before when.
    pub to: UnixTime,
    /// Length of the buckets.
    pub granularity: Granularity,
    /// Where hours, days and months begin.
    pub zone: Zone,
    /// What it is broken down by.
    pub group_by: Vec<GroupBy>,
    /// What is counted.
    pub only: Only,
}

/// Requests of one bucket and group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UsageRow {
    /// When the bucket begins, in seconds since 1970.
    pub begins: u64,
    /// The group, in the order that was asked for.
    pub group: Vec<(GroupBy, String)>,
    /// The sum.
    pub tally: Tally,
    /// Failed and refused ones by the code of their error.
    pub errors: BTreeMap<String, u64>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Analytics {
    /// Everything together.
    pub total: UsageRow,
    /// By bucket, then by group.
    pub rows: Vec<UsageRow>,
}

impl GroupBy {
    /// Every one with its word.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Project, "project"),
        (Self::Route, "route"),
        (Self::Key, "key"),
        (Self::Member, "member"),
        (Self::Group, "group"),
        (Self::Provider, "provider"),
        (Self::Model, "model"),
        (Self::Target, "target"),
        (Self::Endpoint, "endpoint"),
        (Self::Status, "status"),
        (Self::Error, "error"),
        (Self::Stream, "stream"),
        (Self::Credential, "credential"),
        (Self::Tag, "tag"),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(found, _)| *found == self).map_or("", |(_, word)| *word)
    }

    fn of(self, dimension: &Dimension) -> &str {
        match self {
            Self::Project => &dimension.project,
            Self::Route => &dimension.route,
            Self::Key => &dimension.key,
            Self::Member => &dimension.member,
            Self::Group => &dimension.group,
            Self::Provider => &dimension.provider,
            Self::Model => &dimension.model,
            Self::Target => &dimension.target,
            Self::Endpoint => &dimension.endpoint,
            Self::Status => &dimension.status,
            Self::Error => &dimension.error,
            Self::Stream => {
                if dimension.stream {
                    "true"
                } else {
                    "false"
                }
            }
            Self::Credential => &dimension.credential,
            Self::Tag => "",
        }
    }
}

impl Only {
    fn admits(&self, dimension: &Dimension) -> bool {
        let fits = |wanted: &Option<String>, found: &String| wanted.as_ref().is_none_or(|wanted| wanted == found);
        fits(&self.key, &dimension.key)
            && fits(&self.member, &dimension.member)
            && fits(&self.route, &dimension.route)
            && fits(&self.provider, &dimension.provider)
            && fits(&self.model, &dimension.model)
    }
}

impl UsageQuestion {
    /// The buckets of the answer.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a time that is empty or too long.
    fn buckets(&self) -> Result<Buckets, ControlError> {
        let (from, to) = (self.from.seconds(), self.to.seconds());
        if from >= to {
            return Err(ControlError::field("to", "must be after `from`"));
        }
        if to - from > DAYS_MAX * DAY {
            return Err(ControlError::field("from", "at most 366 days before `to`"));
        }
        Ok(self.zone.buckets(self.granularity, (from, to)))
    }

    /// What to ask for instead of what is gone.
    fn too_old(&self, kept: u64) -> ControlError {
        let days = kept / DAY;
        let since = unix_time().seconds().saturating_sub(kept);
        let instead = match (self.granularity, kept) {
            (Granularity::Minute, _) => format!("minutes are kept for {days} days; or for hours, days or months"),
            (Granularity::Hour, MINUTES_KEPT) => format!(
                "hours of a zone that is not whole hours from UTC are made of minutes, which are kept for {days} days; or for its \
                 days or months"
            ),
            (_, MINUTES_KEPT) => format!(
                "days of this offset are made of minutes, which are kept for {days} days; or for those of a zone, such as \
                 `timezone=UTC`"
            ),
            (Granularity::Hour, _) => format!("hours are kept for {days} days; or for days or months in UTC"),
            _ => format!(
                "days of a zone other than UTC are made of hours, which are kept for {days} days; or for `timezone=UTC`"
            ),
        };
        too_early(since, &instead)
    }

    /// The roll-ups that the answer is made of.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] if they are gone.
    fn span(&self, buckets: &Buckets, cuts: &[(u64, u64)]) -> Result<Span, ControlError> {
        let span = buckets.span(cuts);
        let age = unix_time().seconds().saturating_sub(self.from.seconds());
        match span {
            Span::Minute if age > MINUTES_KEPT + DAY => {
                let always: Vec<_> = cuts.iter().map(|(minute, _)| (*minute, 0)).collect();
                let since = cuts.iter().map(|(_, since)| *since).max().unwrap_or_default();
                let kept_since = unix_time().seconds() - MINUTES_KEPT;
                // An older version has put together what this one keeps apart.
                Err(match buckets.span(&always) {
                    Span::Minute => self.too_old(MINUTES_KEPT),
                    _ => too_early(kept_since.min(since + DAY), "from then on days of such zones are kept apart"),
                })
            }
            Span::Hour if age > HOURS_KEPT + DAY => Err(self.too_old(HOURS_KEPT)),
            span => Ok(span),
        }
    }
}

fn too_early(since: u64, instead: &str) -> ControlError {
    let since = UnixTime(Duration::from_secs(since)).rfc3339();
    ControlError::field("from", format!("ask for `{since}` or later: {instead}"))
}

/// Sums up what some projects used.
///
/// # Errors
/// [`ControlError::Invalid`] for a question that cannot be answered; the store's.
pub(super) fn answer(tx: &dyn Tx, projects: &[String], question: &UsageQuestion) -> Result<Analytics, ControlError> {
    if question.group_by.contains(&GroupBy::Tag) {
        return answer_by_tag(tx, projects, question);
    }
    let buckets = question.buckets()?;
    let span = question.span(&buckets, &tx.hour_cuts()?)?;
    let mut sums = Sums::default();
    for project in projects {
        let dimensions: HashMap<i64, Dimension> = tx.dimensions(project)?.into_iter().collect();
        let mut too_many = false;
        tx.rollups(project, span, bounds(question, span), &mut |rollup| {
            let Some(dimension) = dimensions.get(&rollup.dimension) else { return };
            if question.only.admits(dimension) && !too_many {
                sums.add(question, (dimension, buckets.begin_of(rollup.bucket)), &rollup);
                too_many = sums.rows.len() > ROWS_MAX;
            }
        })?;
        if too_many {
            return Err(ControlError::field("group_by", "more than 10,000 rows; ask for less at once"));
        }
    }
    Ok(sums.into_analytics(question))
}

/// Whole roll-ups around the time.
fn bounds(question: &UsageQuestion, span: Span) -> (u64, u64) {
    (span.part_of(question.from.seconds()), question.to.seconds())
}

#[derive(Default)]
struct Sums {
    total: UsageRow,
    rows: BTreeMap<(u64, Vec<String>), UsageRow>,
}

impl Sums {
    fn add(&mut self, question: &UsageQuestion, (dimension, begins): (&Dimension, u64), rollup: &Rollup) {
        let texts = question.group_by.iter().map(|by| by.of(dimension).to_owned()).collect();
        let row = self.rows.entry((begins, texts)).or_default();
        for sum in [row, &mut self.total] {
            sum.tally.merge(&rollup.tally);
            if is_error(dimension) {
                let code = if dimension.error.is_empty() { &dimension.status } else { &dimension.error };
                *sum.errors.entry(code.clone()).or_default() += rollup.tally.requests;
            }
        }
    }

    fn into_analytics(mut self, question: &UsageQuestion) -> Analytics {
        self.total.begins = question.from.seconds();
        let rows = self.rows.into_iter().map(|((begins, texts), mut row)| {
            row.begins = begins;
            row.group = question.group_by.iter().copied().zip(texts).collect();
            row
        });
        Analytics { total: self.total, rows: rows.collect() }
    }
}

fn is_error(dimension: &Dimension) -> bool {
    !dimension.error.is_empty() || matches!(dimension.status.as_str(), "none" | "4xx" | "5xx")
}

/// Tags are summed by the hour and apart from the rest.
fn answer_by_tag(tx: &dyn Tx, projects: &[String], question: &UsageQuestion) -> Result<Analytics, ControlError> {
    let alone = question.group_by.len() == 1 && question.only == Only::default();
    let buckets = question.buckets()?;
    if !alone || buckets.span(&[]) == Span::Minute {
        return Err(ControlError::field(
            "group_by",
            "`tag` stands alone, without filters, by hour, day or month, in a zone that is whole hours from UTC",
        ));
    }
    question.span(&buckets, &[])?;
    let mut rows: BTreeMap<(u64, String), UsageRow> = BTreeMap::new();
    for project in projects {
        let hours = (Span::Hour.bucket_of(question.from.seconds()), question.to.seconds());
        tx.tags(project, hours, &mut |place, sum| {
            let text = if &*place.name == OTHER_TAG {
                "(other)".to_owned()
            } else {
                format!("{}={}", place.name, place.value)
            };
            let row = rows.entry((buckets.begin_of(place.bucket), text)).or_default();
            let mut tally = Tally { requests: sum.requests, cost: sum.cost, fee: sum.fee, ..Tally::default() };
            (tally.tokens.input, tally.tokens.output) = (sum.input, sum.output);
            row.tally.merge(&tally);
            if sum.errors > 0 {
                *row.errors.entry("all".to_owned()).or_default() += sum.errors;
            }
        })?;
        if rows.len() > ROWS_MAX {
            return Err(ControlError::field("group_by", "more than 10,000 rows; ask for less at once"));
        }
    }
    let rows = rows.into_iter().map(|((begins, text), mut row)| {
        row.begins = begins;
        row.group = vec![(GroupBy::Tag, text)];
        row
    });
    // A request with two tags is in two rows: their sum says nothing.
    Ok(Analytics { total: UsageRow { begins: question.from.seconds(), ..UsageRow::default() }, rows: rows.collect() })
}

impl UsageRow {
    /// Failed and refused requests.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

//! A part of the time: its sums and rows, and what changes.
//!
//! Runs on a reading thread over one state of the store, so sums and rows belong together.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::super::error::ControlError;
use super::{
    order::RepriceOrder,
    period::Part,
    prices::{Prices, Terms},
    report::RepriceFigures,
};
use crate::{
    base::{NanoUsd, UnixTime},
    store::{Dimension, PricedRow, RepriceChange, RowCorrection, Span, SumCorrection, TagPlace, Tx},
    usage::Tally,
};

/// Rows that one question reads.
const ROWS_AT_ONCE: u32 = 1_000;
/// How long before the part a request in it may have begun. One that took longer is priced by its sum, if that is exact.
const REQUEST_MAX: Duration = Duration::from_secs(3_600);

/// What is priced again, and by what.
pub(super) struct Scene {
    /// The project, as it is counted.
    pub(super) project: String,
    /// What is asked for, by the number of its dimension.
    groups: HashMap<i64, Group>,
}

struct Group {
    dimension: Dimension,
    terms: Option<Terms>,
}

/// What a part of the time comes to.
#[derive(Default)]
pub(super) struct Found {
    pub(super) changes: Vec<RepriceChange>,
    pub(super) by_model: BTreeMap<(String, String), RepriceFigures>,
    tags: BTreeMap<(u64, Box<str>, Box<str>), i64>,
}

/// The rows of one group.
#[derive(Default)]
struct Rows {
    count: u64,
    unpriced: u64,
    input: u64,
    output: u64,
    old: i64,
    new: i64,
    /// What changes of them, with the tags and the difference.
    changed: Vec<(RowCorrection, Vec<TagPlace>, i64)>,
}

impl Scene {
    /// Finds out by what each group is priced.
    pub(super) fn new(
        project: String,
        dimensions: Vec<(i64, Dimension)>,
        (order, prices): (&RepriceOrder, &Prices),
    ) -> Self {
        let asked = dimensions.into_iter().filter(|(_, dimension)| order.admits(dimension));
        let groups = asked.map(|(number, dimension)| (number, Group { terms: prices.of(&dimension), dimension }));
        Self { project, groups: groups.collect() }
    }

    /// Looks at one part of the time.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a cost that cannot be held; the store's.
    pub(super) fn look(&self, tx: &dyn Tx, (span, begin, end): Part) -> Result<Found, ControlError> {
        let mut sums: BTreeMap<(u64, i64), Tally> = BTreeMap::new();
        tx.rollups(&self.project, span, (begin, end), &mut |rollup| {
            if self.groups.contains_key(&rollup.dimension) {
                sums.entry((rollup.bucket, rollup.dimension)).or_default().merge(&rollup.tally);
            }
        })?;
        let mut found = Found::default();
        if sums.is_empty() {
            return Ok(found);
        }
        let mut rows = self.rows(tx, (span, begin, end))?;
        for (place, sum) in sums {
            let of_group = rows.remove(&place).unwrap_or_default();
            self.price(&mut found, (span, place), (&sum, of_group))?;
        }
        found.settle_tags();
        Ok(found)
    }

    /// The rows of the part by bucket and dimension, priced.
    fn rows(&self, tx: &dyn Tx, (span, begin, end): Part) -> Result<HashMap<(u64, i64), Rows>, ControlError> {
        let time = |seconds: u64| Duration::from_secs(seconds);
        let between = (UnixTime(time(begin).saturating_sub(REQUEST_MAX)), UnixTime(time(end)));
        let mut found: HashMap<(u64, i64), Rows> = HashMap::new();
        let mut after = None;
        loop {
            let page = tx.priced_rows(&self.project, between, after, ROWS_AT_ONCE)?;
            let is_last = u32::try_from(page.len()).is_ok_and(|length| length < ROWS_AT_ONCE);
            after = page.last().map(|row| (row.at, row.id));
            for row in page.into_iter().filter(|row| (begin..end).contains(&row.minute)) {
                let Some(group) = self.groups.get(&row.dimension) else { continue };
                let place = (span.part_of(row.minute), row.dimension);
                found.entry(place).or_default().add(row, group)?;
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Decides on one group.
    fn price(
        &self,
        found: &mut Found,
        (span, (bucket, dimension)): (Span, (u64, i64)),
        (sum, rows): (&Tally, Rows),
    ) -> Result<(), ControlError> {
        let Some(group) = self.groups.get(&dimension) else { return Ok(()) };
        let model = (group.dimension.provider.clone(), group.dimension.model.clone());
        let figures = found.by_model.entry(model).or_default();
        figures.requests += sum.requests;
        figures.old_cost = added(figures.old_cost, sum.cost)?;
        let is_whole = rows.are_all_of(sum);
        let new = match &group.terms {
            Some(_) if is_whole => Some(NanoUsd(rows.new)),
            Some(terms) => terms.cost_of_sum(sum, &group.dimension),
            None => None,
        };
        figures.new_cost = added(figures.new_cost, new.unwrap_or(sum.cost))?;
        let Some(new) = new else {
            let left = if group.terms.is_none() { &mut figures.without_price } else { &mut figures.inexact };
            *left += sum.requests;
            return Ok(());
        };
        let by = if is_whole { &mut figures.by_rows } else { &mut figures.by_sums };
        *by += sum.requests;
        figures.newly_priced += sum.unpriced;
        let cost = new.0.checked_sub(sum.cost.0).ok_or_else(too_large)?;
        if cost != 0 || sum.unpriced > 0 {
            let correction =
                SumCorrection { span, bucket, dimension, cost, priced: sum.unpriced, requests: sum.requests };
            found.changes.push(RepriceChange::Sum(correction));
        }
        for (correction, tags, difference) in rows.changed {
            found.changes.push(RepriceChange::Row(correction));
            // Of requests without a row nobody knows the tags: all of a group's follow, or none.
            for tag in tags.into_iter().filter(|_| is_whole) {
                *found.tags.entry((tag.bucket, tag.name, tag.value)).or_default() += difference;
            }
        }
        Ok(())
    }
}

impl Found {
    fn settle_tags(&mut self) {
        let tags = std::mem::take(&mut self.tags).into_iter().filter(|(_, cost)| *cost != 0);
        let changes = tags.map(|((bucket, name, value), cost)| RepriceChange::Tag { bucket, name, value, cost });
        self.changes.extend(changes);
    }
}

impl Rows {
    fn add(&mut self, row: PricedRow, group: &Group) -> Result<(), ControlError> {
        let old = row.cost.unwrap_or_default();
        self.count += 1;
        self.unpriced += u64::from(row.cost.is_none());
        self.input = self.input.saturating_add(row.tokens.input);
        self.output = self.output.saturating_add(row.tokens.output);
        self.old = self.old.checked_add(old.0).ok_or_else(too_large)?;
        let Some(terms) = &group.terms else { return Ok(()) };
        let new = terms.cost_of_row(&row, &group.dimension).ok_or_else(too_large)?;
        self.new = self.new.checked_add(new.0).ok_or_else(too_large)?;
        if row.cost != Some(new) {
            let correction = RowCorrection {
                request: row.id,
                cost: new,
                price_source: terms.price.source().as_str().to_owned(),
                price_date: terms.price.date().map(str::to_owned),
            };
            self.changed.push((correction, tags(&row), new.0.saturating_sub(old.0)));
        }
        Ok(())
    }

    /// Whether these are all requests of a sum.
    fn are_all_of(&self, sum: &Tally) -> bool {
        (self.count, self.unpriced, self.old) == (sum.requests, sum.unpriced, sum.cost.0)
            && (self.input, self.output) == (sum.tokens.input, sum.tokens.output)
    }
}

/// The tags of a row, by the hour in which they were counted.
fn tags(row: &PricedRow) -> Vec<TagPlace> {
    let Some(json) = &row.tags else { return Vec::new() };
    let texts: BTreeMap<Box<str>, Box<str>> = serde_json::from_str(json).unwrap_or_default();
    let bucket = Span::Hour.bucket_of(row.minute);
    texts.into_iter().map(|(name, value)| TagPlace { project: Box::default(), bucket, name, value }).collect()
}

fn added(sum: NanoUsd, more: NanoUsd) -> Result<NanoUsd, ControlError> {
    sum.checked_add(more).ok_or_else(too_large)
}

fn too_large() -> ControlError {
    let said =
        "what past usage would cost cannot be held: correct the price, or ask for a shorter time; nothing changed";
    ControlError::field("prices", said)
}

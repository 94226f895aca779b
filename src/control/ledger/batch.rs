//! What one commit stores, summed up while records come in.

use std::{collections::HashMap, sync::Arc};

use super::{
    group::{Group, GroupKey, Share, ShareKey, minute_of},
    moving::Moved,
};
use crate::{
    base::{Caller, FastMap, Labels, RequestId},
    store::{OTHER_TAG, Span, TagPlace, TagTally},
    usage::{Record, Tally},
};

/// Account of what a project has cost, for all time.
pub(super) const COST: &str = "cost:";
/// Account of the fees of a project, for all time.
pub(super) const FEE: &str = "fee:";
/// Account of what an organization has spent of its credits: `credits:org_.../usd/total`.
const CREDITS: &str = "credits:";
/// Different tags of one batch at most.
const TAGS_MAX: usize = 4_096;

/// Records on their way to the store.
#[derive(Default)]
pub(super) struct Batch {
    /// How many there were.
    pub(super) records: u64,
    /// What they add to accounts of limits, by account and period.
    pub(super) charges: FastMap<(Arc<str>, u64), Posting>,
    /// Where in windows that move those lie.
    pub(super) moved: Moved,
    /// What they add to the accounts of their projects.
    pub(super) costs: FastMap<Box<str>, Cost>,
    /// What they add to roll-ups.
    pub(super) shares: FastMap<ShareKey, Share>,
    /// What they add to tags; the organization beside.
    pub(super) tags: HashMap<TagPlace, (Box<str>, TagTally)>,
    /// Those that become a row of their own.
    pub(super) rows: Vec<Record>,
}

/// What a batch adds to one account.
pub(super) struct Posting {
    pub(super) amount: u64,
    /// Fees that stand in entries of their own; no part of `amount`.
    pub(super) fee: u64,
    pub(super) requests: u64,
    pub(super) organization: Box<str>,
    pub(super) project: Box<str>,
    pub(super) first: RequestId,
    pub(super) last: RequestId,
}

/// What a batch costs one project.
pub(super) struct Cost {
    pub(super) cost: Posting,
    pub(super) fee: u64,
}

impl Batch {
    /// Sums one record up.
    pub(super) fn add(&mut self, record: Record) {
        self.records += 1;
        self.add_charges(&record);
        self.add_cost(&record);
        self.add_tags(&record);
        let key = (minute_of(&record), GroupKey::of(&record));
        let share = self.shares.entry(key);
        let share = share.or_insert_with(|| Share {
            group: Group::of(&record),
            tally: Tally::default(),
            suspects: 0,
            fallbacks: 0,
        });
        share.tally.add(&record);
        share.suspects += u64::from(record.usage_suspect);
        share.fallbacks += u64::from(record.fallback);
        if record.is_row() {
            self.rows.push(record);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    fn add_charges(&mut self, record: &Record) {
        for charge in record.charges.iter().flatten() {
            self.moved.add(charge);
            let place = (Arc::clone(&charge.account), charge.period);
            let posting = self.charges.entry(place).or_insert_with(|| Posting::of(record));
            // Credits show cost and fee apart; limits in money count both as one.
            let fee = if is_credits(&charge.account) { record.fee.units().min(charge.amount) } else { 0 };
            posting.fee = posting.fee.saturating_add(fee);
            posting.add(charge.amount - fee, record);
        }
    }

    fn add_cost(&mut self, record: &Record) {
        let (cost, fee) = (record.cost.unwrap_or_default().units(), record.fee.units());
        if cost == 0 && fee == 0 {
            return;
        }
        let project = project_of(record.caller.as_deref(), record.labels.as_deref());
        if !self.costs.contains_key(project) {
            self.costs.insert(project.into(), Cost { cost: Posting::of(record), fee: 0 });
        }
        if let Some(of_project) = self.costs.get_mut(project) {
            of_project.cost.add(cost, record);
            of_project.fee = of_project.fee.saturating_add(fee);
        }
    }

    fn add_tags(&mut self, record: &Record) {
        let Some(annotations) = &record.annotations else { return };
        let project = project_of(record.caller.as_deref(), record.labels.as_deref());
        let bucket = Span::Hour.bucket_of(minute_of(record));
        for (name, value) in &annotations.tags {
            let mut place = TagPlace { project: project.into(), bucket, name: name.clone(), value: value.clone() };
            if self.tags.len() >= TAGS_MAX && !self.tags.contains_key(&place) {
                // Names can be many as well.
                (place.name, place.value) = (OTHER_TAG.into(), OTHER_TAG.into());
            }
            let organization = || organization_of(record.labels.as_deref()).into();
            let (_, tally) = self.tags.entry(place).or_insert_with(|| (organization(), TagTally::default()));
            tally.requests += 1;
            tally.errors += u64::from(record.is_error());
            tally.input = tally.input.saturating_add(record.tokens.input);
            tally.output = tally.output.saturating_add(record.tokens.output);
            tally.cost = tally.cost.saturating_add(record.cost.unwrap_or_default());
            tally.fee = tally.fee.saturating_add(record.fee);
        }
    }
}

impl Posting {
    fn of(record: &Record) -> Self {
        Self {
            amount: 0,
            fee: 0,
            requests: 0,
            organization: organization_of(record.labels.as_deref()).into(),
            project: project_of(record.caller.as_deref(), record.labels.as_deref()).into(),
            first: record.request_id.clone(),
            last: record.request_id.clone(),
        }
    }

    fn add(&mut self, amount: u64, record: &Record) {
        self.amount = self.amount.saturating_add(amount);
        self.requests += 1;
        self.last = record.request_id.clone();
    }
}

/// Account of what a project has cost.
pub(in crate::control) fn cost_account(project: &str) -> String {
    format!("{COST}{project}")
}

/// Whether an account holds what an organization has spent of its credits.
fn is_credits(account: &str) -> bool {
    account.starts_with(CREDITS)
}

/// The organization whose credits an account holds; empty for other accounts.
pub(super) fn organization_of_credits(account: &str) -> &str {
    account.strip_prefix(CREDITS).and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

/// The project a request is counted under: its id, or the slug where files name projects; empty if it got to none.
pub(in crate::control) fn project_of<'a>(caller: Option<&'a Caller>, labels: Option<&'a Labels>) -> &'a str {
    let of_key = caller.and_then(|caller| caller.project.as_deref());
    of_key.or_else(|| labels.map(|labels| &*labels.project)).unwrap_or_default()
}

/// The organization; empty for a request that got to no route.
pub(super) fn organization_of(labels: Option<&Labels>) -> &str {
    labels.map(|labels| &*labels.organization).unwrap_or_default()
}

//! What a run found and changes, in figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::NanoUsd;

/// Figures of some requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepriceFigures {
    /// How many requests were looked at.
    pub requests: u64,
    /// Those that were priced again one by one, by their stored rows.
    pub by_rows: u64,
    /// Those that were priced again by their sum, as exactly.
    pub by_sums: u64,
    /// Those that had no price and have one now.
    pub newly_priced: u64,
    /// Those that stay as they are: nobody states a price for them.
    pub without_price: u64,
    /// Those that stay as they are: not all rows are stored, and their sum does not tell the exact cost.
    pub inexact: u64,
    /// What all of them cost before.
    pub old_cost: NanoUsd,
    /// What all of them cost after.
    pub new_cost: NanoUsd,
}

impl RepriceFigures {
    /// What they cost more; less than nothing if they cost less.
    #[must_use]
    pub fn difference(&self) -> NanoUsd {
        NanoUsd(self.new_cost.0.saturating_sub(self.old_cost.0))
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.by_rows += more.by_rows;
        self.by_sums += more.by_sums;
        self.newly_priced += more.newly_priced;
        self.without_price += more.without_price;
        self.inexact += more.inexact;
        self.old_cost = self.old_cost.saturating_add(more.old_cost);
        self.new_cost = self.new_cost.saturating_add(more.new_cost);
    }
}

/// Figures of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFigures {
    /// The provider.
    pub provider: String,
    /// The model, as the provider names it.
    pub model: String,
    /// Its figures.
    pub figures: RepriceFigures,
}

/// What a run found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepriceReport {
    /// All requests.
    pub total: RepriceFigures,
    /// By model.
    pub models: Vec<ModelFigures>,
}

impl RepriceReport {
    pub(super) fn of(by_model: BTreeMap<(String, String), RepriceFigures>) -> Self {
        let mut report = Self::default();
        for ((provider, model), figures) in by_model {
            report.total.add(&figures);
            report.models.push(ModelFigures { provider, model, figures });
        }
        report
    }
}

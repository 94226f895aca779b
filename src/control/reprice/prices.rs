//! By which price each group of requests is priced again.

use std::{collections::HashMap, sync::Arc};

use super::super::{
    check::{Candidate, rehearsal},
    error::ControlError,
    instance::Control,
};
use super::order::{PriceChoice, RepriceOrder};
use crate::{
    base::{NanoUsd, OnCancel, TokenCounts},
    snapshot::{ProjectPart, Target},
    store::{Dimension, PricedRow, Project, Tx},
    usage::{Catalogue, Credential, Price, Tally},
};

/// A price, and what else decides on a cost.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) price: Arc<Price>,
    /// Streams that their client left cost nothing.
    is_cancel_free: bool,
}

/// Prices of what a project asked for.
pub(super) enum Prices {
    /// Own credentials: as targets of a compiled configuration are priced.
    Targets(HashMap<Names, Terms>),
    /// The platform's credentials: as the tables say, whatever a configuration states.
    Platform(Arc<Catalogue>),
}

/// Route, target, provider, model. The route is empty for a target of whatever route.
type Names = [Box<str>; 4];

impl Terms {
    /// What one request costs, by the rule of its settlement; none when that cannot be held.
    pub(super) fn cost_of_row(&self, row: &PricedRow, dimension: &Dimension) -> Option<NanoUsd> {
        let is_free = self.is_cancel_free && row.cancelled && dimension.stream;
        match is_free || row.tokens == TokenCounts::default() {
            true => Some(NanoUsd::ZERO),
            false => self.price.checked_cost(&row.tokens),
        }
    }

    /// What the requests of a sum cost together; none where the sum does not tell.
    pub(super) fn cost_of_sum(&self, sum: &Tally, dimension: &Dimension) -> Option<NanoUsd> {
        let may_be_free = self.is_cancel_free && dimension.stream && sum.cancelled > 0;
        if may_be_free { None } else { self.price.cost_of_sums(&sum.tokens) }
    }
}

impl Prices {
    /// The terms of what is counted under a dimension; none when nobody states a price.
    pub(super) fn of(&self, dimension: &Dimension) -> Option<Terms> {
        match self {
            Self::Targets(targets) => {
                let names = |route: &str| -> Names {
                    [route, &dimension.target, &dimension.provider, &dimension.model].map(Box::from)
                };
                targets.get(&names(&dimension.route)).or_else(|| targets.get(&names(""))).cloned()
            }
            Self::Platform(catalogue) => {
                let listed = catalogue.lookup(&dimension.provider, &dimension.model)?;
                Some(Terms { price: listed.price, is_cancel_free: false })
            }
        }
    }

    /// The prices of the targets of a configuration with an own credential.
    fn of_part(part: &ProjectPart) -> Self {
        let mut targets = HashMap::new();
        for target in part.routes().iter().flat_map(|route| route.all_targets()) {
            let Some(terms) = terms(target) else { continue };
            let labels = &target.labels;
            let names =
                |route: &str| -> Names { [route, &labels.target, &labels.provider, &labels.model].map(Box::from) };
            targets.insert(names(&labels.route), terms.clone());
            targets.entry(names("")).or_insert(terms);
        }
        Self::Targets(targets)
    }
}

/// What a request of an own credential costs; none where the target has none, or nobody states a price.
fn terms(target: &Target) -> Option<Terms> {
    let only_platform = target.paid.as_ref().is_some_and(|paid| paid.instead.is_none());
    let price = target.price_for(Credential::Own).filter(|_| !only_platform)?;
    Some(Terms { price: Arc::clone(price), is_cancel_free: target.on_cancel == OnCancel::Free })
}

impl Control {
    /// The prices that an order asks for.
    ///
    /// # Errors
    /// Field problems for a version that is not there or was never live; [`ControlError::ConfigInvalid`] when it does not
    /// compile any more.
    pub(super) async fn ordered_prices(&self, project: &Project, order: &RepriceOrder) -> Result<Prices, ControlError> {
        if order.credential == Credential::Platform {
            return match order.prices {
                PriceChoice::Version(_) => Err(ControlError::field(
                    "version",
                    "the platform's credentials are priced by the tables, whatever a version states; leave it out",
                )),
                _ => Ok(Prices::Platform(self.registries().prices.load())),
            };
        }
        let (wanted, choice) = (project.clone(), order.prices);
        let candidate = self.store().read(move |tx| candidate(tx, &wanted, choice)).await?;
        let registries = rehearsal(&self.registries());
        let (candidate, verdict) = candidate.judge_aside(self.vault(), registries).await?;
        Ok(Prices::of_part(&verdict.accept(&candidate.place())?))
    }
}

fn candidate(tx: &dyn Tx, project: &Project, choice: PriceChoice) -> Result<Candidate, ControlError> {
    let number = match choice {
        PriceChoice::Version(number) => {
            let version = tx.version(&project.id, number)?;
            let version = version.ok_or_else(|| {
                ControlError::field("version", format!("the project has no version {number}; see its versions"))
            })?;
            if version.served_at.is_none() {
                let said = format!("version {number} was never live; serve it, or choose one that was");
                return Err(ControlError::field("version", said));
            }
            number
        }
        _ => project.served_version.ok_or_else(|| {
            ControlError::field("version", "nothing of the project is live; say by which version its usage is priced")
        })?,
    };
    let candidate = Candidate::read(tx, project, number)?.without_money_rule();
    Ok(if choice == PriceChoice::Tables { candidate.without_written_prices() } else { candidate })
}

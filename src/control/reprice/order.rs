//! What a run is asked to price again, and how.

use crate::{base::UnixTime, store::Dimension, usage::Credential};

/// By which prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceChoice {
    /// As a request would be priced now: by the version that is served.
    Served,
    /// As now, but by nothing that the configuration states: the prices of the organization, then the tables.
    Tables,
    /// By what this version states, the rest as now.
    Version(u32),
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct RepriceOrder {
    /// Requests that ended from then on; whole minutes, hours or days, as far as sums of them are kept.
    pub from: UnixTime,
    /// Until before when; not in the future.
    pub to: UnixTime,
    /// By which prices.
    pub prices: PriceChoice,
    /// Whose credential served: own ones, or the platform's, whose requests were paid from credits.
    pub credential: Credential,
    /// Only this route.
    pub route: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Only this model.
    pub model: Option<String>,
    /// Why.
    pub comment: String,
    /// Whether only the figures are wanted: nothing is stored then.
    pub dry_run: bool,
}

impl RepriceOrder {
    /// Whether requests that are counted under this are meant.
    pub(super) fn admits(&self, dimension: &Dimension) -> bool {
        let fits = |wanted: &Option<String>, found: &String| wanted.as_ref().is_none_or(|wanted| wanted == found);
        dimension.credential == self.credential.as_str()
            && fits(&self.route, &dimension.route)
            && fits(&self.provider, &dimension.provider)
            && fits(&self.model, &dimension.model)
    }
}

//! What tokens cost: prices, and where they come from.
//!
//! A [`Price`] is exact: integers only, rounded up to nano-USD once a request, and its [`Price::upper_bound`] is never below what
//! any answer of that size can cost. Prices come from the keys of a model, from the lists of its project and organization, else
//! from a [`Catalogue`]: the rows of an operator's own file first, then those that are built in.

mod catalogue;
mod glob;
mod parts;
mod rates;
mod sums;
mod table;
mod tariff;

pub use catalogue::{Catalogue, ListedModel};
pub use parts::CostParts;
pub use rates::{PriceClass, StatedPrices};
pub use table::{PriceRow, PriceTable, PriceTableError, PriceTableHead};
pub use tariff::{Price, PriceMark, PriceSource};

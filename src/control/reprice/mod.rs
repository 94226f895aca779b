//! Past usage at other prices: found, planned, carried out.
//!
//! A request is priced by the configuration that admitted it. Where that price was wrong or missing, a run prices what is
//! stored again. It reads the sums of a project and the rows beside them (`window.rs`), and says what would change; that is all
//! of a dry run. Else it stores its changes, then carries them out, a bounded number in each transaction (`apply.rs`):
//! sums, corrections of rows, tags, and what both books differ by as entries of the ledger. A process that ends in between
//! goes on at its next start where it stopped, so each change is made once.
//!
//! A group of requests, one bucket and dimension, is priced by its rows where all of them are stored, which its sum tells;
//! else by its sum where that is exact; else not at all, and counted. Rows, entries and the counters of limits stay as they
//! are: what a limit has admitted is not judged again.

mod apply;
mod order;
mod period;
mod prices;
mod report;
#[cfg(test)]
mod tests;
mod window;

pub use apply::{Repriced, finish_reprices};
pub use order::{PriceChoice, RepriceOrder};
pub use report::{ModelFigures, RepriceFigures, RepriceReport};

//! What a transaction can do with runs that price usage again.

use super::{
    query::{Page, PageRequest},
    record::{PricedRow, Reprice, RepriceChange, RowCorrection, SumCorrection},
    tx::Outcome,
};
use crate::base::{Id, UnixTime};

/// Runs, their changes, and corrections of what is stored.
pub trait Reprices {
    /// Adds a run; [`crate::store::StoreError::Taken`] for an operation that is there, or beside another open run of the
    /// project.
    fn insert_reprice(&mut self, row: &Reprice) -> Outcome<()>;
    /// Sets state, changes and progress of a run.
    fn update_reprice(&mut self, row: &Reprice) -> Outcome<()>;
    /// Removes a run with the changes that are stored of it.
    fn delete_reprice(&mut self, id: &Id) -> Outcome<()>;
    /// The run of an operation.
    fn reprice_of(&self, operation: &str) -> Outcome<Option<Reprice>>;
    /// Runs of a project, by time.
    fn reprices(&self, project: &Id, page: &PageRequest) -> Outcome<Page<Reprice>>;
    /// Runs that are not carried out yet, of one project or of all.
    fn open_reprices(&self, project: Option<&Id>) -> Outcome<Vec<Reprice>>;
    /// Stores changes of a run under numbers from `first` on.
    fn insert_changes(&mut self, reprice: &Id, first: u64, changes: &[RepriceChange]) -> Outcome<()>;
    /// Takes up to `count` changes of a run, by number: they are not stored any more.
    fn take_changes(&mut self, reprice: &Id, count: u32) -> Outcome<Vec<RepriceChange>>;
    /// Adds to the cost of a sum, in every span that holds it.
    fn correct_sum(&mut self, project: &str, correction: &SumCorrection) -> Outcome<()>;
    /// Sets what a stored request costs; nothing happens if it is not stored any more.
    fn correct_request(&mut self, reprice: &Id, correction: &RowCorrection) -> Outcome<()>;
    /// Rows of a project that began from one time to before another, by time and number, behind `after`.
    fn priced_rows(
        &self,
        project: &str,
        between: (UnixTime, UnixTime),
        after: Option<(UnixTime, u64)>,
        count: u32,
    ) -> Outcome<Vec<PricedRow>>;
}

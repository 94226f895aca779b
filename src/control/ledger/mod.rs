//! The book of what was used: kept exactly, stored soon.
//!
//! The pump gives every record to the [`Keeper`], which sums them up and stores one batch after the other, each in one
//! transaction: entries and accounts, roll-ups, sampled rows, and the leases that limits ask for. A limit hears of a lease
//! when it is on disk, never before. A batch that cannot be stored is kept and tried again; meanwhile records wait in their
//! queue, and a full queue admits no request. Numbers of batches make a repeated commit known, so nothing counts twice.

mod analytics;
mod batch;
mod commit;
mod group;
mod keeper;
mod leases;
mod moving;
#[cfg(test)]
mod moving_tests;
mod observe;
mod read;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod stepped;
mod tail;
#[cfg(test)]
mod tests;
mod upkeep;
mod zone;

pub use analytics::{Analytics, Granularity, GroupBy, Only, UsageQuestion, UsageRow};
pub(in crate::control) use batch::{cost_account, project_of};
pub use keeper::{Keeper, keep};
pub use leases::{Leases, WantedLease, ring_keeper};
pub(in crate::control) use observe::{Observed, Watching};
pub use read::UsageScope;
#[cfg(test)]
pub(crate) use stepped::{Stepped, Way};
pub use tail::{Tail, Tails};
pub use upkeep::look_after_book;
pub use zone::Zone;

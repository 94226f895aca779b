//! Limits: how much is allowed, and what is used of it.
//!
//! A [`Limit`] is a counter ([`Meter`]) with what it allows. [`LimitSet`]s belong to grants and routes, so a request without
//! limits touches nothing here. A request takes an upper bound of what it may use ([`Claim`]) from every limit that stands
//! over it, holds it ([`Held`]), and settles it to the true figure at its end. Counters live in [`Meters`] as long as the
//! process: a change of the configuration resets none.
//!
//! Checking and taking is one atomic step in each counter, so no order of threads admits more than a limit allows. A take
//! that is refused later gives back what it took first; whoever was refused because of that looks again.

mod ask;
mod atomic;
mod bell;
mod bucket;
#[cfg(test)]
mod explore;
mod held;
mod keyed;
mod lease;
mod meter;
mod odometer;
mod open;
mod pending;
mod queue;
mod rule;
mod set;
mod sliding;
mod table;
mod tentative;
#[cfg(test)]
mod tests;
mod window;
mod windowed;

pub use ask::Reason;
pub use bucket::Refill;
pub use held::Held;
pub use keyed::{Keyed, Rule, route_limits};
pub use lease::LeaseRequest;
pub use meter::Meter;
pub use queue::{Queue, Waiting};
pub use rule::{CalendarUnit, Claim, DURABLE_WINDOW_MIN, Kind, Kinds, MeterKey, Scope, Terms, Window};
pub use set::{Limit, LimitSet, LimitState, Mode, Refused, take_all};
pub use table::Meters;
pub use window::{Clock, Moment};

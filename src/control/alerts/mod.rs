//! Alerts: what is noticed, once, and told to somebody.
//!
//! Rules are stored. The watch on the admin thread looks at sums that the book has stored, at counters and at the snapshot,
//! never at a request; so the data path pays nothing. What fires is stored together with its notice and the deliveries, so
//! a restart neither forgets a notice nor repeats one. Deliveries are tried until they arrive or were tried often enough.

mod check;
mod condition;
mod deliver;
mod evaluate;
mod mail;
mod money;
mod notice;
mod providers;
mod rule;
mod site;
mod step;
#[cfg(test)]
mod tests;
mod watch;
mod webhook;
mod window;
mod world;

pub use mail::{Mail, MailError};
pub use rule::{AlertPatch, Channel, NewAlert};
pub use site::{HistoryRow, ShownAlert};
pub(in crate::control) use site::{origin_of, place_of_webhook};
pub use watch::{Alerting, watch_alerts};

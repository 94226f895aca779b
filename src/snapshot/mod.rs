//! The immutable compiled view that workers read.
//!
//! A snapshot is a set of parts: one a project, built whole by [`compile_project`] or not at all, and the grants of keys in
//! shards. The next snapshot is an [`Edit`] of the one before and shares every part that did not change. Publishing it
//! cannot fail. A request loads it once, so no request ever sees two configurations.

mod compile;
mod credit;
mod edit;
mod footprint;
mod grant;
mod handle;
mod learned;
mod limits;
#[cfg(test)]
mod mode_tests;
mod part;
mod pricing;
mod reach;
mod route;
mod rule_book;
#[cfg(test)]
mod rule_tests;
mod shards;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod view;

/// A part of what routes and targets say.
pub use crate::base::{OnCancel, OnExhausted};
pub use compile::{compile, compile_project};
pub use credit::{Credit, CreditTerms, Credits, Paid};
pub use edit::Edit;
pub use footprint::COMPILED_BYTES_MAX;
pub use grant::{Grant, Scope};
pub use handle::Handle;
pub use learned::Learned;
pub use part::ProjectPart;
pub use pricing::{unpriced, unpriced_problem};
pub use route::{Bounds, HttpTarget, Reach, Route, RoutePlace, Target, TargetTimeouts};
pub use rule_book::RuleOwner;
pub use source::{BoundSecret, Funding, ProjectSource, ProviderKey, Refusal, Registries, Sources};
pub use view::{Found, NoRoute, Snapshot};

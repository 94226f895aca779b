//! Limits: who may write them, and how they reach workers.
//!
//! A limit of an organization, a project, a member or a key is a row of its place. The grants of the keys below it hold it,
//! and its counter lives as long as the process, so that a change of an amount keeps what was used. A change is live on every
//! worker before its call returns.

mod allowance;
mod book;
mod fields;
mod reach;
#[cfg(test)]
mod tests;
mod unpriced;
mod words;
mod write;

pub(in crate::control) use allowance::Allowances;
pub(in crate::control) use book::LimitBook;
pub(in crate::control) use fields::{FieldDeed, refuse_above_member};
pub use fields::{FieldPatch, LimitFields, PeriodKind, PeriodLimit};
pub(in crate::control) use reach::Reach;
pub(in crate::control) use unpriced::{is_money_limited, refuse_unpriced_key};
pub use words::unit_name;
pub use write::{LimitPatch, LimitUse, NewLimit};

//! IAM rules: which targets a key may use, and from where.
//!
//! A [`Rule`] allows or denies providers, routes, models, prices or addresses, at the organization, the project, the member
//! who made a key, or the key. [`Policy::compile`] turns the rules of some scopes into one bit set over the targets of a
//! project, one over its routes, and tables of addresses; [`check`] asks them for a request. [`explain`] decides the same
//! slowly, from the written rules, and says why: it shares no code with the other two, so that they can be held against
//! each other.

mod bits;
mod check;
mod compile;
mod explain;
mod facts;
mod ranges;
mod rule;
#[cfg(test)]
mod tests;
mod value;

pub use bits::Window;
pub use check::{Asked, Denial, Survivors, check};
pub use compile::Policy;
pub use explain::{Case, Explained, ExplainedStep, explain};
pub use facts::{Facts, Price, RouteFacts, TargetFacts};
pub use rule::{Effect, Glob, Pricing, PricingType, Rule, RuleType, RuleValue, Scope, Step};
pub use value::{ENTRIES_MAX, PATTERN_CHARS_MAX, ValueProblem};

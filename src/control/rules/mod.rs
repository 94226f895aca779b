//! IAM rules: who may write them, and how they reach workers.
//!
//! A rule stands at an organization, a project, a member or a key. Only administrators write them: whom a rule binds never
//! changes it, also not on the own keys. A change is live on every worker before its call returns.

mod explain;
mod live;
#[cfg(test)]
mod tests;
mod write;

pub use explain::{Explanation, ExplanationStep, Question};
pub(in crate::control) use live::{RuleChange, forgotten, stored_rules};
pub use write::{NewRule, RulePatch};
pub(in crate::control) use write::{RULES_MAX, add_rules, check_new};

//! What rules are compared with: routes and targets by number.
//!
//! The numbers are those of one compiled configuration: a policy fits the facts it was compiled for and no others.

use crate::base::NanoUsd;

/// Everything about a project that rules can ask.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Routes, by their numbers.
    pub routes: Box<[RouteFacts]>,
    /// Targets, by their numbers: those of one list of one route stand together, in its order.
    pub targets: Box<[TargetFacts]>,
}

/// What rules know of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFacts {
    /// `project/route`.
    pub full_name: Box<str>,
}

/// What rules know of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// Name of the provider; `custom:<host>` for an address that is not the provider's own.
    pub provider: Box<str>,
    /// Name of the model as the provider knows it.
    pub model: Box<str>,
    /// Its price; none when nobody knows it.
    pub price: Option<Price>,
}

/// The price of a target, as rules compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// A million input tokens.
    pub input: NanoUsd,
    /// A million output tokens.
    pub output: NanoUsd,
    /// Whether nothing costs anything, requests and other classes of tokens included.
    pub is_free: bool,
}

impl RouteFacts {
    /// The name without the project.
    #[must_use]
    pub fn name(&self) -> &str {
        self.full_name.split_once('/').map_or(&self.full_name, |(_, name)| name)
    }
}

impl TargetFacts {
    /// `provider/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}

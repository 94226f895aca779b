//! The ten rule types and what a rule of each type holds.

use std::sync::Arc;

use crate::base::{Cidr, NanoUsd, words};

use super::facts::{Price, TargetFacts};

words! {
    /// What a rule allows or denies.
    RuleType {
        /// Only targets of these providers.
        AllowProviders = "allow_providers",
        /// No target of these providers.
        DenyProviders = "deny_providers",
        /// Only these routes.
        AllowRoutes = "allow_routes",
        /// None of these routes.
        DenyRoutes = "deny_routes",
        /// Only these models.
        AllowModels = "allow_models",
        /// None of these models.
        DenyModels = "deny_models",
        /// Only targets at these prices.
        AllowPricing = "allow_pricing",
        /// No target at these prices.
        DenyPricing = "deny_pricing",
        /// Only from these addresses.
        AllowIpCidrs = "allow_ip_cidrs",
        /// From none of these addresses.
        DenyIpCidrs = "deny_ip_cidrs",
    }
}

words! {
    /// Where a rule stands. Scopes are asked in this order; a later one can only narrow.
    Scope {
        /// For every key of an organization.
        Organization = "organization",
        /// For every key of a project.
        Project = "project",
        /// For every key that a member made.
        Member = "member",
        /// For one key.
        Key = "key",
    }
}

words! {
    /// What rules of one kind decide on, in the order in which they are asked.
    Step {
        /// Providers.
        Providers = "providers",
        /// The route.
        Routes = "routes",
        /// Models.
        Models = "models",
        /// Prices.
        Pricing = "pricing",
        /// The client's address.
        Addresses = "ip_cidrs",
    }
}

words! {
    /// Whether a target costs anything.
    PricingType {
        /// Its prices are 0.
        Free = "free",
        /// One of its prices is not.
        Paid = "paid",
    }
}

/// Whether a rule keeps what it matches, or removes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Keeps it, and what other allow rules of the step match; all else goes.
    Allow,
    /// Removes it, whatever allows it.
    Deny,
}

impl RuleType {
    /// The step in which it is asked.
    #[must_use]
    pub fn step(self) -> Step {
        match self {
            Self::AllowProviders | Self::DenyProviders => Step::Providers,
            Self::AllowRoutes | Self::DenyRoutes => Step::Routes,
            Self::AllowModels | Self::DenyModels => Step::Models,
            Self::AllowPricing | Self::DenyPricing => Step::Pricing,
            Self::AllowIpCidrs | Self::DenyIpCidrs => Step::Addresses,
        }
    }

    /// Whether it keeps or removes.
    #[must_use]
    pub fn effect(self) -> Effect {
        match self {
            Self::AllowProviders | Self::AllowRoutes | Self::AllowModels | Self::AllowPricing | Self::AllowIpCidrs => {
                Effect::Allow
            }
            Self::DenyProviders | Self::DenyRoutes | Self::DenyModels | Self::DenyPricing | Self::DenyIpCidrs => {
                Effect::Deny
            }
        }
    }
}

/// An active rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `rul_...`
    pub id: Arc<str>,
    /// What it does.
    pub kind: RuleType,
    /// With what.
    pub value: RuleValue,
}

/// What a rule is written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleValue {
    /// Names of models, providers or routes.
    Patterns(Box<[Glob]>),
    /// Prices.
    Pricing(Pricing),
    /// Addresses.
    Networks(Box<[Cidr]>),
    /// A stored value that cannot be read, or lacks its field: the rule denies everything, whatever its type.
    Unreadable,
}

/// A pattern: text in which `*` stands for any text, the empty one and `/` included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

/// Prices that a rule asks for. All parts that are given must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pricing {
    /// Free or paid.
    pub pricing_type: Option<PricingType>,
    /// What a million input tokens may cost at most.
    pub max_input_price: Option<NanoUsd>,
    /// What a million output tokens may cost at most.
    pub max_output_price: Option<NanoUsd>,
}

impl Glob {
    /// Takes a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole text matches. Never takes more than pattern times text steps.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return *self.0 == *text;
        };
        let Some(mut text) = text.strip_prefix(head) else {
            return false;
        };
        // Parts between two stars are taken at their first place; what follows the last star must end the text.
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in middle.split('*') {
            let Some(at) = text.find(part) else {
                return false;
            };
            text = text.get(at + part.len()..).unwrap_or("");
        }
        text.ends_with(tail)
    }
}

impl RuleValue {
    /// Whether a rule of this type with this value matches a target. One that cannot be read is matched by deny rules only.
    pub(super) fn matches_target(&self, kind: RuleType, target: &TargetFacts) -> bool {
        match (self, kind.step()) {
            (Self::Patterns(patterns), Step::Providers) => {
                patterns.iter().any(|pattern| pattern.matches(&target.provider))
            }
            (Self::Patterns(patterns), Step::Models) => {
                patterns.iter().any(|pattern| pattern.matches(&target.model) || pattern.matches(&target.full_name()))
            }
            (Self::Pricing(pricing), Step::Pricing) => match (target.price, kind.effect()) {
                // What nobody knows the price of passes no rule about prices.
                (None, effect) => effect == Effect::Deny,
                (Some(price), Effect::Allow) => pricing.holds_below(price),
                (Some(price), Effect::Deny) => pricing.holds_above(price),
            },
            _ => kind.effect() == Effect::Deny,
        }
    }
}

impl Pricing {
    /// Whether a price is of the type, and at most the maxima.
    fn holds_below(&self, price: Price) -> bool {
        self.is_of_type(price)
            && self.max_input_price.is_none_or(|max| price.input <= max)
            && self.max_output_price.is_none_or(|max| price.output <= max)
    }

    /// Whether a price is of the type, and above the maxima.
    fn holds_above(&self, price: Price) -> bool {
        self.is_of_type(price)
            && self.max_input_price.is_none_or(|max| price.input > max)
            && self.max_output_price.is_none_or(|max| price.output > max)
    }

    fn is_of_type(&self, price: Price) -> bool {
        self.pricing_type.is_none_or(|wanted| (wanted == PricingType::Free) == price.is_free)
    }
}

//! Limits of a route, from what the configuration says to counters.

use crate::{
    config::{LimitAlgorithm, LimitScope, LimitUnit, Route as RouteConfig, RouteLimit},
    limit::{Kind, Mode, Queue, Rule, Scope, Terms, Window},
};

/// What the limits of a route say.
pub(super) fn rules(route: &RouteConfig) -> Vec<Rule> {
    route.limits.iter().map(rule).collect()
}

fn rule(limit: &RouteLimit) -> Rule {
    let kind = match limit.unit {
        LimitUnit::Requests => Kind::Requests,
        LimitUnit::InputTokens => Kind::InputTokens,
        LimitUnit::OutputTokens => Kind::OutputTokens,
        LimitUnit::Money => Kind::Money,
        LimitUnit::Concurrent => Kind::Concurrent,
    };
    let window = match limit.algorithm {
        _ if kind == Kind::Concurrent => Window::Open,
        LimitAlgorithm::Fixed => Window::Fixed(limit.window),
        LimitAlgorithm::Aligned => Window::Aligned(limit.window),
        LimitAlgorithm::Sliding => Window::Sliding(limit.window),
        LimitAlgorithm::Bucket => Window::Bucket(limit.window),
    };
    Rule {
        scope: match limit.scope {
            LimitScope::Route => Scope::Route,
            LimitScope::Key => Scope::Key,
            LimitScope::Group => Scope::Group,
        },
        kind,
        window,
        terms: Terms { max: limit.max.value, burst: limit.burst },
        mode: if limit.shadow { Mode::Shadow } else { Mode::Enforce },
        queue: limit.queue.map(|queue| Queue { max: queue.max, wait: queue.wait }),
    }
}

//! Limits of a route, from configuration to counters.

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
        LimitUnit::Audio => Kind::AudioMillis,
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use crate::{
        base::{Caller, OnCancel, OnExhausted, UnixTime},
        config::Code,
        limit::{Claim, Held, Kind, Kinds, LimitSet, Moment},
    };

    use super::super::{
        ProjectPart, Registries, compile_project,
        tests::{registries, source},
    };

    const MOCK: &str = "model: mock/m";
    const UNPRICED: &str = "model: openai/gpt, credentials: {base_url: \"https://models.example.com/v1\"}";

    fn text(model: &str, route: &str) -> String {
        format!("chat_models: [{{model_id: m, {model}}}]\nroutes: {{r: {{chat_models: [m], {route}}}}}\n")
    }

    fn part(route: &str, registries: &Registries) -> ProjectPart {
        compile_project(&source("prj_1", "p", &text(MOCK, route)), registries).ok().unwrap()
    }

    fn take(set: &LimitSet) -> bool {
        let at = Moment::from(UnixTime(Duration::from_secs(1_800_000_000)));
        set.take(Kinds::ALL, &Claim::request(), at, &mut Held::default()).is_ok()
    }

    #[test]
    fn counters_survive_a_new_maximum_and_no_other_change() {
        let registries = registries();
        let passes = |route: &str| take(&part(route, &registries).route("r").unwrap().bounds.limits);
        for (name, route, want) in [
            ("first", "rate_limiting: {max_requests: 1}", true),
            ("full", "rate_limiting: {max_requests: 1}", false),
            ("the same length in other words", "rate_limiting: {max_requests: 1, window_size: 60}", false),
            ("a higher maximum", "rate_limiting: {max_requests: 2}", true),
            ("full again", "rate_limiting: {max_requests: 2}", false),
            ("another length", "rate_limiting: {max_requests: 1, window_size: 61}", true),
            ("another algorithm", "rate_limiting: {max_requests: 1, algorithm: sliding_window}", true),
            ("the first once more", "rate_limiting: {max_requests: 2}", false),
        ] {
            assert_eq!(passes(route), want, "{name}");
        }
        let meter =
            part("rate_limiting: {max_requests: 1}", &registries).route("r").unwrap().bounds.limits.limits()[0].clone();
        assert_eq!(&**meter.meter.account(), "route:prj_1/r/requests/fixed_window:60000ms");
    }

    #[test]
    fn keys_and_groups_have_counters_of_their_own() {
        let registries = registries();
        let caller = |key: &str, group: Option<&str>| Caller { group: group.map(Arc::from), ..Caller::of_key(key) };
        for (scope, want) in [("key", [true, true, true, false]), ("group", [true, false, true, false])] {
            let route = format!("rate_limiting: {{max_requests: 1, scope: {scope}, window_size: 9 s}}");
            let part = part(&route, &registries);
            let route = part.route("r").unwrap();
            assert!(route.bounds.limits.is_empty(), "{scope}");
            let keyed = route.bounds.keyed.as_ref().unwrap();
            let callers = [caller("a", Some("g")), caller("b", Some("g")), caller("c", None), caller("c", None)];
            assert_eq!(callers.map(|caller| take(&keyed.set_for(&caller))), want, "{scope}");
        }
    }

    #[test]
    fn routes_without_limits_have_none() {
        let part = part("timeouts: {total: 5 s}", &registries());
        let route = part.route("r").unwrap();
        let bounds = &route.bounds;
        assert!(bounds.limits.is_empty() && bounds.keyed.is_none() && bounds.enforce_output_cap.is_none());
        let target = route.chat.as_ref().unwrap();
        assert_eq!((bounds.on_exhausted, target.on_cancel), (OnExhausted::Finish, OnCancel::Estimate));
    }

    #[test]
    fn lowest_output_cap_of_route_and_model_holds() {
        let registries = registries();
        for (model, route, want) in [
            (MOCK.to_owned(), "on_exhausted_midstream: cut", 4_096),
            (format!("{MOCK}, max_output_tokens: 9000, on_cancel: free"), "on_exhausted_midstream: cut", 9_000),
            (format!("{MOCK}, max_output_tokens: 9000"), "max_output_tokens: 500", 500),
            (format!("{MOCK}, max_output_tokens: 300"), "max_output_tokens: 500", 300),
        ] {
            let part = compile_project(&source("p", "p", &text(&model, route)), &registries).ok().unwrap();
            let target = part.route("r").unwrap().chat.clone().unwrap();
            assert_eq!(target.output_max, want, "{model} {route}");
        }
    }

    #[test]
    fn budget_needs_prices() {
        let prices = ", input_cost_per_million_tokens: 1, output_cost_per_million_tokens: 2";
        let budget = "budget_limiting: {max_budget: 1}";
        for (name, model, route, want) in [
            ("priced", format!("{UNPRICED}{prices}"), budget, None),
            ("unpriced", UNPRICED.to_owned(), budget, Some(("routes.r.chat_models[0]", Code::UnpricedModel))),
            ("unpriced, no budget", UNPRICED.to_owned(), "rate_limiting: {max_requests: 1}", None),
        ] {
            let compiled = compile_project(&source("p", "p", &text(&model, route)), &registries());
            let got = compiled.err().map(|refusals| (refusals[0].problem.path.clone(), refusals[0].problem.code));
            assert_eq!(got, want.map(|(path, code)| (path.to_owned(), code)), "{name}");
        }
    }

    #[test]
    fn every_limit_reaches_the_route() {
        let route = "rate_limiting: {max_requests: 1}, token_limiting: {input: {max_token: 2}, output: {max_token: 3, algorithm: \
                     token_bucket, burst: 9}}, budget_limiting: {max_budget: 4}, concurrency_limiting: {max_concurrent: 5, \
                     max_queue: 6, shadow: true}";
        let part = part(route, &registries());
        let limits = part.route("r").unwrap().bounds.limits.limits();
        let got: Vec<_> = limits.iter().map(|limit| (limit.kind(), limit.terms.max, limit.terms.burst)).collect();
        assert_eq!(
            got,
            [
                (Kind::Requests, 1, 1),
                (Kind::Money, 4_000_000_000, 4_000_000_000),
                (Kind::InputTokens, 2, 2),
                (Kind::OutputTokens, 3, 9),
                (Kind::Concurrent, 5, 5),
            ]
        );
        assert_eq!(limits[4].queue.map(|queue| (queue.max, queue.wait)), Some((6, Duration::from_millis(50))));
    }
}

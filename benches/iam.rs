//! The check of a request against rules.
//!
//! Rival: the explaining evaluation, which goes through the rules as they are written.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{hint::black_box, net::IpAddr, sync::Arc};

use criterion::{Criterion, criterion_group, criterion_main};
use millrace::iam::{
    Asked, Case, Facts, Policy, RouteFacts, Rule, RuleType, RuleValue, Scope, TargetFacts, Window, check, explain,
};
use serde_json::json;

const ROUTES: usize = 50;
const TARGETS: usize = 4;

fn rule(number: usize, kind: RuleType, value: &serde_json::Value) -> Rule {
    Rule { id: format!("rul_{number}").into(), kind, value: RuleValue::check(kind, value).unwrap() }
}

/// Rules at every scope, addresses included.
fn rules() -> Vec<(Scope, Arc<[Rule]>)> {
    let networks: Vec<String> = (0..100).map(|number| format!("10.{number}.0.0/16")).collect();
    let organization = [
        rule(1, RuleType::DenyProviders, &json!({"providers": ["custom:*"]})),
        rule(2, RuleType::DenyModels, &json!({"models": ["*-preview", "o1*"]})),
    ];
    let project = [rule(3, RuleType::AllowModels, &json!({"models": ["gpt-4o*", "mistralai/*"]}))];
    let member = [rule(4, RuleType::AllowIpCidrs, &json!({"cidrs": networks}))];
    let key = [rule(5, RuleType::AllowRoutes, &json!({"routes": ["route-*"]}))];
    vec![
        (Scope::Organization, organization.into()),
        (Scope::Project, project.into()),
        (Scope::Member, member.into()),
        (Scope::Key, key.into()),
    ]
}

fn facts() -> Arc<Facts> {
    let routes = (0..ROUTES).map(|number| RouteFacts { full_name: format!("prj/route-{number}").into() });
    let targets = (0..ROUTES * TARGETS).map(|number| TargetFacts {
        provider: ["openai", "mistralai", "groq"].get(number % 3).copied().unwrap_or_default().into(),
        model: ["gpt-4o-mini", "mistral-small", "llama-3"].get(number % 3).copied().unwrap_or_default().into(),
        price: None,
    });
    Arc::new(Facts { routes: routes.collect(), targets: targets.collect() })
}

fn decide(criterion: &mut Criterion) {
    let (facts, scopes) = (facts(), rules());
    let (base, own) = scopes.split_at(2);
    let (base, own) = (Policy::compile(&facts, base), Policy::compile(&facts, own));
    let address: Option<IpAddr> = "10.57.1.2".parse().ok();
    let route = ROUTES / 2;
    let targets = Window::new(route * TARGETS, TARGETS).unwrap();
    let asked = Asked { route: u32::try_from(route).unwrap(), targets, address };
    let mut group = criterion.benchmark_group("iam");
    group.bench_function("no rules", |bench| bench.iter(|| check(black_box(None), black_box(None), black_box(&asked))));
    group.bench_function("rules of the project", |bench| {
        bench.iter(|| check(black_box(Some(&base)), black_box(None), black_box(&asked)));
    });
    group.bench_function("rules of all scopes and addresses", |bench| {
        bench.iter(|| check(black_box(Some(&base)), black_box(Some(&own)), black_box(&asked)));
    });
    let own_targets: Vec<_> = facts.targets.iter().skip(targets.start()).take(TARGETS).cloned().collect();
    let case = Case { scopes: &scopes, route: facts.routes.get(route).unwrap(), targets: &own_targets, address };
    group.bench_function("rival: the rules as written", |bench| bench.iter(|| explain(black_box(&case))));
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);

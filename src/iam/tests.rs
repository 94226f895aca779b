//! The truth table, and the two evaluations against each other.

use std::{net::IpAddr, sync::Arc};

use fastrand::Rng;
use serde_json::{Value, json};

use super::{
    Asked, Case, Denial, Explained, Facts, Glob, Policy, Price, Pricing, PricingType, RouteFacts, Rule, RuleType,
    RuleValue, Scope, Step, TargetFacts, Window, check, explain,
};
use crate::base::NanoUsd;

fn target(provider: &str, model: &str, price: Option<(i64, i64)>) -> TargetFacts {
    let price = price.map(|(input, output)| Price {
        input: NanoUsd(input),
        output: NanoUsd(output),
        is_free: input == 0 && output == 0,
    });
    TargetFacts { provider: provider.into(), model: model.into(), price }
}

/// USD per million tokens.
fn usd(dollars: i64) -> Option<(i64, i64)> {
    Some((dollars * 1_000_000_000, dollars * 2_000_000_000))
}

/// A rule as it is written, or as it stands in the store when it could not be written.
fn rule(number: usize, kind: RuleType, value: &Value) -> Rule {
    Rule { id: format!("rul_{number}").into(), kind, value: RuleValue::stored(kind, &value.to_string()) }
}

/// A world with routes over targets, asked both ways.
struct World {
    facts: Arc<Facts>,
    routes: Vec<Window>,
}

impl World {
    fn new(routes: &[(&str, &[TargetFacts])]) -> Self {
        let mut targets = Vec::new();
        let mut windows = Vec::new();
        for (_, own) in routes {
            windows.push(Window::new(targets.len(), own.len()).unwrap());
            targets.extend(own.iter().cloned());
        }
        let names = routes.iter().map(|(name, _)| RouteFacts { full_name: format!("prj/{name}").into() });
        Self { facts: Arc::new(Facts { routes: names.collect(), targets: targets.into() }), routes: windows }
    }

    /// Asks the compiled policies and the explanation; they must agree. Returns the places that are left.
    fn ask(
        &self,
        scopes: &[(Scope, Arc<[Rule]>)],
        route: usize,
        address: Option<IpAddr>,
    ) -> Result<Vec<usize>, Denial> {
        let (own, base): (Vec<_>, Vec<_>) =
            scopes.iter().cloned().partition(|(scope, _)| matches!(scope, Scope::Member | Scope::Key));
        let compile = |scopes: &[_]| (!scopes.is_empty()).then(|| Policy::compile(&self.facts, scopes));
        let (base, own) = (compile(&base), compile(&own));
        let window = self.routes[route];
        let asked = Asked { route: u32::try_from(route).unwrap(), targets: window, address };
        let got = check(base.as_ref(), own.as_ref(), &asked).map(|left| left.places().collect::<Vec<_>>());

        let targets = &self.facts.targets[window.start()..window.start() + window.len()];
        let said = explain(&Case { scopes, route: &self.facts.routes[route], targets, address });
        assert_eq!(got.as_ref().ok(), said.allowed.then_some(&said.targets), "{scopes:?}\n{said:?}\n{got:?}");
        assert_eq!(said.allowed, !said.targets.is_empty());
        if let Err(denial) = &got {
            let last = said.steps.last().unwrap();
            let by = (last.scope, last.step, &last.decided_by);
            assert_eq!((denial.scope, denial.step, &denial.rules), by, "{scopes:?}\n{said:?}");
            assert!(!denial.rules.is_empty());
        }
        assert_removals(&said, targets.len());
        got
    }
}

/// Each target is removed once or left, and what removes has a reason.
fn assert_removals(said: &Explained, count: usize) {
    let mut seen: Vec<usize> = said.steps.iter().flat_map(|step| step.removed.iter().copied()).collect();
    seen.extend(&said.targets);
    seen.sort_unstable();
    assert_eq!(seen, (0..count).collect::<Vec<_>>(), "{said:?}");
    assert!(said.steps.iter().all(|step| step.removed.is_empty() == step.decided_by.is_empty()), "{said:?}");
}

/// What the table says of a route: its providers, or a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Open(&'static [&'static str]),
    Refused,
}

use Is::{Open, Refused};

struct Row {
    number: u32,
    rules: Vec<(Scope, RuleType, Value)>,
    address: Option<&'static str>,
    r1: Is,
    r2: Is,
}

fn row(number: u32, rules: &[(RuleType, Value)], r1: Is, r2: Is) -> Row {
    let rules = rules.iter().map(|(kind, value)| (Scope::Key, *kind, value.clone())).collect();
    Row { number, rules, address: Some("192.0.2.1"), r1, r2 }
}

fn models(patterns: &[&str]) -> Value {
    json!({ "models": patterns })
}

fn providers(patterns: &[&str]) -> Value {
    json!({ "providers": patterns })
}

fn truth_table() -> Vec<Row> {
    use RuleType::*;
    let both = Open(&["p1", "p2"]);
    let (p1, p2) = (Open(&["p1"]), Open(&["p2"]));
    let between = json!({"max_input_price": "5"});
    let inside = json!({"cidrs": ["10.0.0.0/8"]});
    let from = |address, rows: Vec<Row>| rows.into_iter().map(move |row| Row { address, ..row });
    let mut rows = vec![
        row(1, &[], both, p1),
        row(2, &[(AllowModels, models(&["m1"]))], both, Refused),
        row(3, &[(AllowModels, models(&["m1"])), (AllowModels, models(&["m2"]))], both, p1),
        row(4, &[(DenyModels, models(&["m1"]))], Refused, p1),
        row(5, &[(AllowModels, models(&["m1"])), (DenyModels, models(&["m1"]))], Refused, Refused),
        row(6, &[(AllowModels, models(&["m1"])), (AllowProviders, providers(&["p1"]))], p1, Refused),
        row(7, &[(AllowProviders, providers(&["p1"])), (DenyProviders, providers(&["p1"]))], Refused, Refused),
        row(8, &[(DenyProviders, providers(&["p2"]))], p1, p1),
        row(9, &[(AllowProviders, providers(&["p2"]))], p2, Refused),
        row(10, &[(AllowModels, models(&[]))], Refused, Refused),
        row(11, &[(AllowIpCidrs, json!({"cidrs": []}))], Refused, Refused),
        row(11, &[(AllowIpCidrs, json!({}))], Refused, Refused),
        row(11, &[(DenyIpCidrs, json!({}))], Refused, Refused),
        row(11, &[(DenyModels, json!({}))], Refused, Refused),
        row(11, &[(DenyRoutes, json!({}))], Refused, Refused),
        row(11, &[(DenyPricing, json!({}))], Refused, Refused),
        row(12, &[(AllowPricing, between.clone())], p1, p1),
        row(13, &[(AllowPricing, between.clone()), (AllowProviders, providers(&["p1"]))], p1, p1),
        row(14, &[(AllowPricing, between.clone()), (DenyProviders, providers(&["p2"]))], p1, p1),
        row(
            15,
            &[(AllowPricing, json!({"pricing_type": "free"})), (AllowPricing, json!({"max_input_price": 10}))],
            both,
            p1,
        ),
        row(16, &[(AllowPricing, json!({"pricing_type": "free"}))], Refused, Refused),
        row(17, &[(DenyPricing, between)], p1, p1),
        row(19, &[(AllowModels, models(&["m*"]))], both, p1),
        row(22, &[(AllowRoutes, json!({"routes": ["r1"]}))], both, Refused),
        row(22, &[(AllowRoutes, json!({"routes": ["prj/r1"]}))], both, Refused),
        row(22, &[(DenyRoutes, json!({"routes": ["*2"]}))], both, Refused),
    ];
    rows.push(Row {
        rules: vec![(Scope::Project, AllowModels, models(&["m1"])), (Scope::Key, AllowModels, models(&["m2"]))],
        ..row(20, &[], Refused, Refused)
    });
    rows.push(Row {
        rules: vec![(Scope::Member, DenyProviders, providers(&["p2"])), (Scope::Key, AllowModels, models(&["m1"]))],
        ..row(21, &[], p1, Refused)
    });
    let allow = || row(23, &[(AllowIpCidrs, inside.clone())], Refused, Refused);
    rows.extend(from(Some("192.0.2.1"), vec![allow()]));
    rows.extend(from(None, vec![allow(), row(24, &[(DenyIpCidrs, inside.clone())], Refused, Refused)]));
    rows.extend(from(Some("10.1.2.3"), vec![row(23, &[(AllowIpCidrs, inside.clone())], both, p1)]));
    rows.extend(from(Some("::ffff:10.1.2.3"), vec![row(23, &[(AllowIpCidrs, inside.clone())], both, p1)]));
    rows.extend(from(Some("192.0.2.1"), vec![row(24, &[(DenyIpCidrs, inside)], both, p1)]));
    rows
}

fn scopes(rules: &[(Scope, RuleType, Value)]) -> Vec<(Scope, Arc<[Rule]>)> {
    let of_scope = |scope: Scope| -> Arc<[Rule]> {
        let own = rules.iter().enumerate().filter(|(_, (found, _, _))| *found == scope);
        own.map(|(number, (_, kind, value))| rule(number, *kind, value)).collect()
    };
    let all = Scope::ALL.iter().map(|scope| (*scope, of_scope(*scope)));
    all.filter(|(_, rules)| !rules.is_empty()).collect()
}

#[test]
fn every_row_of_the_truth_table_holds_at_every_scope_and_in_every_order() {
    let world = World::new(&[
        ("r1", &[target("p1", "m1", usd(1)), target("p2", "m1", usd(10))]),
        ("r2", &[target("p1", "m2", usd(1))]),
    ]);
    let mut numbers = Vec::new();
    for row in truth_table() {
        numbers.push(row.number);
        let address = row.address.map(|text| text.parse().unwrap());
        let mut reversed = row.rules.clone();
        reversed.reverse();
        let at = |scope: Scope| row.rules.iter().map(move |(_, kind, value)| (scope, *kind, value.clone())).collect();
        let mut spellings: Vec<Vec<_>> = vec![row.rules.clone(), reversed];
        if row.rules.iter().all(|(scope, _, _)| *scope == Scope::Key) {
            spellings.extend([Scope::Organization, Scope::Project, Scope::Member].map(at));
        }
        for rules in spellings {
            for (index, want) in [row.r1, row.r2].into_iter().enumerate() {
                let got = match world.ask(&scopes(&rules), index, address) {
                    Ok(places) => {
                        let names = places.iter().map(|place| {
                            let number = world.routes[index].start() + place;
                            world.facts.targets[number].provider.to_string()
                        });
                        Some(names.collect::<Vec<_>>())
                    }
                    Err(_) => None,
                };
                let want = match want {
                    Open(names) => Some(names.iter().map(|name| (*name).to_owned()).collect()),
                    Refused => None,
                };
                assert_eq!(got, want, "row {} route r{}: {rules:?}", row.number, index + 1);
            }
        }
    }
    numbers.dedup();
    let rows: Vec<u32> = (1..=24).filter(|number| *number != 18).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, rows, "row 18 is the test of prices that nobody knows");
}

#[test]
fn row_18_target_that_nobody_knows_the_price_of_passes_no_rule_about_prices() {
    let world = World::new(&[("r1", &[target("p1", "m1", None)]), ("r2", &[target("p1", "m1", Some((0, 0)))])]);
    for (kind, value, unpriced, free) in [
        (RuleType::AllowPricing, json!({"max_input_price": "1000"}), false, true),
        (RuleType::AllowPricing, json!({"pricing_type": "paid"}), false, false),
        (RuleType::AllowPricing, json!({"pricing_type": "free"}), false, true),
        (RuleType::AllowPricing, json!({"max_input_price": 0, "max_output_price": 0}), false, true),
        (RuleType::DenyPricing, json!({"pricing_type": "paid"}), false, true),
        (RuleType::DenyPricing, json!({"max_input_price": 0}), false, true),
        (RuleType::DenyPricing, json!({"pricing_type": "free"}), false, false),
    ] {
        let rules = scopes(&[(Scope::Key, kind, value.clone())]);
        let got = [0, 1].map(|route| world.ask(&rules, route, None).is_ok());
        assert_eq!(got, [unpriced, free], "{} {value}", kind.as_str());
    }
}

/// What other gateways got wrong, or what a rule could be taken to mean.
#[test]
fn regression_cases() {
    use RuleType::*;
    let world = World::new(&[
        ("mixed", &[target("openai", "gpt-4o", usd(5)), target("custom:llm.example", "gpt-4o", None)]),
        ("slash", &[target("openrouter", "openai/gpt-4o", usd(5))]),
    ]);
    let address = "2001:db8::1".parse().ok();
    for (name, rules, mixed, slash) in [
        (
            "a provider's name is not an address in its place",
            vec![(AllowProviders, providers(&["openai"]))],
            &[0][..],
            &[][..],
        ),
        ("an address of the project's own by its host", vec![(DenyProviders, providers(&["custom:*"]))], &[0], &[0]),
        ("provider and name", vec![(AllowModels, models(&["openai/gpt-4o"]))], &[0], &[0]),
        ("names have slashes", vec![(AllowModels, models(&["openrouter/openai/*"]))], &[], &[0]),
        ("a star is any text", vec![(DenyModels, models(&["*"]))], &[], &[]),
        ("a star is also nothing", vec![(AllowModels, models(&["*gpt-4o*"]))], &[0, 1], &[0]),
        ("only a star is special", vec![(AllowModels, models(&["gpt-4.", "gpt-[4]o", "gpt-4?"]))], &[], &[]),
        ("case counts", vec![(AllowModels, models(&["GPT-4o"]))], &[], &[]),
        ("a part is not the whole", vec![(AllowModels, models(&["gpt-4"]))], &[], &[]),
        (
            "both bounds of one allow rule",
            vec![(AllowPricing, json!({"max_input_price": 5, "max_output_price": 9}))],
            &[],
            &[],
        ),
        ("at the bound", vec![(AllowPricing, json!({"max_input_price": 5, "max_output_price": 10}))], &[0], &[0]),
        (
            "both bounds of one deny rule",
            vec![(DenyPricing, json!({"max_input_price": 4, "max_output_price": 10}))],
            &[0],
            &[0],
        ),
        ("IPv4 networks hold no IPv6", vec![(AllowIpCidrs, json!({"cidrs": ["0.0.0.0/0"]}))], &[], &[]),
        ("IPv6 network", vec![(AllowIpCidrs, json!({"cidrs": ["2001:db8::/32"]}))], &[0, 1], &[0]),
        (
            "deny wins over a wider allow",
            vec![(AllowIpCidrs, json!({"cidrs": ["::/0"]})), (DenyIpCidrs, json!({"cidrs": ["2001:db8::1"]}))],
            &[],
            &[],
        ),
        ("an empty deny rule denies nothing", vec![(DenyModels, models(&[]))], &[0, 1], &[0]),
    ] {
        let rules: Vec<_> = rules.into_iter().map(|(kind, value)| (Scope::Project, kind, value)).collect();
        for (route, want) in [mixed, slash].into_iter().enumerate() {
            let got = world.ask(&scopes(&rules), route, address).unwrap_or_default();
            assert_eq!(got, want, "{name}, route {route}");
        }
    }
}

#[test]
fn denial_names_the_first_step_that_left_nothing_and_the_rules_that_did_it() {
    use RuleType::*;
    let world = World::new(&[("r", &[target("p1", "m1", usd(1)), target("p2", "m1", usd(10))])]);
    let rules = scopes(&[
        (Scope::Organization, DenyProviders, providers(&["p1"])),
        (Scope::Organization, DenyProviders, providers(&["p3"])),
        (Scope::Project, AllowModels, models(&["m1"])),
        (Scope::Key, AllowPricing, json!({"max_input_price": 2})),
        (Scope::Key, AllowPricing, json!({"pricing_type": "free"})),
        (Scope::Key, DenyIpCidrs, json!({"cidrs": ["0.0.0.0/0"]})),
    ]);
    let want = Denial { scope: Scope::Key, step: Step::Pricing, rules: vec!["rul_3".into(), "rul_4".into()] };
    assert_eq!(world.ask(&rules, 0, "192.0.2.1".parse().ok()), Err(want));
}

fn some_patterns(rng: &mut Rng, words: &[&str]) -> Box<[Glob]> {
    let mut pattern = || {
        let mut text = (*rng.choice(words).unwrap()).to_owned();
        for _ in 0..rng.usize(0..3) {
            let at = rng.usize(0..=text.len());
            text.replace_range(at..rng.usize(at..=text.len()), "*");
        }
        Glob::new(&text)
    };
    (0..rng_count(&mut pattern)).map(|_| pattern()).collect()
}

/// Mostly one entry, sometimes two.
fn rng_count(pattern: &mut impl FnMut() -> Glob) -> usize {
    1 + pattern().as_str().len() % 2
}

fn some_value(rng: &mut Rng, kind: RuleType) -> RuleValue {
    if rng.u8(..) < 2 {
        return RuleValue::Unreadable;
    }
    match kind.step() {
        Step::Providers => RuleValue::Patterns(some_patterns(rng, &["p1", "p2", "custom:a.example"])),
        Step::Routes => RuleValue::Patterns(some_patterns(rng, &["r0", "r1", "prj/r1", "prj/r2"])),
        Step::Models => RuleValue::Patterns(some_patterns(rng, &["m1", "m2", "p1/m1", "x/m1", "p2/x/m1"])),
        Step::Pricing => {
            let max = |rng: &mut Rng| rng.bool().then(|| NanoUsd(rng.i64(0..4)));
            let pricing_type = *rng.choice([None, Some(PricingType::Free), Some(PricingType::Paid)].iter()).unwrap();
            RuleValue::Pricing(Pricing { pricing_type, max_input_price: max(rng), max_output_price: max(rng) })
        }
        Step::Addresses => {
            let mut network = || {
                let v4 = rng.bool();
                let prefix = rng.u32(0..=if v4 { 32 } else { 128 });
                let address = some_address(rng, v4);
                let first = match address {
                    IpAddr::V4(a) => IpAddr::V4((a.to_bits() & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into()),
                    IpAddr::V6(a) => {
                        IpAddr::V6((a.to_bits() & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into())
                    }
                };
                let text = format!("{first}/{prefix}");
                text.parse::<crate::base::Cidr>().unwrap().normalised()
            };
            RuleValue::Networks((0..2).map(|_| network()).collect())
        }
    }
}

/// Few different addresses, so that they meet the networks.
fn some_address(rng: &mut Rng, v4: bool) -> IpAddr {
    if v4 {
        return IpAddr::V4((u32::from(rng.u8(..4)) << 30 | u32::from(rng.u8(..4))).into());
    }
    IpAddr::V6((u128::from(rng.u8(..4)) << 126 | u128::from(rng.u8(..4))).into())
}

fn some_rules(rng: &mut Rng) -> Vec<(Scope, Arc<[Rule]>)> {
    let mut number = 0;
    let mut all = Vec::new();
    for scope in Scope::ALL {
        let mut rules = Vec::new();
        // Few at a time: with many hardly anything would be allowed.
        for _ in 0..rng.usize(0..6).saturating_sub(3) {
            let kind = *rng.choice(RuleType::ALL).unwrap();
            number += 1;
            rules.push(Rule { id: format!("rul_{number}").into(), kind, value: some_value(rng, kind) });
        }
        if !rules.is_empty() {
            all.push((*scope, Arc::from(rules)));
        }
    }
    all
}

fn some_world(rng: &mut Rng) -> World {
    let names = ["r0", "r1", "r2"];
    let mut lists: Vec<Vec<TargetFacts>> = Vec::new();
    for _ in names {
        let count = if rng.u8(..) < 8 { 64 } else { rng.usize(1..5) };
        let one = |rng: &mut Rng| {
            let provider = *rng.choice(["p1", "p2", "custom:a.example"].iter()).unwrap();
            let model = *rng.choice(["m1", "m2", "x/m1"].iter()).unwrap();
            let price = (rng.u8(..4) > 0).then(|| (rng.i64(0..4), rng.i64(0..4)));
            target(provider, model, price)
        };
        lists.push((0..count).map(|_| one(rng)).collect());
    }
    let routes: Vec<_> = names.iter().zip(&lists).map(|(name, list)| (*name, list.as_slice())).collect();
    World::new(&routes)
}

/// `MILLRACE_IAM_CASES` sets how many cases are drawn; the release check draws 100,000.
#[test]
fn explanation_agrees_with_the_check_in_random_cases() {
    let cases: u64 = std::env::var("MILLRACE_IAM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000);
    let mut allowed = 0u64;
    for case in 0..cases {
        let rng = &mut Rng::with_seed(case);
        let (world, rules) = (some_world(rng), some_rules(rng));
        let v4 = rng.bool();
        let mut address = (rng.u8(..8) > 0).then(|| some_address(rng, v4));
        if let (Some(IpAddr::V4(v4)), true) = (address, rng.bool()) {
            address = Some(v4.to_ipv6_mapped().into());
        }
        allowed += u64::from(world.ask(&rules, rng.usize(0..3), address).is_ok());
    }
    // Both outcomes are common, or the cases would prove little.
    assert!(allowed > cases / 10 && allowed < cases * 9 / 10, "{allowed} of {cases} allowed");
    eprintln!("{cases} cases, {allowed} allowed");
}

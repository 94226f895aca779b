//! Rules in a snapshot: policies fit the targets beside them.

use std::sync::Arc;

use fastrand::Rng;

use crate::{
    base::{Caller, Digest, KeyHasher},
    iam::{Glob, Rule, RuleType, RuleValue, Scope as RuleScope},
    wire::Endpoint,
};

use super::{
    Edit, Grant, ProjectPart, RuleOwner, Scope, Snapshot, compile_project,
    tests::{registries, source},
};

/// A project of organization `acme` whose route `chat` has this model, and whose route `other` has `mock/other`.
fn part(id: &str, model: &str) -> ProjectPart {
    let text = format!(
        "chat_models: [{{model_id: m, model: \"mock/{model}\"}}, {{model_id: o, model: mock/other}}]\n\
         routes: {{chat: {{chat_models: [m]}}, other: {{chat_models: [o]}}}}\n"
    );
    compile_project(&source(id, id, &text), &registries()).ok().unwrap()
}

fn grant(project: &str, key: &str, member: Option<&str>) -> Grant {
    let caller = Caller { member: member.map(Arc::from), key: key.into(), ..Caller::of_key(key) };
    Grant {
        caller: Arc::new(caller),
        limits: crate::limit::LimitSet::default(),
        scope: Scope::Project(project.into()),
        routes: None,
        enabled: true,
        expires: None,
        policy: None,
    }
}

fn rule(id: &str, kind: RuleType, pattern: &str) -> Rule {
    Rule { id: id.into(), kind, value: RuleValue::Patterns([Glob::new(pattern)].into()) }
}

fn digest(key: &str) -> Digest {
    Digest::of(key.as_bytes())
}

fn organization() -> RuleOwner {
    RuleOwner::Organization("acme".into())
}

fn member(user: &str) -> RuleOwner {
    RuleOwner::Member { organization: "acme".into(), user: user.into() }
}

/// Whether a key may use a route, and the ids of the rules that refuse it.
fn ask(snapshot: &Snapshot, key: &str, route: &str) -> Result<(), Vec<String>> {
    let grant = snapshot.grant(key.as_bytes()).unwrap();
    let found = snapshot.route(grant, route).unwrap();
    let denied = found.allowed(grant, Endpoint::Chat, None).map(drop);
    denied.map_err(|denial| denial.rules.iter().map(|id| id.to_string()).collect())
}

#[test]
fn rules_hold_with_the_next_snapshot_and_not_before() {
    let mut edit = Edit::empty(KeyHasher::Plain);
    edit.put_project("prj".into(), part("prj", "gpt"));
    edit.put_grant(digest("k"), grant("prj", "k", Some("usr")));
    let mut snapshot = edit.finish(1);
    assert_eq!(ask(&snapshot, "k", "chat"), Ok(()));
    assert!(snapshot.grant(b"k").unwrap().policy.is_none() && snapshot.project("prj").unwrap().policy().is_none());
    let owners = [organization(), RuleOwner::Project("prj".into()), member("usr"), RuleOwner::Key("k".into())];
    for owner in owners {
        let mut edit = snapshot.edit();
        edit.put_rules(owner.clone(), vec![rule("rul_1", RuleType::DenyModels, "gpt")]);
        edit.put_grant(digest("k"), grant("prj", "k", Some("usr")));
        let with = edit.finish(2);
        assert_eq!(ask(&snapshot, "k", "chat"), Ok(()), "{owner:?}");
        assert_eq!(ask(&with, "k", "chat"), Err(vec!["rul_1".to_owned()]), "{owner:?}");
        assert_eq!(ask(&with, "k", "other"), Ok(()), "{owner:?}");
        let listed: Vec<_> =
            with.usable_routes(with.grant(b"k").unwrap(), None).map(|found| &*found.route.full_name).collect();
        assert_eq!(listed, ["prj/other"], "{owner:?}");

        // Another configuration under the same rules: the numbers of its targets are others.
        let mut edit = with.edit();
        edit.put_project("prj".into(), part("prj", "llama"));
        let served = edit.finish(3);
        assert_eq!(ask(&served, "k", "chat"), Ok(()), "{owner:?}");
        let mut edit = served.edit();
        edit.put_project("prj".into(), part("prj", "gpt"));
        let back = edit.finish(4);
        assert_eq!(ask(&back, "k", "chat"), Err(vec!["rul_1".to_owned()]), "{owner:?}");

        let mut edit = back.edit();
        edit.put_rules(owner.clone(), Vec::new());
        edit.put_grant(digest("k"), grant("prj", "k", Some("usr")));
        snapshot = edit.finish(5);
        assert_eq!(ask(&snapshot, "k", "chat"), Ok(()), "{owner:?}");
        assert!(snapshot.governed.is_empty() && snapshot.grant(b"k").unwrap().policy.is_none(), "{owner:?}");
    }
}

#[test]
fn rules_of_others_concern_nobody_else() {
    let mut edit = Edit::empty(KeyHasher::Plain);
    for owner in [
        RuleOwner::Organization("other".into()),
        RuleOwner::Project("prj_2".into()),
        RuleOwner::Member { organization: "other".into(), user: "usr".into() },
        member("usr_2"),
        RuleOwner::Key("k_2".into()),
    ] {
        edit.put_rules(owner, vec![rule("rul_1", RuleType::DenyModels, "*")]);
    }
    edit.put_project("prj".into(), part("prj", "gpt"));
    edit.put_grant(digest("k"), grant("prj", "k", Some("usr")));
    assert_eq!(ask(&edit.finish(1), "k", "chat"), Ok(()));
}

#[test]
fn keys_without_rules_of_their_own_share_what_binds_them() {
    const KEYS: usize = 20_000;
    let mut edit = Edit::empty(KeyHasher::Plain);
    edit.put_rules(organization(), vec![rule("rul_o", RuleType::DenyModels, "gpt")]);
    edit.put_rules(RuleOwner::Project("prj".into()), vec![rule("rul_p", RuleType::AllowModels, "*")]);
    edit.put_rules(member("usr"), vec![rule("rul_m", RuleType::AllowModels, "*")]);
    edit.put_project("prj".into(), part("prj", "gpt"));
    for number in 0..KEYS {
        let name = format!("k{number}");
        edit.put_grant(digest(&name), grant("prj", &name, (number < 100).then_some("usr")));
    }
    let snapshot = edit.finish(1);
    let part = snapshot.project("prj").unwrap();
    assert_eq!(Arc::strong_count(part.policy().unwrap()), 1, "the project has one, and no key has any");
    let first = snapshot.grant(b"k0").unwrap().policy.clone().unwrap();
    assert_eq!(first.scopes().iter().map(|(scope, _)| *scope).collect::<Vec<_>>(), [RuleScope::Member]);
    assert_eq!(Arc::strong_count(&first), 101, "the keys of one member share theirs");
    for key in ["k0", "k99", "k100", "k19999"] {
        assert_eq!(ask(&snapshot, key, "chat"), Err(vec!["rul_o".to_owned()]), "{key}");
    }

    let mut edit = snapshot.edit();
    edit.put_rules(organization(), Vec::new());
    let lifted = edit.finish(2);
    assert!((0..KEYS).step_by(97).all(|number| ask(&lifted, &format!("k{number}"), "chat").is_ok()));
    let same = |key: &str| Arc::ptr_eq(snapshot.grant(key.as_bytes()).unwrap(), lifted.grant(key.as_bytes()).unwrap());
    assert!(same("k0") && same("k19999"), "a rule of the organization touches no key");
}

/// None to two rules at a place that concerns this project.
fn some_rules(rng: &mut Rng, place: usize, step: u64) -> (RuleOwner, Vec<Rule>) {
    let owners = [
        organization(),
        RuleOwner::Project(["p0", "p1"][place].into()),
        member(["u0", "u1"][place]),
        RuleOwner::Key(format!("k{}", rng.usize(0..6)).into()),
    ];
    let kinds = [RuleType::AllowModels, RuleType::DenyModels, RuleType::DenyRoutes];
    let patterns = ["gpt*", "llama", "other", "chat"];
    let own = (0..rng.usize(0..3)).map(|number| {
        let (kind, pattern) = (*rng.choice(kinds.iter()).unwrap(), *rng.choice(patterns.iter()).unwrap());
        rule(&format!("rul_{step}_{number}"), kind, pattern)
    });
    let own = own.collect();
    (rng.choice(owners.iter()).unwrap().clone(), own)
}

/// A random walk over all changes; after each step every policy in the snapshot fits its project, and the decision is the
/// one that a snapshot made from nothing comes to.
#[test]
fn policies_fit_their_targets_after_any_changes() {
    let models = ["gpt", "llama", "gpt-mini"];
    for seed in 0..40 {
        let rng = &mut Rng::with_seed(seed);
        let mut snapshot = Edit::empty(KeyHasher::Plain).finish(1);
        // What was put in last, to make the same from nothing.
        let mut projects: [Option<&str>; 2] = [None; 2];
        let mut rules: Vec<(RuleOwner, Vec<Rule>)> = Vec::new();
        let key_of = |number: usize| format!("k{number}");
        let grant_of = |number: usize| {
            grant(["p0", "p1"][number % 2], &key_of(number), [None, Some("u0"), Some("u1")][number % 3])
        };
        for step in 2..30 {
            let mut edit = snapshot.edit();
            for _ in 0..rng.usize(1..4) {
                let place = rng.usize(0..2);
                let id = ["p0", "p1"][place];
                match rng.u8(0..4) {
                    0 => {
                        let model = *rng.choice(models.iter()).unwrap();
                        projects[place] = Some(model);
                        edit.put_project(id.into(), part(id, model));
                    }
                    1 => {
                        projects[place] = None;
                        edit.remove_project(id);
                    }
                    _ => {
                        let (owner, own) = some_rules(rng, place, step);
                        rules.retain(|(known, _)| *known != owner);
                        rules.push((owner.clone(), own.clone()));
                        edit.put_rules(owner, own);
                        (0..6).for_each(|number| edit.put_grant(digest(&key_of(number)), grant_of(number)));
                    }
                }
            }
            snapshot = edit.finish(step);
            let mut fresh = Edit::empty(KeyHasher::Plain);
            for (owner, own) in &rules {
                fresh.put_rules(owner.clone(), own.clone());
            }
            (0..6).for_each(|number| fresh.put_grant(digest(&key_of(number)), grant_of(number)));
            for (id, model) in ["p0", "p1"].into_iter().zip(projects) {
                if let Some(model) = model {
                    fresh.put_project(id.into(), part(id, model));
                }
            }
            let fresh = fresh.finish(1);
            for number in (0..6).filter(|number| projects[number % 2].is_some()) {
                let key = key_of(number);
                let Some(grant) = snapshot.grant(key.as_bytes()) else { continue };
                let facts = snapshot.project(["p0", "p1"][number % 2]).unwrap().facts().unwrap();
                assert!(grant.policy.as_ref().is_none_or(|policy| Arc::ptr_eq(policy.facts(), facts)), "seed {seed}");
                for route in ["chat", "other"] {
                    let (got, want) = (ask(&snapshot, &key, route), ask(&fresh, &key, route));
                    assert_eq!(got, want, "seed {seed}, step {step}, {key}, {route}");
                }
            }
        }
    }
}

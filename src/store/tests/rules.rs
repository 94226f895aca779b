//! IAM rules: kept as written, gone with their place.

use super::fixture::{Fixture, at, id, key, member, user};
use crate::{
    iam::RuleType,
    store::{
        StoreError,
        record::{ApiKey, PolicyPlace, Rule, RuleStatus},
    },
};

fn rule(name: &str, place: PolicyPlace) -> Rule {
    Rule {
        id: id(name),
        place,
        kind: RuleType::DenyModels,
        value: r#"{"models":["gpt-4o*"]}"#.to_owned(),
        status: RuleStatus::Active,
        created_by: id("usr_a"),
        created_at: at(1_000),
        revision: 1,
    }
}

fn of_member() -> PolicyPlace {
    PolicyPlace::Member { organization: id("org_a"), user: id("usr_a") }
}

fn places() -> [(&'static str, PolicyPlace); 4] {
    [
        ("rul_organization", PolicyPlace::Organization(id("org_a"))),
        ("rul_member", of_member()),
        ("rul_project", PolicyPlace::Project(id("prj_a"))),
        ("rul_key", PolicyPlace::Key(id("key_001"))),
    ]
}

/// One rule at each kind of place.
fn fixture() -> Fixture {
    let fixture = Fixture::with_project();
    fixture
        .write(|tx| {
            tx.insert_user(&user("usr_a", "a@example.com"))?;
            tx.insert_member(&member("org_a", "usr_a", "a@example.com"))?;
            tx.insert_key(&key(1))?;
            places().into_iter().try_for_each(|(name, place)| tx.insert_rule(&rule(name, place)))
        })
        .unwrap();
    fixture
}

fn left(fixture: &Fixture) -> Vec<String> {
    let read = fixture.read(|tx| {
        let mut found = Vec::new();
        tx.each_rule(&mut |rule| found.push(rule.id.as_str().to_owned()))?;
        Ok(found)
    });
    read.unwrap()
}

#[test]
fn rule_is_read_as_it_was_written_at_its_place_only() {
    let fixture = fixture();
    for (name, place) in places() {
        let want = rule(name, place.clone());
        assert_eq!(fixture.read(move |tx| tx.rules(&place)), Ok(vec![want.clone()]), "{name}");
        assert_eq!(fixture.read(move |tx| tx.rule(&id(name))), Ok(Some(want)), "{name}");
    }
    let elsewhere = PolicyPlace::Member { organization: id("org_a"), user: id("usr_b") };
    assert_eq!(fixture.read(move |tx| tx.rules(&elsewhere)), Ok(Vec::new()));
}

#[test]
fn change_and_deletion_want_the_stored_revision() {
    let fixture = fixture();
    let changed = Rule {
        kind: RuleType::AllowPricing,
        value: r#"{"pricing_type":"free"}"#.to_owned(),
        status: RuleStatus::Inactive,
        ..rule("rul_key", PolicyPlace::Key(id("key_001")))
    };
    let (first, again) = (changed.clone(), changed.clone());
    assert_eq!(fixture.write(move |tx| tx.update_rule(&first)), Ok(()));
    assert_eq!(fixture.write(move |tx| tx.update_rule(&again)), Err(StoreError::Stale));
    assert_eq!(fixture.read(|tx| tx.rule(&id("rul_key"))), Ok(Some(Rule { revision: 2, ..changed })));
    assert_eq!(fixture.write(|tx| tx.delete_rule(&id("rul_key"), 1)), Err(StoreError::Stale));
    assert_eq!(fixture.write(|tx| tx.delete_rule(&id("rul_key"), 2)), Ok(()));
    assert_eq!(fixture.read(|tx| tx.rule(&id("rul_key"))), Ok(None));
}

#[test]
fn rules_go_with_what_they_stand_at() {
    let kept = |gone: &[&str]| -> Vec<String> {
        let mut names: Vec<_> = places().into_iter().map(|(name, _)| name.to_owned()).collect();
        names.retain(|name| !gone.contains(&name.as_str()));
        names.sort();
        names
    };
    let this = fixture();
    this.write(|tx| tx.delete_key(&id("key_001"), 1)).unwrap();
    assert_eq!(left(&this), kept(&["rul_key"]));
    let this = fixture();
    this.write(|tx| tx.delete_member(&id("org_a"), &id("usr_a"))).unwrap();
    assert_eq!(left(&this), kept(&["rul_member"]));
    let this = fixture();
    this.write(|tx| tx.delete_project(&id("prj_a"))).unwrap();
    assert_eq!(left(&this), kept(&["rul_project", "rul_key"]));
    let this = fixture();
    this.write(|tx| tx.delete_organization(&id("org_a"))).unwrap();
    assert!(left(&this).is_empty());
}

#[test]
fn rule_stands_at_what_exists() {
    let fixture = fixture();
    for place in [
        PolicyPlace::Organization(id("org_none")),
        PolicyPlace::Project(id("prj_none")),
        PolicyPlace::Key(id("key_none")),
        PolicyPlace::Member { organization: id("org_a"), user: id("usr_none") },
    ] {
        let lost = rule("rul_lost", place.clone());
        assert!(fixture.write(move |tx| tx.insert_rule(&lost)).is_err(), "{place:?}");
    }
}

#[test]
fn keys_of_a_member_are_those_it_made() {
    let fixture = fixture();
    let other = ApiKey { created_by: id("usr_b"), ..key(2) };
    fixture.write(move |tx| tx.insert_key(&other)).unwrap();
    let made = |user: &'static str| {
        let keys = fixture.read(move |tx| tx.keys_made_by(&id("org_a"), &id(user))).unwrap();
        keys.into_iter().map(|key| key.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((made("usr_a"), made("usr_b"), made("usr_c")), (vec!["key_001".into()], vec!["key_002".into()], vec![]));
}

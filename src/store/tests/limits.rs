//! Limits stand at one place and go with it.

use super::fixture::{Fixture, at, id, key, member, user};
use crate::store::{
    StoreError,
    record::{LimitAlgorithm, LimitKind, LimitMode, PolicyPlace, StoredLimit},
};

fn limit(name: &str, place: PolicyPlace) -> StoredLimit {
    StoredLimit {
        id: id(name),
        organization: id("org_a"),
        place,
        kind: LimitKind::Usd,
        amount: 5,
        window: "1 month".to_owned(),
        algorithm: LimitAlgorithm::Calendar,
        mode: LimitMode::Enforce,
        created_by: id("usr_a"),
        created_at: at(1_000),
        revision: 1,
    }
}

fn places() -> [PolicyPlace; 4] {
    [
        PolicyPlace::Organization(id("org_a")),
        PolicyPlace::Project(id("prj_a")),
        PolicyPlace::Member { organization: id("org_a"), user: id("usr_a") },
        PolicyPlace::Key(id("key_001")),
    ]
}

/// One limit at each place, `lim_0` to `lim_3`.
fn fixture() -> Fixture {
    let fixture = Fixture::with_project();
    fixture
        .write(|tx| {
            tx.insert_user(&user("usr_a", "a@example.com"))?;
            tx.insert_member(&member("org_a", "usr_a", "a@example.com"))?;
            tx.insert_key(&key(1))?;
            places()
                .into_iter()
                .enumerate()
                .try_for_each(|(at, place)| tx.insert_limit(&limit(&format!("lim_{at}"), place)))
        })
        .unwrap();
    fixture
}

#[test]
fn limit_is_the_only_one_of_its_kind_window_and_algorithm_at_its_place() {
    let fixture = fixture();
    for (number, place) in places().into_iter().enumerate() {
        let found = place.clone();
        let rows = fixture.read(move |tx| tx.limits(&found)).unwrap();
        assert_eq!(rows, [limit(&format!("lim_{number}"), place.clone())]);
        let again = limit("lim_x", place.clone());
        assert_eq!(fixture.write(move |tx| tx.insert_limit(&again)), Err(StoreError::Taken("limit")), "{place:?}");
        let other = StoredLimit { window: "1 day".to_owned(), ..limit(&format!("lim_day{number}"), place.clone()) };
        fixture.write(move |tx| tx.insert_limit(&other)).unwrap();
        let under = fixture.read(move |tx| tx.keys_under(&place)).unwrap();
        assert_eq!(under.len(), 1, "the key stands under each of them");
    }
    let changed = StoredLimit { amount: 7, mode: LimitMode::Shadow, ..limit("lim_1", places()[1].clone()) };
    let row = changed.clone();
    fixture.write(move |tx| tx.update_limit(&row)).unwrap();
    let found = fixture.read(|tx| tx.limit(&id("lim_1"))).unwrap();
    assert_eq!(found, Some(StoredLimit { revision: 2, ..changed.clone() }));
    assert_eq!(fixture.write(move |tx| tx.update_limit(&changed)), Err(StoreError::Stale));
}

#[test]
fn limit_goes_with_what_it_stands_at() {
    let fixture = fixture();
    let left = |fixture: &Fixture| {
        let rows = fixture.read(|tx| tx.limits_of_organization(&id("org_a"))).unwrap();
        rows.into_iter().map(|row| row.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    fixture.write(|tx| tx.delete_key(&id("key_001"), 1)).unwrap();
    assert_eq!(left(&fixture), ["lim_0", "lim_1", "lim_2"]);
    fixture.write(|tx| tx.delete_member(&id("org_a"), &id("usr_a"))).unwrap();
    assert_eq!(left(&fixture), ["lim_0", "lim_1"]);
    fixture.write(|tx| tx.delete_project(&id("prj_a"))).unwrap();
    assert_eq!(left(&fixture), ["lim_0"]);
    fixture.write(|tx| tx.delete_organization(&id("org_a"))).unwrap();
    assert!(left(&fixture).is_empty());
}

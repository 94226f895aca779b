//! Versions, their texts, and what was live when.

use super::fixture::{Fixture, at, id, page, pages, version};
use crate::store::{
    Order, StoreError, VersionFilter,
    record::{Activation, ActivationKind, Version, VersionState},
};

fn add(fixture: &Fixture, row: &Version) -> Result<(), StoreError> {
    let row = row.clone();
    fixture.write(move |tx| tx.insert_version(&row, b"text"))
}

fn activate(fixture: &Fixture, generation: u64, version: Option<u32>) -> Result<(), StoreError> {
    let row = Activation {
        project: id("prj_a"),
        generation,
        version,
        kind: if version.is_some() { ActivationKind::Serve } else { ActivationKind::Unserve },
        actor: id("usr_a"),
        at: at(generation),
        comment: "now".to_owned(),
    };
    fixture.write(move |tx| tx.insert_activation(&row))
}

#[test]
fn version_and_its_text_are_read_as_they_were_written() {
    let fixture = Fixture::with_project();
    let row = version(1, VersionState::Draft);
    add(&fixture, &row).unwrap();
    assert_eq!(fixture.read(|tx| tx.version(&id("prj_a"), 1)), Ok(Some(row)));
    assert_eq!(fixture.read(|tx| tx.version_text(&id("prj_a"), 1)), Ok(Some(b"text".to_vec())));
    assert_eq!(fixture.read(|tx| tx.version(&id("prj_a"), 2)), Ok(None));
    assert_eq!(fixture.read(|tx| tx.version_text(&id("prj_a"), 2)), Ok(None));
}

#[test]
fn text_that_does_not_fit_its_digest_is_never_handed_out() {
    let fixture = Fixture::with_project();
    add(&fixture, &Version { digest: [7; 32], ..version(1, VersionState::Draft) }).unwrap();
    let found = fixture.read(|tx| tx.version_text(&id("prj_a"), 1));
    assert!(matches!(&found, Err(StoreError::Corrupt(why)) if why.contains("version 1 of prj_a")), "{found:?}");
    assert_eq!(fixture.store.health(), crate::store::Health::Ok, "one bad row does not take the store down");
}

#[test]
fn number_is_unique_and_one_version_is_open_and_one_served() {
    let fixture = Fixture::with_project();
    add(&fixture, &version(1, VersionState::Served)).unwrap();
    add(&fixture, &version(2, VersionState::Draft)).unwrap();
    for (name, row, taken) in [
        ("number", version(2, VersionState::Discarded), "version"),
        ("second draft", version(3, VersionState::Draft), "open_version"),
        ("ready beside a draft", version(3, VersionState::ReadyToServe), "open_version"),
        ("second served", version(3, VersionState::Served), "served_version"),
    ] {
        assert_eq!(add(&fixture, &row), Err(StoreError::Taken(taken)), "{name}");
    }
    add(&fixture, &version(3, VersionState::Superseded)).unwrap();
    add(&fixture, &version(4, VersionState::Superseded)).unwrap();
    let both = version(2, VersionState::Served);
    assert_eq!(fixture.write(move |tx| tx.update_version(&both)), Err(StoreError::Taken("served_version")));
}

#[test]
fn state_and_approval_change_but_not_the_text() {
    let fixture = Fixture::with_project();
    add(&fixture, &version(1, VersionState::Draft)).unwrap();
    let row = Version {
        state: VersionState::Served,
        approver: Some(id("usr_b")),
        approved_at: Some(at(7_000)),
        approve_comment: "fine".to_owned(),
        served_at: Some(at(8_000)),
        ..version(1, VersionState::Draft)
    };
    let changed = Version { digest: [0; 32], size: 99, ..row.clone() };
    fixture.write(move |tx| tx.update_version(&changed)).unwrap();
    assert_eq!(fixture.read(|tx| tx.version(&id("prj_a"), 1)), Ok(Some(row.clone())));
    let absent = Version { number: 9, ..row };
    assert_eq!(fixture.write(move |tx| tx.update_version(&absent)), Err(StoreError::Stale));
}

#[test]
fn version_of_no_project_is_refused() {
    let fixture = Fixture::with_project();
    let row = Version { project: id("prj_gone"), ..version(1, VersionState::Draft) };
    assert_eq!(add(&fixture, &row), Err(StoreError::Stale));
}

#[test]
fn versions_are_filtered_and_listed_by_number_as_a_number() {
    let fixture = Fixture::with_project();
    for number in 1..=12 {
        let author = if number % 2 == 0 { "usr_a" } else { "usr_b" };
        add(&fixture, &Version { author: id(author), ..version(number, VersionState::Superseded) }).unwrap();
    }
    let none = VersionFilter::default;
    for (name, filter, want) in [
        ("all", none(), vec![12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        ("author", VersionFilter { author: Some(id("usr_a")), ..none() }, vec![12, 10, 8, 6, 4, 2]),
        ("since and until", VersionFilter { since: Some(at(3_000)), until: Some(at(6_000)), ..none() }, vec![5, 4, 3]),
        ("state", VersionFilter { state: Some(VersionState::Draft), ..none() }, vec![]),
    ] {
        let found = pages(
            Order::Descending,
            2,
            |row: &Version| (0, row.number.to_string()),
            |request| {
                let filter = filter.clone();
                fixture.read(move |tx| tx.versions(&id("prj_a"), &filter, &request)).unwrap()
            },
        );
        assert_eq!(found.iter().map(|row| row.number).collect::<Vec<_>>(), want, "{name}");
    }
}

#[test]
fn activations_are_linear_and_listed_in_order() {
    let fixture = Fixture::with_project();
    activate(&fixture, 1, Some(1)).unwrap();
    activate(&fixture, 2, None).unwrap();
    assert_eq!(activate(&fixture, 2, Some(1)), Err(StoreError::Taken("generation")));
    let found = fixture.read(|tx| tx.activations(&id("prj_a"), &page(1, Order::Descending))).unwrap();
    assert_eq!(found.rows.iter().map(|row| (row.generation, row.version)).collect::<Vec<_>>(), [(2, None)]);
    assert!(found.has_more);
}

#[test]
fn previously_served_is_the_last_other_version_that_is_still_stored() {
    let fixture = Fixture::with_project();
    for number in 1..=3 {
        add(&fixture, &version(number, VersionState::Superseded)).unwrap();
    }
    let before = || fixture.read(|tx| tx.previously_served(&id("prj_a"))).unwrap();
    assert_eq!(before(), None);
    for (generation, version, want) in [
        (1, Some(1), None),
        (2, Some(2), Some(1)),
        (3, Some(2), Some(1)),
        (4, None, Some(2)),
        (5, Some(2), Some(1)),
        (6, Some(1), Some(2)),
        // Version 9 is not stored (any more).
        (7, Some(9), Some(1)),
        (8, None, Some(1)),
    ] {
        activate(&fixture, generation, version).unwrap();
        assert_eq!(before(), want, "after generation {generation}");
    }
}
